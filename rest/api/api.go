// Package api holds what travels over the REST API, as Go values whose JSON
// form is the contract with its users: downloads, their files, and problems.
// Server and client share it. It refuses to know the agent, so that a program
// that only talks to one needs nothing else of this module.
//
// Sizes are bytes, rates bytes per second, times UTC.
package api

import "time"

// Prefix is the path that every call's path begins with.
const Prefix = "/api/v1"

// States of a download. One that waits for its turn is Transferring with a
// QueuePosition above 0.
const (
	Transferring = "transferring"
	Paused       = "paused"
	Complete     = "complete"
	Failed       = "error"
)

// States of a file that a download does not have; the others are Transferring,
// Complete and Failed.
const (
	Pending = "pending"
	Skipped = "skipped"
)

// Download is one download, without its files.
type Download struct {
	ID             string     `json:"download_id"` // a UUID
	Name           string     `json:"name"`
	URL            string     `json:"url"` // the link, its secret masked
	State          string     `json:"state"`
	DstFolder      string     `json:"dst_folder"`
	Path           string     `json:"path"`       // absolute folder that holds the tree; empty until it is chosen
	MountPath      string     `json:"mount_path"` // the download's folder in the mount; empty without a mount
	BytesDone      int64      `json:"bytes_done"`
	BytesTotal     int64      `json:"bytes_total"`
	FilesDone      int64      `json:"files_done"`
	FilesTotal     int64      `json:"files_total"`
	BytesPerSecond int64      `json:"bytes_per_second"`
	ETASeconds     *int64     `json:"eta_seconds"` // nil: unknown
	Priority       int        `json:"priority"`
	QueuePosition  int        `json:"queue_position"` // 0: it does not wait for its turn
	CreatedAt      time.Time  `json:"created_at"`
	CompletedAt    *time.Time `json:"completed_at"` // nil until it is complete
	ExpiresAt      *time.Time `json:"expires_at"`   // of the link; nil: unknown
	SenderEmail    string     `json:"sender_email"`
	Error          *Error     `json:"error"` // nil unless something is wrong

	// Told of a single download while it is transferring, not in lists.
	Connections *Connections `json:"connections,omitempty"`
}

// Connections is how many connections to the storage are used.
type Connections struct {
	InUse   int    `json:"in_use"`  // for this download
	Allowed int    `json:"allowed"` // just now, for all downloads together
	Why     string `json:"why"`     // there are not more, for people
}

// File is one file of a download.
type File struct {
	ID           string `json:"id"`
	Path         string `json:"path"`                    // relative to the download's Path
	OriginalPath string `json:"original_path,omitempty"` // the sender's, where cleaning changed it
	Size         int64  `json:"size"`
	BytesDone    int64  `json:"bytes_done"`
	State        string `json:"state"`
	Error        *Error `json:"error"` // nil unless something is wrong
}

// Error says why a download or a file failed.
type Error struct {
	Code        string     `json:"code"`
	Message     string     `json:"message"` // a sentence for people
	Recoverable bool       `json:"recoverable"`
	RetryAt     *time.Time `json:"retry_at"` // nil: not by itself
}

// Request is the body of the POST of a download. The zero value of everything
// but URL means the default.
type Request struct {
	URL              string   `json:"url"` // the whole link, secret included
	DstFolder        string   `json:"dst_folder,omitempty"`
	Password         string   `json:"password,omitempty"`
	Name             string   `json:"name,omitempty"`
	Priority         int      `json:"priority,omitempty"`
	FileIDs          []string `json:"file_ids,omitempty"`
	PackageFolder    *bool    `json:"create_package_folder,omitempty"`     // nil: true
	BypassQuarantine *bool    `json:"bypass_package_quarantine,omitempty"` // nil: true
	Publish          string   `json:"publish,omitempty"`
	UID              *int     `json:"uid,omitempty"`
	GID              *int     `json:"gid,omitempty"`
}

// Added answers the POST of a download.
type Added struct {
	ID string `json:"download_id"`
}

// Changed answers a call on all downloads.
type Changed struct {
	Count int `json:"changed"`
}

// Settings are what can be changed while the agent runs. Those that a PATCH
// leaves out stay as they are; the change lasts until the agent ends.
type Settings struct {
	DownloadRateLimit *int64 `json:"download_rate_limit"` // bytes per second over all downloads; 0: none
}

// Removal is the optional body of a DELETE.
type Removal struct {
	RemoveFiles bool `json:"remove_files"`
}
