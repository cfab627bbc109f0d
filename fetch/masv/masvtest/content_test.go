package masvtest_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestContentIsTheSameHoweverItIsCut(t *testing.T) {
	const size = 300
	whole := []byte(content(7, 0, size))
	for from := range int64(40) {
		for to := from; to <= size; to += 7 {
			if got := content(7, from, to-from); got != string(whole[from:to]) {
				t.Fatalf("bytes %d to %d differ from the whole", from, to)
			}
		}
	}
}

func TestContentOfAnotherPlaceOrSeedIsNoticed(t *testing.T) {
	const block = 4096
	seen := map[string]string{}
	for _, seed := range []uint64{0, 1, 2, 1 << 63} {
		for _, offset := range []int64{0, 1, 7, 8, block, 1 << 20, 1 << 40} {
			got := content(seed, offset, block)
			if first, twice := seen[got]; twice {
				t.Errorf("seed %d, offset %d: same content as %s", seed, offset, first)
			}
			seen[got] = fmt.Sprintf("seed %d, offset %d", seed, offset)
			if n := len(set(got)); n < 250 {
				t.Errorf("seed %d, offset %d: only %d byte values", seed, offset, n)
			}
		}
	}
}

func set(text string) map[byte]bool {
	values := map[byte]bool{}
	for i := range len(text) {
		values[text[i]] = true
	}
	return values
}

func TestReaderEndsAtTheSize(t *testing.T) {
	got, err := io.ReadAll(masvtest.Reader(3, 1001))
	if err != nil || !bytes.Equal(got, []byte(content(3, 0, 1001))) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func BenchmarkContent(b *testing.B) {
	p := make([]byte, 256<<10)
	b.SetBytes(int64(len(p)))
	for i := range b.N {
		masvtest.Content(1, int64(i)*int64(len(p)), p)
	}
}
