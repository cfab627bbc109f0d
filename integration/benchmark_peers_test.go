package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// A peer is a program with the arguments that suit a trial best.
type peer struct {
	program string
	name    string // with what is special about the arguments
	args    func(e errand) []string
}

// An errand is what a peer has to do.
type errand struct {
	base    string // URL of the folder of all packages
	parcels []parcel
	into    string
	ca      string // file
	scratch string // a folder of its own, for lists
}

var (
	curlOne = peer{"curl", "curl", func(e errand) []string {
		return []string{"-q", "-sS", "--fail", "--cacert", e.ca, "--create-dirs", "-o", e.file(), e.url()}
	}}
	curlMany = peer{"curl", "curl --parallel-max 16", func(e errand) []string {
		return []string{"-q", "-sS", "--fail", "--cacert", e.ca, "--create-dirs", "--parallel", "--parallel-max", "16", "-K", e.list(curlLine)}
	}}
	curlInTurn = peer{"curl", "curl, one after the other", func(e errand) []string {
		return []string{"-q", "-sS", "--fail", "--cacert", e.ca, "--create-dirs", "-K", e.list(curlLine)}
	}}
	aria2One = peer{"aria2c", "aria2c -x16", func(e errand) []string {
		return []string{"--no-conf", "-q", "--ca-certificate=" + e.ca, "-x16", "-s16", "-k1M", "--file-allocation=falloc",
			"-d", filepath.Dir(e.file()), "-o", filepath.Base(e.file()), e.url()}
	}}
	aria2Many = peer{"aria2c", "aria2c -j16", func(e errand) []string {
		return []string{"--no-conf", "-q", "--ca-certificate=" + e.ca, "-j16", "--file-allocation=none", "-d", e.into, "-i", e.list(aria2Line)}
	}}
	rcloneOne  = rcloneWith("rclone copy")
	rclone16   = rcloneWith("rclone copy, 16 streams", "--multi-thread-streams", "16", "--multi-thread-cutoff", "1M")
	rcloneMany = rcloneWith("rclone copy --transfers 16", "--transfers", "16", "--checkers", "16")
	// Without asking for sizes and times first.
	rcloneNoHead = rcloneWith("rclone copy --transfers 16 --http-no-head", "--transfers", "16", "--checkers", "16", "--http-no-head")
	wgetAll      = peer{"wget", "wget", func(e errand) []string {
		return []string{"--no-config", "-q", "--ca-certificate=" + e.ca, "-x", "-nH", "-P", e.into, "-i", e.list(plainLine)}
	}}
)

func rcloneWith(name string, args ...string) peer {
	return peer{"rclone", name, func(e errand) []string {
		all := append([]string{"copy", "--config", "", "--ca-cert", e.ca, "--http-url", e.base}, args...)
		if strings.Contains(name, "16 streams") && rcloneHasChunks() {
			all = append(all, "--multi-thread-chunk-size", fmt.Sprint(max(bytesOf(e.parcels)/16, miB)))
		}
		return append(all, ":http:", e.into)
	}}
}

// rcloneHasChunks reports whether the size of a stream's pieces can be chosen,
// as it can from version 1.64 on.
var rcloneHasChunks = sync.OnceValue(func() bool {
	out, err := exec.Command("rclone", "help", "flags").Output()
	return err == nil && bytes.Contains(out, []byte("--multi-thread-chunk-size"))
})

// url and file are those of the only file.
func (e errand) url() string  { return e.base + e.parcels[0].path(0) }
func (e errand) file() string { return filepath.Join(e.into, e.parcels[0].path(0)) }

func curlLine(url, path string) string  { return fmt.Sprintf("url = %q\noutput = %q\n", url, path) }
func plainLine(url, path string) string { return url + "\n" }

// aria2Line names the file as aria2c has it, below its folder.
func aria2Line(url, path string) string { return url + "\n  out=" + path + "\n" }

// list writes a file with a line for each file of the errand.
func (e errand) list(line func(url, path string) string) string {
	var text bytes.Buffer
	for _, p := range e.parcels {
		for i := range p.count() {
			text.WriteString(line(e.base+p.path(i), p.path(i)))
		}
	}
	name := filepath.Join(e.scratch, "list")
	if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil {
		panic(err) // the folder was just made
	}
	return name
}

var numbered = regexp.MustCompile(`^.*?\d+\.\d+\S*`)

// version asks a program for its version: the first line of what it says, as
// far as the number.
func version(program string) string {
	args := []string{"--version"}
	if filepath.Base(program) == "nginx" {
		args = []string{"-v"}
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil || line == "" {
		return filepath.Base(program) + " of unknown version"
	}
	if v := numbered.FindString(line); v != "" {
		line = v
	}
	return strings.TrimPrefix(line, "nginx version: ")
}
