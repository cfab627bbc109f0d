package masvtest

import (
	"fmt"
	"path"
	"time"
)

// Sample returns a package as a film crew sends it, of some 100 MiB in 40
// files of generated content: two shooting days with cameras and sound,
// stills, papers, an empty folder, a quarantined file, and the archive of it
// all that MASV offers beside the files. With WithRate, at 1 MiB/s and eight
// connections, its download takes 10 to 15 seconds.
func Sample() Package {
	p := Package{
		Name:           "Harbour Lights - Dailies",
		SenderEmail:    "dit@harbourlights.example",
		RecipientEmail: "post@cuttingroom.example",
		Branding:       map[string]any{},
	}
	day := [2]time.Time{
		time.Date(2026, time.September, 14, 6, 42, 10, 0, time.UTC),
		time.Date(2026, time.September, 15, 5, 58, 31, 0, time.UTC),
	}
	add := func(name string, kib int64, at time.Time) {
		folder, base := path.Split(name)
		p.Files = append(p.Files, File{
			Name: base, Path: path.Clean("/" + folder)[1:],
			Size:         kib<<10 + int64(len(p.Files))*37, // nobody's clips are of round size
			LastModified: at,
		})
	}
	clips := func(d int, camera string, sizes ...int64) {
		for i, mib := range sizes {
			at := day[d].Add(time.Duration(i)*23*time.Minute + time.Duration(len(camera))*time.Second)
			add(fmt.Sprintf("Day %d/Cam %s/%s%03d_C%03d_26091%d.mov", d+1, camera, camera, d+1, i+1, 4+d), mib<<10, at)
		}
	}
	clips(0, "A", 9, 4, 7, 3, 6)
	clips(0, "B", 5, 8, 4)
	clips(1, "A", 6, 11, 5, 3)
	clips(1, "B", 7, 4, 6)
	for d := range 2 {
		for take := range 5 {
			at := day[d].Add(time.Duration(take) * 31 * time.Minute)
			add(fmt.Sprintf("Day %d/Sound/HL_%d%02d.wav", d+1, d+1, take+1), 640+int64(take)*96, at)
		}
		add(fmt.Sprintf("Day %d/Sound/sound report.csv", d+1), 2, day[d].Add(10*time.Hour))
	}
	for i := range 9 {
		add(fmt.Sprintf("Stills/HL_still_%02d.jpg", i+1), 300+int64(i)*41, day[i/5].Add(time.Duration(i%5)*2*time.Hour))
	}
	add("Papers/Call sheet day 1.pdf", 180, day[0].Add(-14*time.Hour))
	add("Papers/Call sheet day 2.pdf", 176, day[1].Add(-13*time.Hour))
	add("Papers/Camera notes.txt", 6, day[1].Add(11*time.Hour))
	add("Papers/Shooting schedule.xlsm", 96, day[0].Add(-40*time.Hour))
	p.Files[len(p.Files)-1].VirusDetected = true
	p.Files = append(p.Files,
		File{Kind: "directory", Name: "Pickups", Path: "Day 2"},
		File{Kind: "zip_windows", Name: p.Name + ".zip", Size: p.sum(), LastModified: day[1].Add(12 * time.Hour)},
	)
	return p
}
