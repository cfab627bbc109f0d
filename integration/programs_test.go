package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// movie makes two seconds of moving picture.
func movie(t testing.TB) []byte {
	t.Helper()
	need(t, "ffmpeg", "ffprobe")
	file := filepath.Join(t.TempDir(), "movie.mov")
	output(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=2", "-c:v", "mpeg4", file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// holding is a file of a package with that content.
func holding(data []byte, folder, name string) masvtest.File {
	return masvtest.File{Name: name, Path: folder, Size: int64(len(data)), Open: func() (io.ReaderAt, io.Closer, error) {
		return bytes.NewReader(data), io.NopCloser(nil), nil
	}}
}

// awaited adds a package whose bytes do not come before release is called, and
// returns the folder in the mount in which its files will appear.
func awaited(s *site, p masvtest.Package) (link masvtest.Link, folder string, release func()) {
	s.t.Helper()
	release = s.hold(0)
	link = s.cloud.AddPackage(p)
	s.add(link, "")
	folder = filepath.Join(s.mount, p.Name, "files")
	s.until("the folder of its files", func() bool { _, err := os.Stat(folder); return err == nil })
	return link, folder, release
}

// footage is a package of which nothing appears without bytes of the storage.
func footage() masvtest.Package {
	return masvtest.Package{Name: "Footage", Files: []masvtest.File{
		{Name: "A001.mov", Size: 3<<20 + 17},
		{Name: "B001.mov", Path: "Day 1", Size: 1 << 20},
	}}
}

func TestAnIngestScriptProbesMoviesAsTheyFinish(t *testing.T) {
	t.Parallel()
	need(t, "inotifywait")
	data := movie(t)
	s := watchedSite(t)
	const script = `inotifywait -m -r -e close_write --format '%w%f' "$1" | while read -r file; do
		case $file in *.mov)
			echo "$file: $(ffprobe -v error -show_entries stream=codec_name,width,height,nb_frames -of csv=p=0 "$file" </dev/null 2>&1)"
		esac
	done`
	ingest := s.tool(nil, nil, "sh", "-c", script, "sh", s.mount)
	ingest.until("watches", func() bool { return strings.Contains(ingest.err.String(), "Watches established") })
	var files []masvtest.File
	var want []string
	for i := range 12 {
		folder, name := fmt.Sprint("Day ", i%3, "/Cam A"), fmt.Sprintf("A%03d.mov", i)
		files = append(files, holding(data, folder, name))
		want = append(want, filepath.Join(s.mount, "Dailies/files", folder, name)+": mpeg4,320,240,50")
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Dailies", Files: files})
	s.waitFor(s.add(link, ""), "complete")
	ingest.untilPrinted(want...)
	lines := slices.Sorted(slices.Values(ingest.lines()))
	if slices.Sort(want); !slices.Equal(lines, want) {
		t.Errorf("printed %q", lines)
	}
}

func TestGIOIsToldOfFilesAndFolders(t *testing.T) {
	t.Parallel()
	need(t, "gio")
	s := watchedSite(t)
	root := s.tool(nil, nil, "gio", "monitor", "-d", s.mount)
	root.untilWatches(s.mount)
	_, folder, release := awaited(s, footage())
	top := filepath.Dir(folder)
	root.untilPrinted(s.mount + ": " + top + ": created")
	below := s.tool(nil, nil, "gio", "monitor", "-d", folder)
	below.untilWatches(folder)
	state := s.tool(nil, nil, "gio", "monitor", "-f", filepath.Join(top, "state"))
	state.untilWatches(top) // GIO watches a file by its folder
	release()
	below.untilPrinted(
		folder+": "+folder+"/A001.mov: created",
		folder+": "+folder+"/A001.mov: changes done",
		folder+": "+folder+"/Day 1: created",
	)
	state.untilPrinted(filepath.Join(top, "state") + ": " + filepath.Join(top, "state") + ": changed")
	s.call("DELETE", "/downloads/"+s.list()[0].ID, "", nil)
	below.untilPrinted(folder + ": " + folder + "/A001.mov: deleted")
	root.untilPrinted(s.mount + ": " + top + ": deleted")
}

// display is an X server without a screen that anybody sees.
type display struct {
	site *site
	name string // as in the environment
}

func (s *site) display() display {
	s.t.Helper()
	number, writer, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	defer number.Close()
	s.tool(nil, []*os.File{writer}, "Xvfb", "-displayfd", "3", "-screen", "0", "800x600x24", "-nolisten", "tcp")
	writer.Close()
	// It writes a line with its number when it is ready.
	line, err := bufio.NewReader(number).ReadString('\n')
	if err != nil {
		s.t.Fatalf("Xvfb does not start: %v", err)
	}
	return display{s, "DISPLAY=:" + strings.TrimSpace(line)}
}

// picture is what the screen shows; it is kept if MASVFS_TEST_SHOTS names a folder.
func (d display) picture(keep string) image.Image {
	t := d.site.t
	t.Helper()
	cmd := exec.Command("import", "-silent", "-window", "root", "png:-")
	cmd.Env = append(os.Environ(), d.name)
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("take a picture of the screen: %v", err)
	}
	if shots := os.Getenv("MASVFS_TEST_SHOTS"); shots != "" && keep != "" {
		if err := os.WriteFile(filepath.Join(shots, keep+".png"), data, 0o644); err != nil {
			t.Error(err)
		}
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// differs counts the points in which two pictures differ, in a part of the screen.
func differs(a, b image.Image, part image.Rectangle) (points int) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			if a.At(x, y) != b.At(x, y) {
				points++
			}
		}
	}
	return points
}

func TestAFileManagerShowsAFinishedFileWithoutAnyKeyPressed(t *testing.T) {
	t.Parallel()
	need(t, "Xvfb", "pcmanfm", "import")
	data := movie(t)
	s := watchedSite(t)
	_, folder, release := awaited(s, masvtest.Package{Name: "Dailies", Files: []masvtest.File{holding(data, "", "A001.mov")}})
	screen := s.display()
	empty := screen.picture("")
	home := t.TempDir()
	window := s.tool([]string{screen.name, "HOME=" + home, "XDG_RUNTIME_DIR=" + home}, nil, "pcmanfm", folder)
	window.untilWatches(folder)
	// The window is drawn when it shows the same several times; the icons are
	// drawn in the part that is neither its frame nor its status line.
	icons := image.Rect(160, 70, 620, 440)
	before, same := screen.picture(""), 0
	s.until("the window shows", func() bool {
		now := screen.picture("before")
		if same++; differs(now, before, now.Bounds()) > 0 || differs(now, empty, icons) == 0 {
			same = 0
		}
		before = now
		return same == 5
	})
	release()
	s.until("the window shows the file", func() bool { return differs(screen.picture("after"), before, icons) > 1000 })
}

func TestAShareTellsItsClientsOfFinishedFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "smbd needs root")
	}
	need(t, "smbd", "smbclient", "stdbuf")
	s := watchedSite(t)
	link, folder, release := awaited(s, footage())

	// smbd with folders and a port of its own.
	dir, port := t.TempDir(), freePort(t)
	config := filepath.Join(dir, "smb.conf")
	text := fmt.Sprintf(`[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
disable netbios = yes
smb ports = %[1]s
map to guest = Bad User
guest account = root
load printers = no
disable spoolss = yes
private dir = %[2]s
lock directory = %[2]s
state directory = %[2]s
cache directory = %[2]s
pid directory = %[2]s
ncalrpc dir = %[2]s/rpc
log file = %[2]s/log
[live]
path = %[3]s
guest ok = yes
read only = yes
`, port, dir, s.mount)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := s.tool(nil, nil, "smbd", "-F", "--no-process-group", "-s", config, "-l", dir)
	server.until("smbd answers", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	client := []string{"-oL", "smbclient", "//127.0.0.1/live", "-p", port, "-N", "-s", config, "-l", dir, "-c"}
	listener := s.tool(nil, nil, "stdbuf", append(client, `notify Footage\files`)...)
	server.untilWatches(folder)
	release()
	listener.until("the client is told", func() bool {
		return slices.Contains(listener.lines(), "0001 A001.mov") && slices.Contains(listener.lines(), "0001 Day 1")
	})
	// What is told of can be fetched, whole.
	s.waitFor(s.list()[0].ID, "complete")
	copied := filepath.Join(dir, "copy")
	fetch := s.tool(nil, nil, "stdbuf", append(client, fmt.Sprintf(`get Footage\files\A001.mov %s`, copied))...)
	<-fetch.exited
	sameContent(t, copied, s.cloud.File(link, 0))
}
