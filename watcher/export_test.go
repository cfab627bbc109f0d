package watcher

import "time"

// SetGrace shortens how long Run waits for what does not answer.
func (w *Watcher) SetGrace(d time.Duration) { w.grace = d }
