package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"masvfs/fetch/masv"
)

// Download is all that is remembered of a download apart from its entries.
// What the words mean is up to the agent; a zero time is none.
type Download struct {
	Seq                  int64  // given by Add, ascending, never used again
	ID                   string // unique
	LinkID               string
	LinkSecret, Password masv.Secret
	PackageID            string
	Token                masv.Secret
	PackageName          string
	SenderEmail          string
	PackageSize          int64 // bytes
	ExpiresAt            time.Time

	GivenName string
	Name      string
	NameKey   string // unique over all downloads

	State       string
	Code        string // of the problem; empty: none
	Message     string
	Recoverable bool
	RetryAt     time.Time

	DstFolder   string
	Folder      string // the tree's present folder inside DstFolder; empty: none, or straight into it
	FinalFolder string // the name chosen for it in the end
	Placed      bool   // the package folder exists and is ours
	Listed      bool   // all entries are recorded
	Deleting    bool
	RemoveFiles bool

	FileIDs          []string // nil: all
	NoPackageFolder  bool
	RefuseQuarantine bool
	Publish          string
	UID, GID         *int
	Priority         int

	CreatedAt, UpdatedAt, CompletedAt time.Time

	Totals // read only: kept by the calls that change entries
}

// Totals are sums over the files of a download that are not skipped.
type Totals struct {
	Files, FilesDone, FilesFailed int64
	Bytes, BytesDone              int64 // BytesDone counts complete files only
}

const totalColumns = `files, files_done, files_failed, bytes, bytes_done`

func (t *Totals) dest() []any {
	return []any{&t.Files, &t.FilesDone, &t.FilesFailed, &t.Bytes, &t.BytesDone}
}

// Downloads returns all downloads, by Seq.
func (s *Store) Downloads(ctx context.Context) ([]Download, error) {
	const query = `SELECT seq, id, link_id, link_secret, password, package_id, token, package_name,
		sender_email, package_size, expires_at, given_name, name, name_key, state, code, message,
		recoverable, retry_at, dst_folder, folder, final_folder, placed, listed, deleting, remove_files,
		file_ids, no_package_folder, refuse_quarantine, publish, uid, gid, priority, created_at,
		updated_at, completed_at, ` + totalColumns + ` FROM downloads ORDER BY seq`
	var all []Download
	// Most rows say the same in most of their text; ten thousand stay in memory.
	texts := make(map[string]string)
	share := func(fields ...*string) {
		for _, f := range fields {
			if text, ok := texts[*f]; ok {
				*f = text
			} else {
				texts[*f] = *f
			}
		}
	}
	err := s.read(ctx, "read downloads", query, nil, func(row scanner) error {
		var d Download
		var secret, password, token string
		var expires, retry, created, updated, completed int64
		var fileIDs []byte
		err := row.Scan(append([]any{&d.Seq, &d.ID, &d.LinkID, &secret, &password, &d.PackageID, &token, &d.PackageName,
			&d.SenderEmail, &d.PackageSize, &expires, &d.GivenName, &d.Name, &d.NameKey, &d.State, &d.Code, &d.Message,
			&d.Recoverable, &retry, &d.DstFolder, &d.Folder, &d.FinalFolder, &d.Placed, &d.Listed, &d.Deleting, &d.RemoveFiles,
			&fileIDs, &d.NoPackageFolder, &d.RefuseQuarantine, &d.Publish, &d.UID, &d.GID, &d.Priority, &created,
			&updated, &completed}, d.Totals.dest()...)...)
		if err != nil {
			return err
		}
		d.LinkSecret, d.Password, d.Token = masv.Secret(secret), masv.Secret(password), masv.Secret(token)
		d.ExpiresAt, d.RetryAt = instant(expires), instant(retry)
		d.CreatedAt, d.UpdatedAt, d.CompletedAt = instant(created), instant(updated), instant(completed)
		if fileIDs != nil {
			if err := json.Unmarshal(fileIDs, &d.FileIDs); err != nil {
				return fmt.Errorf("file identifiers of download %d: %w", d.Seq, err)
			}
		}
		share(&d.State, &d.DstFolder, &d.SenderEmail, &d.Publish, &d.Code, &d.Message)
		for _, f := range []*string{&d.NameKey, &d.PackageName, &d.Folder, &d.FinalFolder} {
			if *f == d.Name {
				*f = d.Name
			}
		}
		all = append(all, d)
		return nil
	})
	return all, err
}

// Add records downloads, all or none, and sets their Seq in ascending order.
// With an origin, which names what they came from, it records that in the
// same step; if the origin is recorded already, it adds nothing and returns
// ErrTaken.
func (s *Store) Add(ctx context.Context, origin string, ds []*Download) error {
	seqs := make([]int64, len(ds))
	err := s.write(ctx, "add downloads", func(tx *tx) error {
		if origin != "" {
			n, err := tx.exec(`INSERT INTO origins (origin) VALUES (?) ON CONFLICT DO NOTHING`, origin)
			if err != nil {
				return err
			}
			if n == 0 {
				return ErrTaken
			}
		}
		for i, d := range ds {
			values, err := d.values()
			if err != nil {
				return err
			}
			seqs[i], err = tx.insert(`INSERT INTO downloads (link_id, link_secret, password, package_id, token, package_name,
				sender_email, package_size, expires_at, given_name, name, name_key, state, code, message,
				recoverable, retry_at, dst_folder, folder, final_folder, placed, listed, deleting, remove_files,
				file_ids, no_package_folder, refuse_quarantine, publish, uid, gid, priority, created_at,
				updated_at, completed_at, id) VALUES (
				?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				append(values, d.ID)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, d := range ds {
		d.Seq = seqs[i]
	}
	return nil
}

// Put records all of a download that is there already, but for Seq, ID and
// Totals, which do not change. If it is gone, the error is fs.ErrNotExist.
func (s *Store) Put(ctx context.Context, d Download) error {
	values, err := d.values()
	if err != nil {
		return fmt.Errorf("put download %d: %w", d.Seq, err)
	}
	return s.write(ctx, "put download", func(tx *tx) error {
		n, err := tx.exec(`UPDATE downloads SET (link_id, link_secret, password, package_id, token, package_name,
			sender_email, package_size, expires_at, given_name, name, name_key, state, code, message,
			recoverable, retry_at, dst_folder, folder, final_folder, placed, listed, deleting, remove_files,
			file_ids, no_package_folder, refuse_quarantine, publish, uid, gid, priority, created_at,
			updated_at, completed_at) = (
			?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE seq = ?`,
			append(values, d.Seq)...)
		if err == nil && n == 0 {
			err = gone(d.Seq)
		}
		return err
	})
}

// values returns what Add and Put write, in the order of their columns.
func (d *Download) values() ([]any, error) {
	var fileIDs any
	if d.FileIDs != nil {
		text, err := json.Marshal(d.FileIDs)
		if err != nil {
			return nil, err
		}
		fileIDs = string(text)
	}
	return []any{d.LinkID, d.LinkSecret.Reveal(), d.Password.Reveal(), d.PackageID, d.Token.Reveal(), d.PackageName,
		d.SenderEmail, d.PackageSize, nanoseconds(d.ExpiresAt), d.GivenName, d.Name, d.NameKey, d.State, d.Code, d.Message,
		d.Recoverable, nanoseconds(d.RetryAt), d.DstFolder, d.Folder, d.FinalFolder, d.Placed, d.Listed, d.Deleting, d.RemoveFiles,
		fileIDs, d.NoPackageFolder, d.RefuseQuarantine, d.Publish, nullable(d.UID), nullable(d.GID), d.Priority, nanoseconds(d.CreatedAt),
		nanoseconds(d.UpdatedAt), nanoseconds(d.CompletedAt)}, nil
}

func nullable(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

// deleteBatch is how many entries one transaction of Delete removes, so that
// it keeps no other write waiting for long.
const deleteBatch = 5000

// Delete removes a download and all that is recorded of it: its entries
// first, in several transactions, its row last. What is cut short is finished
// by another Delete. It is no error if there is nothing left.
//
// The file does not shrink: the space is used again before it grows. Keeping
// books of where each page belongs, so that it could be given back
// (auto_vacuum), costs AddEntries 4 % of its time.
func (s *Store) Delete(ctx context.Context, seq int64) error {
	const op = "delete download"
	for more := true; more; {
		err := s.write(ctx, op, func(tx *tx) error {
			n, err := tx.exec(`DELETE FROM entries WHERE id IN
				(SELECT id FROM entries INDEXED BY entries_order WHERE download = ? LIMIT ?)`, seq, deleteBatch)
			more = n == deleteBatch
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.write(ctx, op, func(tx *tx) error {
		if _, err := tx.exec(`DELETE FROM partials WHERE download = ?`, seq); err != nil {
			return err
		}
		_, err := tx.exec(`DELETE FROM downloads WHERE seq = ?`, seq)
		return err
	})
}

// totals reads the sums of a download.
func (tx *tx) totals(seq int64) (Totals, error) {
	var t Totals
	found, err := tx.find(`SELECT `+totalColumns+` FROM downloads WHERE seq = ?`, []any{seq}, t.dest()...)
	if err == nil && !found {
		err = gone(seq)
	}
	return t, err
}

// setTotals records the sums of a download.
func (tx *tx) setTotals(seq int64, t Totals) error {
	_, err := tx.exec(`UPDATE downloads SET (`+totalColumns+`) = (?, ?, ?, ?, ?) WHERE seq = ?`,
		t.Files, t.FilesDone, t.FilesFailed, t.Bytes, t.BytesDone, seq)
	return err
}

// gone says that a download has been deleted.
func gone(seq int64) error { return fmt.Errorf("download %d: %w", seq, fs.ErrNotExist) }
