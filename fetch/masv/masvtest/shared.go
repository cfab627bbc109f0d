package masvtest

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// shared is a package that the server shares through its link, with all that
// has happened to it.
type shared struct {
	link    Link
	serial  int // of the server's packages, from 1
	created time.Time

	mu       sync.Mutex // guards what follows
	pkg      Package    // Files is never changed in place
	size     int64
	ids      map[string]int // of the files whose ID was given
	seeds    map[int]uint64 // of the files that were replaced
	tokens   int64          // issued; the serial of the next one
	revoked  int64          // tokens of a smaller serial are refused
	urls     int64          // storage URLs of a smaller epoch are refused
	lastCall [CallOther + 1]time.Time
	stats    packageStats
}

// AddPackage shares p and returns its link. The package's size, if it is not
// given, is the sum over its files, for which Generate is called Count times.
func (s *Server) AddPackage(p Package) Link {
	now := s.now()
	if p.Expiry.IsZero() {
		p.Expiry = now.Add(defaultLinkLife)
	}
	sh := &shared{created: now, pkg: p, size: p.sumOr(), ids: givenIDs(p.Files), seeds: map[int]uint64{}}
	sh.pkg.Files = slices.Clone(p.Files)
	sh.link = Link{ID: newULID(now), Secret: newSecret(), PackageID: newULID(now)}

	s.mu.Lock()
	defer s.mu.Unlock()
	sh.serial = len(s.packages) + 1
	s.links[sh.link.ID] = sh
	s.packages[sh.link.PackageID] = sh
	return sh.link
}

// Update changes a package while it is served: it calls change with a copy,
// whose Files may be changed in place too, and shares what it became. File IDs
// and content follow the index, so entries are better appended than inserted.
// The package is locked meanwhile: change must not call the server.
func (s *Server) Update(link Link, change func(*Package)) {
	sh := s.shared(link)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.pkg
	p.Files = slices.Clone(p.Files)
	p.Branding = maps.Clone(p.Branding)
	change(&p)
	sh.pkg, sh.size, sh.ids = p, p.sumOr(), givenIDs(p.Files)
}

// RevokeTokens makes the server refuse the package tokens that it has issued
// for this link so far.
func (s *Server) RevokeTokens(link Link) {
	sh := s.shared(link)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.revoked = sh.tokens
}

// ExpireURLs makes the storage refuse, as expired, the URLs that were given out
// for this package so far.
func (s *Server) ExpireURLs(link Link) {
	sh := s.shared(link)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.urls++
}

// Replace puts a new version of the object in the place of file i: content of
// another seed, under another ETag, at the same URLs.
func (s *Server) Replace(link Link, i int, seed uint64) {
	s.shared(link).replace(i, seed)
}

// File returns entry i as it is served, with the ID and the seed that it has
// if none were given.
func (s *Server) File(link Link, i int) File {
	sh := s.shared(link)
	p := sh.snapshot()
	return sh.file(&p, i)
}

// shared returns the package behind a link of this server; a link of another
// is a mistake in the test, and panics.
func (s *Server) shared(link Link) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.links[link.ID]
	if sh == nil {
		panic("masvtest: link " + link.ID + " is none of this server")
	}
	return sh
}

func (p *Package) sumOr() int64 {
	if p.Size != 0 {
		return p.Size
	}
	return p.sum()
}

func givenIDs(files []File) map[string]int {
	ids := map[string]int{}
	for i, f := range files {
		if f.ID != "" {
			ids[f.ID] = i
		}
	}
	return ids
}

// snapshot returns the package as it is now; it is not to be changed.
func (sh *shared) snapshot() Package {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.pkg
}

func (sh *shared) replace(i int, seed uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.seeds[i] = seed
}

// file returns entry i of p, completed.
func (sh *shared) file(p *Package, i int) File {
	f := p.raw(i)
	if f.ID == "" {
		f.ID = fileID(sh.link.PackageID, i)
	}
	if f.Kind == "" {
		f.Kind = "file"
	}
	if f.Seed == 0 {
		f.Seed = mix(uint64(sh.serial)<<40 + uint64(i) + 1)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if seed, ok := sh.seeds[i]; ok {
		f.Seed, f.Open = seed, nil
	}
	return f
}

// index returns the index of the file with that ID, -1 if there is none.
func (sh *shared) index(id string) int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, ok := sh.ids[id]; ok {
		return i
	}
	i := fileIndex(sh.link.PackageID, id)
	if i < 0 || i >= sh.pkg.count() || sh.pkg.Generate == nil && sh.pkg.Files[i].ID != "" {
		return -1
	}
	return i
}

// admit says how long a caller is still to wait for its next call of that
// kind; 0 admits it, and starts the interval anew.
func (sh *shared) admit(call Call, now time.Time) time.Duration {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	interval := sh.pkg.rateInterval()
	if wait := sh.lastCall[call].Add(interval).Sub(now); interval > 0 && wait > 0 {
		return wait
	}
	sh.lastCall[call] = now
	return 0
}
