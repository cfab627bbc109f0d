// Package fusefs is the mount: it shows the agent's downloads as a file
// system.
//
//	<mount>/
//	  <download name>/
//	    state       one word and a newline; writing "pause" or "resume" does that
//	    progress    one JSON object, padded with spaces to a constant length
//	    error       only in state error: one sentence
//	    files/      the finished files, in the folders that the sender gave them
//
// It owns the nodes, the mounting and the unmounting, and nothing of what is
// shown: every answer is asked of the agent, through the few methods of Agent,
// at the moment when the kernel asks. What is kept here is what the kernel
// holds (go-fuse's tree of inodes) and one page for each folder that somebody
// is listing, so memory does not grow with packages or history.
//
// It promises that what a system call tells is true at that moment: status
// files are never cached and are whole however they are read; a name below
// files/ is believed for a second at most; that a name is not there is never
// remembered. Inode numbers outlive restarts (see ino).
//
// The package never waits in its own mount and never tells the kernel to
// forget a name. Both come to the same: a notification waits, uninterruptibly,
// for the lookups that are under way in that folder, and those wait for this
// process. Killed at that moment the process cannot die, because the waiting
// thread keeps /dev/fuse open (seen on Linux 6.18, within six SIGKILLs under
// load). Short lifetimes of names do the same work without that risk: the
// name of a removed download is looked up anew at every use, and with it the
// kernel drops everything that it knew below.
//
// It knows nothing of databases, clouds or HTTP.
package fusefs
