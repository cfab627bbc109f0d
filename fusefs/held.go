package fusefs

import (
	"maps"
	"slices"
	"sync"
)

// held counts, of each folder, how often the kernel was given it and has not
// forgotten it: the folders that somebody stands in, has open, or watches, and
// those with names in them that the kernel still believes. Nobody can watch a
// folder that is not among them. The zero value is ready.
type held struct {
	mu      sync.Mutex // guards folders
	folders map[inode]holds
}

// holds is how often the kernel was given a folder, and how often of that it
// was the announcer who asked.
type holds struct{ all, own uint64 }

func (h *held) add(i inode, own bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.folders == nil {
		h.folders = make(map[inode]holds)
	}
	n := h.folders[i]
	n.all++
	if own {
		n.own++
	}
	h.folders[i] = n
}

// forget takes n times off; inodes that are not counted are none of its business.
func (h *held) forget(i inode, n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch was := h.folders[i]; {
	case was.all > n:
		// It was given again meanwhile, and to whom cannot be told.
		h.folders[i] = holds{all: was.all - n}
	case was.all > 0:
		delete(h.folders, i)
	}
}

// has reports whether somebody may watch a folder. The root is never forgotten.
func (h *held) has(i inode) bool {
	if i == rootInode {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.folders[i]
	return n.all > n.own
}

// downloads returns the Seqs of the downloads whose own folders are held.
func (h *held) downloads() []int64 {
	h.mu.Lock()
	all := slices.Collect(maps.Keys(h.folders))
	h.mu.Unlock()
	var seqs []int64
	for _, i := range all {
		if seq, p, ok := i.part(); ok && p == folderPart && h.has(i) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}
