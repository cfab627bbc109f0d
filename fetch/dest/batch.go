package dest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// flushers is how many files are flushed at the same time, where each must be.
const flushers = 8

// batch are pieces that share their flushes.
type batch struct {
	lane    *lane
	journal Journal
	pieces  []*Piece // those that have not failed
}

// commit takes the pieces all the way. The order of the steps is what a crash
// between any two of them relies on. What was begun is not broken off.
func (b *batch) commit() {
	ctx := context.Background()
	begun := time.Now()
	b.each(b.flush())
	flushed := time.Since(begun)
	if len(b.pieces) == 0 {
		return
	}
	if err := b.journal.Whole(ctx, slices.Clone(b.pieces)); err != nil {
		b.failAll(fmt.Errorf("record files as whole: %w", err))
		return
	}
	b.each(func(p *Piece) error {
		return p.place(func() (string, error) { return b.journal.Taken(ctx, p) })
	})
	b.each(b.flushFolders())
	if len(b.pieces) == 0 {
		return
	}
	if err := b.journal.Placed(ctx, slices.Clone(b.pieces)); err != nil {
		b.failAll(fmt.Errorf("record files as placed: %w", err))
		return
	}
	b.lane.c.cfg.Log.Debug("files placed", "files", len(b.pieces), "flush", flushed, "took", time.Since(begun))
	for _, p := range b.pieces {
		p.Partial.Close()
		b.lane.settle(p)
	}
}

// each takes a step for every piece, and those out for which it fails.
func (b *batch) each(step func(*Piece) error) {
	kept := b.pieces[:0]
	for _, p := range b.pieces {
		if err := step(p); err != nil {
			b.fail(p, err)
			continue
		}
		kept = append(kept, p)
	}
	b.pieces = kept
}

func (b *batch) fail(p *Piece, err error) {
	if p.Partial.lost() {
		p.Partial.drop()
	} else {
		p.Partial.Close()
	}
	b.journal.Failed(p, err)
	b.lane.settle(p)
}

func (b *batch) failAll(err error) {
	b.each(func(*Piece) error { return err })
}

// flush has the bytes of all pieces written to stable storage, and returns
// what is to be said of each.
func (b *batch) flush() func(*Piece) error {
	if b.flushTogether() {
		return func(p *Piece) error {
			// One that is lost says how. Of bytes that an earlier program
			// has written, somebody else may have been told.
			if p.Partial.lost() || p.Partial.noted != nil {
				return p.Partial.flush()
			}
			return nil
		}
	}
	errs := make(map[*Piece]error, len(b.pieces))
	var mu sync.Mutex // guards errs
	var all sync.WaitGroup
	slots := make(chan struct{}, flushers)
	for _, p := range b.pieces {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := p.Partial.flush(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs[p] = err
			}
		})
	}
	all.Wait()
	return func(p *Piece) error { return errs[p] }
}

// flushTogether flushes the whole file system, if that pays and can be relied
// on. If something on it could not be written, flushing each file tells which.
func (b *batch) flushTogether() bool {
	if len(b.pieces) <= few {
		return false
	}
	for _, t := range b.trees() {
		done, err := t.flushAll()
		if err != nil {
			b.lane.c.cfg.Log.Warn("file system has lost writes; looking for the files concerned", "folder", t.path, "error", err)
		}
		if !done {
			return false
		}
	}
	return true
}

// flushFolders flushes the folders of all pieces, and returns what is to be
// said of each piece.
func (b *batch) flushFolders() func(*Piece) error {
	type place struct {
		tree   *Tree
		folder string
	}
	failed := make(map[place]error)
	for _, t := range b.trees() {
		t.flushFolders(func(folder string, err error) { failed[place{t, folder}] = err })
	}
	return func(p *Piece) error {
		if len(failed) == 0 {
			return nil
		}
		for folder := p.Folder; ; folder = parent(folder) {
			if err := failed[place{p.Tree, folder}]; err != nil {
				return err
			}
			if folder == "" {
				return nil
			}
		}
	}
}

// trees returns the trees of the pieces, each once.
func (b *batch) trees() []*Tree {
	var trees []*Tree
	for _, p := range b.pieces {
		if !slices.Contains(trees, p.Tree) {
			trees = append(trees, p.Tree)
		}
	}
	return trees
}
