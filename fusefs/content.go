package fusefs

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"masvfs/fetch"
)

// progressSize is the length of progress in bytes: constant, so that a reader
// whose stat and read lie apart is not cut short. The longest object that can
// be is some 400 bytes.
const progressSize = 512

// progress is the JSON object in the file of that name.
type progress struct {
	DownloadID     string      `json:"download_id"`
	State          fetch.State `json:"state"`
	BytesDone      int64       `json:"bytes_done"`
	BytesTotal     int64       `json:"bytes_total"`
	FilesDone      int64       `json:"files_done"`
	FilesTotal     int64       `json:"files_total"`
	Percent        json.Number `json:"percent"`
	BytesPerSecond int64       `json:"bytes_per_second"`
	ETASeconds     *int64      `json:"eta_seconds"`
	UpdatedAt      string      `json:"updated_at"`
}

// content is what a status file of d says.
func content(p part, d fetch.Download) []byte {
	switch p {
	case statePart:
		return []byte(string(d.State) + "\n")
	case errorPart:
		return []byte(sentence(d.Problem) + "\n")
	}
	return progressOf(d)
}

// sentence is what is wrong, on one line.
func sentence(p *fetch.Problem) string {
	if p == nil {
		return "The download failed."
	}
	return strings.Join(strings.Fields(p.Message), " ")
}

func progressOf(d fetch.Download) []byte {
	p := progress{
		DownloadID:     d.ID,
		State:          d.State,
		BytesDone:      d.BytesDone,
		BytesTotal:     d.BytesTotal,
		FilesDone:      d.FilesDone,
		FilesTotal:     d.FilesTotal,
		Percent:        json.Number(percent(d)),
		BytesPerSecond: d.BytesPerSecond,
		UpdatedAt:      d.UpdatedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	if d.ETA >= 0 {
		s := int64((d.ETA + time.Second - 1) / time.Second)
		p.ETASeconds = &s
	}
	// Numbers and short texts of our own: encoding them cannot fail.
	text, _ := json.Marshal(p)
	n := max(progressSize, len(text)+1)
	padded := make([]byte, 0, n)
	padded = append(padded, text...)
	for len(padded) < n-1 {
		padded = append(padded, ' ')
	}
	return append(padded, '\n')
}

// percent is how much is done, with one decimal, rounded down: 100 means complete.
func percent(d fetch.Download) string {
	if d.State == fetch.Complete {
		return "100.0"
	}
	if d.BytesTotal <= 0 || d.BytesDone <= 0 {
		return "0.0"
	}
	tenths := math.Floor(float64(d.BytesDone) / float64(d.BytesTotal) * 1000)
	return strconv.FormatFloat(min(tenths, 999)/10, 'f', 1, 64)
}
