package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// TestAServiceNeedsOneCapability has the agent run as its unit for the system
// has it: an ordinary user with CAP_SYS_ADMIN and nothing else that it could
// get, not even by a program that is setuid.
func TestAServiceNeedsOneCapability(t *testing.T) {
	s := newSite(t, true, "--allow-other")
	s.asNobody()
	s.under = slices.Concat([]string{"setpriv", "--no-new-privs", "--bounding-set=-all,+sys_admin", "--ambient-caps=+sys_admin"},
		s.under[1:len(s.under)-1], []string{"--inh-caps=-all,+sys_admin"})
	link := s.cloud.AddPackage(masvtest.Package{Name: "Served", Files: []masvtest.File{{Name: "a.bin", Size: 8 << 20}}})
	s.start()
	d := s.waitFor(s.add(link, ""), "complete")
	sameContent(t, filepath.Join(d.Path, "a.bin"), s.cloud.File(link, 0))
	sameContent(t, filepath.Join(s.mount, "Served", "files", "a.bin"), s.cloud.File(link, 0))
	s.signal(syscall.SIGTERM)
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("it could not do something:\n%s", s.log)
	}
}
