package watcher

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
)

func TestAnExhaustedLimitIsReportedOnceWithItsRemedy(t *testing.T) {
	tests := []struct {
		err  error
		says string
	}{
		{syscall.ENOSPC, "sysctl fs.inotify.max_user_watches="},
		{fmt.Errorf("couldn't initialize inotify: %w", syscall.EMFILE), "sysctl fs.inotify.max_user_instances="},
		{errors.New("not here"), "rescan=5s"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			var log bytes.Buffer
			w := New(Config{Folder: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err := w.attach(); err != nil {
				t.Fatal(err)
			}
			defer w.close()
			if err := w.notify.Remove(w.folder); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				w.tellWatching(tt.err)
			}
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, tt.says) {
				t.Errorf("logged %q, want one line with %q", got, tt.says)
			}
			w.tellWatching(nil)
			if !strings.Contains(log.String(), "watched again") {
				t.Error("the end of the trouble was not logged")
			}
		})
	}
}
