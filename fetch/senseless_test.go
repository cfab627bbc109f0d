package fetch

import (
	"path/filepath"
	"strings"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestAnAnswerAboutAFileThatMakesNoSenseIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Garbled", Files: small("a", "b")})
	w.cloud.Fault(masvtest.Times(3, masvtest.On(masvtest.CallFileURL, masvtest.JSON(`{"url": 7}`))))
	w.check(filepath.Join(w.reach(w.add(w.request(link)).ID, Complete).Path, "b"), w.cloud.File(link, 1))
}

func TestAnswersAboutAFileThatNeverMakeSenseAreSaidToBe(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Garbled", Files: small("a", "b")})
	w.cloud.Fault(masvtest.On(masvtest.CallFileURL, masvtest.JSON(`{"url": 7}`)))
	id := w.add(w.request(link)).ID
	d := w.reach(id, Failed)
	if d.Problem.Code != CodeFilesFailed || !strings.Contains(d.Problem.Message, "makes no sense") {
		t.Errorf("problem: %+v", d.Problem)
	}
	w.cloud.Fault(nil)
	if _, err := w.agent.Resume(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	w.check(filepath.Join(w.reach(id, Complete).Path, "a"), w.cloud.File(link, 0))
}
