package masvtest

import (
	"io"
	"net/url"
	"time"
)

// A Package is what a sender sent, and how the cloud treats whoever comes for
// it. The zero value of every switch is the friendly one. It may be changed
// while it is served, with Server.Update.
type Package struct {
	Name           string
	Size           int64 // package_size; 0: the sum of the files, reckoned by AddPackage and Update
	SenderEmail    string
	RecipientEmail string
	Branding       map[string]any

	// Files are the entries of the listing, in its order. If Generate is set,
	// there are Count entries instead, made each time that they are needed:
	// Generate must be a pure function, safe for concurrent use, of 0 ≤ i < Count.
	Files    []File
	Generate func(i int) File
	Count    int

	Password       string    // asked for in X-Link-Password
	AccessLimit    int       // link calls answered before the link locks (403); 0: no limit
	NotReady       int       // the first link calls, answered with NotReadyStatus; negative: all
	NotReadyStatus int       // 0: 409
	Expiry         time.Time // of the link; 0: in ten days
	ExpiredStatus  int       // answered after Expiry; 0: 410
	Disabled       bool      // by its sender: the link is 404, listing and files go on with the token
	SignIn         bool      // the recipient must be signed in: 403

	// RateInterval is the least time between two link calls and, apart from
	// them, between two listings; 0: what MASV documents, 5 seconds with more
	// than 10,000 files and none with fewer; negative: none.
	RateInterval time.Duration

	TokenLife       time.Duration // of package tokens, in whole seconds, rounded up; 0: a day
	URLLife         time.Duration // of storage URLs; 0: an hour
	RedirectFileURL bool          // the file URL comes as a redirect in place of JSON
}

// A File is one entry of a package's listing. Name, Path and Kind are passed
// on as they are, however hostile.
type File struct {
	ID            string // "": one that carries the index; always so with Generate
	Kind          string // "": "file"
	Name          string
	Path          string // the parent folder; "": the field is left out
	Size          int64  // bytes
	LastModified  time.Time
	VirusDetected bool

	// Seed chooses the generated content; 0: one of its own for each file of
	// the server, which Server.File tells.
	Seed uint64

	// Open gives other content than the generated; it is called for each
	// request. If the reader has the method Stat of *os.File, then the size,
	// the time and the ETag served are those of this moment.
	Open func() (io.ReaderAt, io.Closer, error)

	// URL is where the content lies, if another server has it: the call for the
	// file's URL answers with this one. Seed and Open then mean nothing.
	URL string

	Gone bool // listed, but its download is 404
}

// documented limits and lifetimes
const (
	manyFiles       = 10_000
	manyFilesPause  = 5 * time.Second
	defaultLinkLife = 10 * 24 * time.Hour
	defaultToken    = 24 * time.Hour
	defaultURLLife  = time.Hour
)

// count returns the number of entries of the listing.
func (p *Package) count() int {
	if p.Generate != nil {
		return p.Count
	}
	return len(p.Files)
}

// rateInterval returns the time between two calls, 0 for no limit.
func (p *Package) rateInterval() time.Duration {
	switch {
	case p.RateInterval < 0:
		return 0
	case p.RateInterval == 0 && p.count() > manyFiles:
		return manyFilesPause
	}
	return p.RateInterval
}

// sum returns the bytes of all entries of kind file.
func (p *Package) sum() (size int64) {
	for i := range p.count() {
		f := p.raw(i)
		if f.Kind == "" || f.Kind == "file" {
			size += f.Size
		}
	}
	return size
}

// raw returns entry i as it was given.
func (p *Package) raw(i int) File {
	if p.Generate != nil {
		f := p.Generate(i)
		f.ID = ""
		return f
	}
	return p.Files[i]
}

// A Link leads to a package of one Server.
type Link struct {
	ID        string
	Secret    string
	PackageID string // not part of the link: what the link call will answer
}

// URL returns the link as people get it by e-mail.
func (l Link) URL() string {
	return "https://get.massive.io/" + l.ID + "?secret=" + url.QueryEscape(l.Secret)
}
