// Package masvtest is an embedded MASV cloud, in the manner of
// net/http/httptest: the MASV API on one listener, the object storage behind
// it on another, both on loopback unless told otherwise.
//
// It stands for the documented API and nothing else: it imports no other
// package of this module, so that a client that misreads the API is not
// confirmed in its mistake by a server that misreads it in the same way.
//
// It owns packages and their links, signs tokens and storage URLs and checks
// them, serves content that is a function of a seed and an offset (Content) or
// that lies on a disk (Folder), misbehaves on demand (Fault), and counts what
// it was asked for and what it served, so that a test can tell what was
// downloaded twice, how often a link was called, and whether a secret reached
// the storage host (Stats).
//
// It promises that everything can be changed while it runs and from any
// goroutine, and that its memory does not grow with the content: a package of
// a million generated files costs some bytes for each file that was touched.
//
// It refuses to know who calls it: tests, the demo and the command that serves
// a folder use the same few methods, and package testing is not linked in.
package masvtest
