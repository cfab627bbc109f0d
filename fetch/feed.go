package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"masvfs/fetch/dest"
	"masvfs/fetch/store"
	"masvfs/fetch/transfer"
)

// feed supplies one run of a download with its files, in the order of the
// listing, and takes them when their bytes are there; it is the transfer's
// Supply.
type feed struct {
	agent *Agent
	d     *download
	tree  *dest.Tree
	list  *listing
	abort context.CancelCauseFunc // ends the run

	// Next is never called by two at a time, and alone uses these.
	ahead    []store.Entry
	after    int64
	partials map[int64]store.Partial

	mu   sync.Mutex // guards open
	open map[int64]*dest.Piece
}

func newFeed(a *Agent, d *download, tree *dest.Tree, list *listing, abort context.CancelCauseFunc) *feed {
	return &feed{agent: a, d: d, tree: tree, list: list, abort: abort, open: make(map[int64]*dest.Piece)}
}

// Next implements transfer.Supply.
func (f *feed) Next(ctx context.Context) (*transfer.File, error) {
	if f.partials == nil {
		if err := f.loadPartials(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if len(f.ahead) == 0 {
			if more, err := f.lookAhead(ctx); !more || err != nil {
				return nil, err
			}
		}
		e := f.ahead[0]
		f.ahead, f.after = f.ahead[1:], e.ID
		piece := f.piece(e)
		if e.State == store.Whole {
			settled, err := f.recover(ctx, piece)
			if err != nil {
				return nil, err
			}
			if settled {
				continue
			}
		}
		return f.begin(ctx, e, piece)
	}
}

// lookAhead reads the next entries, for which it may have to wait. It reports
// false when there are no more.
func (f *feed) lookAhead(ctx context.Context) (more bool, err error) {
	for {
		grown, over := f.list.next(), f.list.over()
		f.ahead, err = f.agent.store.Pending(ctx, f.d.seq, f.after, page)
		if err != nil || len(f.ahead) > 0 {
			return true, err
		}
		if over {
			return false, f.list.err
		}
		select {
		case <-grown:
		case <-f.list.ended:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// piece returns an entry of the listing as what the committer places.
func (f *feed) piece(e store.Entry) *dest.Piece {
	return &dest.Piece{Tree: f.tree, ID: e.ID, Folder: e.Folder, Name: e.Name, Size: e.Size, ModTime: e.ModTime}
}

func (f *feed) loadPartials(ctx context.Context) error {
	f.partials = make(map[int64]store.Partial)
	partials, err := f.agent.store.Partials(ctx, f.d.seq)
	for _, p := range partials {
		f.partials[p.Entry] = p
	}
	return err
}

// recover settles a file that was whole, and about to get its name, when the
// program ended. It reports false if the file must be fetched anew.
func (f *feed) recover(ctx context.Context, piece *dest.Piece) (settled bool, err error) {
	found, err := f.tree.Recover(piece)
	if err != nil {
		return false, err
	}
	switch found {
	case dest.PartialThere:
		return true, f.commit(ctx, piece)
	case dest.AlreadyPlaced:
		f.agent.expect(f, piece)
		return true, journal{f.agent}.Placed(ctx, []*dest.Piece{piece})
	default:
		return false, f.agent.store.Unwhole(ctx, []int64{piece.ID})
	}
}

// begin opens the partial file, with what has arrived of it before.
func (f *feed) begin(ctx context.Context, e store.Entry, piece *dest.Piece) (*transfer.File, error) {
	partial, fresh, err := f.tree.Partial(e.ID, e.Size)
	if err != nil {
		return nil, err
	}
	piece.Partial = partial
	file := &transfer.File{
		ID:     e.ID,
		Size:   e.Size,
		Source: &source{access: f.list.access, fileID: e.FileID},
		Sink:   partial,
	}
	p, ok := f.partials[e.ID]
	noted, known := decodeNote(partial.Noted())
	switch {
	case known:
		file.Arrived = noted // at least what was recorded
	case ok && fresh:
		// What was recorded is of a partial file that is gone, and must never
		// be taken for what is in the new one.
		if err := f.agent.store.DropPartial(ctx, e.ID); err != nil {
			return nil, errors.Join(err, partial.Close())
		}
	case ok:
		if err := file.Arrived.UnmarshalBinary(p.Arrived); err != nil {
			return nil, errors.Join(fmt.Errorf("read what has arrived of file %d: %w", e.ID, err), partial.Close())
		}
		file.Arrived.ETag = p.ETag
	}
	f.d.arrival.set(e.ID, file.Arrived.Bytes())
	f.d.arrival.fetching(e.ID, true)
	f.mu.Lock()
	f.open[e.ID] = piece
	f.mu.Unlock()
	return file, nil
}

// end takes a file out of those that are open.
func (f *feed) end(id int64) *dest.Piece {
	f.mu.Lock()
	defer f.mu.Unlock()
	piece := f.open[id]
	delete(f.open, id)
	return piece
}

// Done implements transfer.Supply.
func (f *feed) Done(file *transfer.File, err error) {
	piece := f.end(file.ID)
	f.d.arrival.fetching(file.ID, false)
	if err == nil {
		if err := f.commit(context.Background(), piece); err != nil {
			f.abort(err)
		}
		return
	}
	f.fail(piece, err)
}

// commit sends a file whose bytes are written on to its name.
func (f *feed) commit(ctx context.Context, piece *dest.Piece) error {
	f.agent.expect(f, piece)
	return f.agent.committer.Commit(ctx, piece)
}

// fail records that a file failed for good; the others go on.
func (f *feed) fail(piece *dest.Piece, err error) {
	code, message := CodeFileChanged, fmt.Sprintf("This file cannot be downloaded: %v.", err)
	var fe *fileError
	switch {
	case errors.As(err, &fe):
		code, message = fe.code, fe.message
	case errors.Is(err, dest.ErrInTheWay):
		code, message = CodeDestination, fmt.Sprintf("This file cannot be placed: %v.", err)
	case errors.Is(err, transfer.ErrRefused):
		code, message = CodeFileGone, fmt.Sprintf("MASV's storage no longer gives this file out (%v).", err)
	}
	f.agent.log.Warn("file failed", "download", f.d.id, "file", piece.ID, "code", code, "error", err)
	serr := f.agent.count(f.d, func() (store.Totals, error) {
		return f.agent.store.Fail(context.Background(), piece.ID, string(code), printable(message), true)
	})
	if serr != nil {
		f.abort(serr)
		return
	}
	f.agent.changed(f.d)
}

// Moved implements transfer.Supply.
func (f *feed) Moved(file *transfer.File, delta int64) {
	f.d.arrival.add(file.ID, delta)
	f.d.meter.add(delta)
}

// Written implements transfer.Supply.
func (f *feed) Written(file *transfer.File, arrived transfer.Arrived) {
	if note, err := encodeNote(arrived); err == nil {
		file.Sink.(*dest.Partial).Note(note)
	}
}

// encodeNote encodes what has arrived, ETag included, as a partial file's note.
func encodeNote(a transfer.Arrived) ([]byte, error) {
	spans, err := a.MarshalBinary()
	if err != nil {
		return nil, err
	}
	note := binary.AppendUvarint(nil, uint64(len(a.ETag)))
	note = append(note, a.ETag...)
	return append(note, spans...), nil
}

// decodeNote reports false if there is no note, or none that makes sense.
func decodeNote(note []byte) (a transfer.Arrived, ok bool) {
	length, n := binary.Uvarint(note)
	if n <= 0 || length > uint64(len(note)-n) {
		return a, false
	}
	etag, spans := note[n:n+int(length)], note[n+int(length):]
	a.ETag = string(etag)
	return a, a.UnmarshalBinary(spans) == nil
}

// Checkpoint implements transfer.Supply.
func (f *feed) Checkpoint(ctx context.Context, file *transfer.File, arrived transfer.Arrived) error {
	spans, err := arrived.MarshalBinary()
	if err != nil {
		return err
	}
	return f.agent.store.PutPartials(ctx, []store.Partial{{Entry: file.ID, Arrived: spans, ETag: arrived.ETag}})
}
