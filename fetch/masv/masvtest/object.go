package masvtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// object is a file's content as it is at this moment.
type object struct {
	size     int64
	modified time.Time
	etag     string
	reader   io.ReaderAt
	file     *os.File // the reader, if it is one: it goes out by sendfile
	closer   io.Closer
}

// partSize is the size of the parts in which senders upload, by default.
const partSize = 100 << 20

// open opens the content of a file; the zero time of the listing becomes that
// of the package.
func (f File) open(created time.Time) (*object, error) {
	o := &object{size: f.Size, modified: f.LastModified, reader: generated(f.Seed)}
	if o.modified.IsZero() {
		o.modified = created
	}
	version := [2]uint64{f.Seed, 0}
	if f.Open != nil {
		var err error
		if o.reader, o.closer, err = f.Open(); err != nil {
			return nil, err
		}
		o.file, _ = o.reader.(*os.File)
		if s, ok := o.reader.(interface{ Stat() (fs.FileInfo, error) }); ok {
			st, err := s.Stat()
			if err != nil {
				o.close()
				return nil, err
			}
			o.size, o.modified = st.Size(), st.ModTime()
			version[1] = uint64(st.ModTime().UnixNano())
		}
	}
	o.etag = etag(version, o.size)
	return o, nil
}

// etag looks like that of a multipart upload to S3, of which nothing but
// equality means anything.
func etag(version [2]uint64, size int64) string {
	high := mix(version[0] + golden)
	low := mix(high ^ mix(version[1]+golden2))
	return fmt.Sprintf(`"%016x%016x-%d"`, mix(low^uint64(size)), low, max(1, (size+partSize-1)/partSize))
}

// fill reads content into p; past the end of the object it makes some up, for
// the fault of sending too much.
func (o *object) fill(p []byte, offset int64) error {
	n, err := o.reader.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if offset+int64(n) < o.size || !errors.Is(err, io.EOF) {
		return fmt.Errorf("read content at %d: %w", offset+int64(n), err)
	}
	clear(p[n:])
	return nil
}

func (o *object) close() {
	if o.closer != nil {
		o.closer.Close() // only read
	}
}
