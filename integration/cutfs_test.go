package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"masvfs/integration/cutfs"
)

// cutfsVariable makes this test program the process of a file system that is
// mounted on the folder it names.
const cutfsVariable = "MASVFS_TEST_CUTFS"

// startDisk starts a file system whose power can be cut, mounted on a folder
// that is made.
func startDisk(t testing.TB, folder string) *cutfs.Remote {
	t.Helper()
	needFUSE(t)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), cutfsVariable+"="+folder)
	return cutfs.Start(t, cmd, folder)
}

// cutSite is a site whose downloads, database and inbox are on such a file system.
func cutSite(t testing.TB, withMount bool, extra ...string) (*site, *cutfs.Remote) {
	t.Helper()
	s := newSite(t, withMount, extra...)
	folder := filepath.Join(filepath.Dir(s.downloads), "disk")
	disk := startDisk(t, folder)
	t.Cleanup(s.clear) // before the file system goes
	s.moveTo(folder)
	return s, disk
}
