// Package fetch is the agent: it owns the downloads, from the moment a link
// is accepted until its tree is complete on disk.
//
// It promises that a download's state changes in one place and in one order:
// decide, store, then tell. What it tells a subscriber is durable already.
// It calls the MASV cloud through package masv, fetches bytes through
// package transfer, places files through package dest and remembers
// everything through package store. It knows nothing of HTTP servers, FUSE
// or inboxes: those are built on the methods of Agent.
package fetch

import (
	"time"

	"masvfs/fetch/masv"
	"masvfs/fetch/store"
)

// State is the state of a download, in the words of the MASV Agent.
type State string

// The four states. A download that waits for its turn is Transferring with a
// QueuePosition above 0.
const (
	Transferring State = "transferring"
	Paused       State = "paused"
	Complete     State = "complete"
	Failed       State = "error"
)

// FileState is the state of one file of a download.
type FileState string

// The states of a file.
const (
	FilePending      FileState = "pending"
	FileTransferring FileState = "transferring"
	FileComplete     FileState = "complete"
	FileSkipped      FileState = "skipped"
	FileFailed       FileState = "error"
)

// Request asks for a download. The zero value of everything but Link means
// the default.
type Request struct {
	Link      masv.Link
	Password  masv.Secret
	DstFolder string   // absolute; empty: the default destination
	Name      string   // what the download is called until the package's name is known
	Priority  int      // higher goes first
	FileIDs   []string // only these files of the package; empty: all

	NoPackageFolder  bool    // place the tree straight into DstFolder
	RefuseQuarantine bool    // a package with malware warnings is an error
	Publish          Publish // empty: the agent's default
	UID, GID         *int    // owner of what is written; nil: the agent's own
}

// Publish says when what is written gets its final name on disk.
type Publish string

// The ways to publish: every file as it finishes, or the whole package
// folder once the download is complete.
const (
	PublishFile    Publish = "file"
	PublishPackage Publish = "package"
)

// Download is what there is to know of a download at one moment.
type Download struct {
	ID        string // a UUID
	Seq       int64  // ascending in the order of acceptance, never used again
	Name      string // its folder's name in the mount, unique there
	Link      masv.Link
	State     State
	DstFolder string
	Path      string // absolute folder that holds the tree on disk; empty until it is chosen
	Problem   *Problem

	BytesDone, BytesTotal int64
	FilesDone, FilesTotal int64
	BytesPerSecond        int64         // over the last seconds
	ETA                   time.Duration // negative: unknown

	Priority      int
	QueuePosition int // 0: running, or not in the queue

	// Connections to the storage are told of one download at a time, while it
	// is transferring.
	Connections Connections

	CreatedAt   time.Time
	UpdatedAt   time.Time // of the last change of anything above
	CompletedAt time.Time // zero until complete
	ExpiresAt   time.Time // of the link; zero: unknown
	SenderEmail string
}

// Connections is how many connections to the storage are used.
type Connections struct {
	InUse   int    // for this download
	Allowed int    // just now, for all downloads together
	Why     string // there are not more, for people; empty: not transferring
}

// File is one file of a download.
type File struct {
	ID           string // the cloud's identifier of the file
	Path         string // relative to the download's Path, '/'-separated
	OriginalPath string // the sender's, only where cleaning changed it
	Size         int64
	BytesDone    int64
	State        FileState
	Problem      *Problem
}

// Node is a finished file or a folder, as the mount shows it.
type Node = store.Node

// Problem says to people and to programs why a download or a file failed.
type Problem struct {
	Code        Code
	Message     string // one sentence, with what to do about it
	Recoverable bool   // resume, or time, may mend it
	RetryAt     time.Time
}

// Code names a kind of Problem; codes are stable, programs may rely on them.
type Code string

// The codes of problems.
const (
	CodeLinkNotFound     Code = "link_not_found"    // unknown, disabled or expired link
	CodeLinkExpired      Code = "link_expired"      // its expiry has passed
	CodeLinkInvalid      Code = "link_invalid"      // the answer about the link makes no sense
	CodePasswordRequired Code = "password_required" // refused, and no password was given
	CodeAccessDenied     Code = "access_denied"     // password or secret wrong, or access limit reached
	CodeSignInRequired   Code = "sign_in_required"  // the recipient must be signed in
	CodeListingRefused   Code = "listing_refused"   // the package's files cannot be listed
	CodeListingInvalid   Code = "listing_invalid"   // the listing makes no sense
	CodeQuarantined      Code = "quarantined"       // malware warning
	CodeUnknownKind      Code = "unknown_kind"      // an entry of a kind not known here
	CodePathTooDeep      Code = "path_too_deep"     // more folders in one another than are taken
	CodeUnknownFile      Code = "unknown_file"      // file_ids names a file that is not in the package
	CodeNoSpace          Code = "no_space"          // too little room at the destination
	CodeDestination      Code = "destination"       // the destination cannot be used
	CodeFileGone         Code = "file_gone"         // the cloud no longer has the file
	CodeFileChanged      Code = "file_changed"      // what storage holds is not what was listed
	CodeFilesFailed      Code = "files_failed"      // some files of the download failed
	CodeInternal         Code = "internal"
)
