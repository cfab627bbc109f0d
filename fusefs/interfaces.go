package fusefs

import "github.com/hanwen/go-fuse/v2/fs"

// What each node and handle can do. go-fuse asks for these at run time, so a
// method with a misspelt name or a wrong type would be left out in silence.

type anyFolder interface {
	fs.NodeGetattrer
	fs.NodeAccesser
	fs.NodeLookuper
	fs.NodeOpendirHandler

	refuser
	fs.NodeCreater
	fs.NodeTmpfiler
	fs.NodeMkdirer
	fs.NodeMknoder
	fs.NodeLinker
	fs.NodeSymlinker
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
}

type anyFile interface {
	fs.NodeGetattrer
	fs.NodeAccesser
	fs.NodeOpener
	refuser
}

type refuser interface {
	fs.NodeSetattrer
	fs.NodeSetxattrer
	fs.NodeRemovexattrer
}

type withXattrs interface {
	fs.NodeGetxattrer
	fs.NodeListxattrer
}

var (
	_ anyFolder       = (*root)(nil)
	_ withXattrs      = (*root)(nil)
	_ fs.NodeStatfser = (*root)(nil)

	_ anyFolder  = (*downloadFolder)(nil)
	_ withXattrs = (*downloadFolder)(nil)

	_ anyFolder = (*folder)(nil)

	_ anyFile = (*file)(nil)
	_ anyFile = (*statusFile)(nil)
)

var (
	_ fs.FileReaddirenter = (*openFolder)(nil)
	_ fs.FileSeekdirer    = (*openFolder)(nil)
	_ fs.FileLookuper     = (*openFolder)(nil)

	_ fs.FileReader   = (*openFile)(nil)
	_ fs.FileReleaser = (*openFile)(nil)

	_ fs.FileReader  = (*openStatus)(nil)
	_ fs.FileWriter  = (*openStatus)(nil)
	_ fs.FileFlusher = (*openStatus)(nil)
	_ fs.FileFsyncer = (*openStatus)(nil)
)
