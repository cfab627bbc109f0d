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
// It owns the mounting and the unmounting, and nothing of what is shown: every
// answer is asked of the agent, through the few methods of Agent, at the
// moment when the kernel asks. What an inode number stands for is in the
// number, so no tree is kept; what is kept is one count for each folder that
// the kernel holds, and what is open. Memory does not grow with packages or
// history.
//
// It promises that what a system call tells is true at that moment: status
// files are never cached and are whole however they are read; a folder is
// believed for a second, a finished file, which changes no more, for longer;
// that a name is not there is never remembered. Inode numbers outlive restarts (see inode).
//
// Those who watch the mount with inotify are told of what changes (see
// announcer). Finished files are read by the kernel itself where it can (see
// passthrough).
//
// One thread makes system calls in the mount (see ownThread), nothing else of
// this process does, and the kernel is never told to forget a name. Both come
// to the same: who waits for the mount waits for this process, and a process
// that waits for itself when it is killed never dies (seen on Linux 6.18,
// within six SIGKILLs under load). Short lifetimes of folders' names do the
// work of notifications without that risk: the name of a removed download is
// looked up anew a second later, and with it the kernel drops all below.
//
// The files, by what they are about: inode, fs, folder, status, file and
// xattr answer the kernel; passthrough, held and handles are what they keep;
// story and news are what there is to tell and quiet and watchers when,
// announce holds them together, act and removal tell it, thread is where;
// mount and mountinfo come and go.
//
// It knows nothing of databases, clouds or HTTP.
package fusefs
