package watcher

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// An origin is the identity of a dropped file, as the agent records it:
// "inbox:", a hash of the name, ":", and a hash of name, size, modification
// time and content. A hash, so that the record holds no link; the name
// apart, so that a rescan can tell which origins' files are gone.
//
// The inode number is left out: shares and FUSE file systems give a file
// another one after each mount, and what was taken from a read-only inbox
// would then be queued again.
const originPrefix = "inbox:"

func originOf(name string, seen sight, data []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s %d %d\n", len(name), name, seen.size, seen.modified)
	h.Write(data)
	return originPrefix + nameHash(name) + ":" + hex.EncodeToString(h.Sum(nil)[:16])
}

func nameHash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// nameOfOrigin returns the hash of the name in an origin; false if it is not
// one of an inbox.
func nameOfOrigin(origin string) (hash string, ok bool) {
	rest, ok := strings.CutPrefix(origin, originPrefix)
	if !ok {
		return "", false
	}
	hash, _, ok = strings.Cut(rest, ":")
	return hash, ok
}
