package masvtest

import (
	"net/http"
	"time"
)

// Flaky gives a call one of the faults that a client has to survive, with that
// probability (0 to 1). The choice is a function of the seed, the package's
// place on the server, the file's place in the package, the kind of call and
// how many there were: whatever the order of goroutines, the third request for
// a file meets the same fault in every run with the same packages. The faults
// are those that a client can notice and that pass: no content is wrong in silence.
func Flaky(seed uint64, probability float64) FaultFunc {
	return func(r Request) *Fault {
		h := mix(seed + golden)
		for _, part := range []int{int(r.Call), r.serial, r.Index, r.N} {
			h = mix(h + uint64(part)*golden)
		}
		if float64(h>>11)/(1<<53) >= probability {
			return nil
		}
		h = mix(h)
		switch r.Call {
		case CallStorage:
			return flakyStorage(h, r.Length)
		case CallOther:
			return nil
		}
		return flakyAPI(h)
	}
}

// choose uses up some of h's randomness: a number below n.
func choose(h *uint64, n int64) int64 {
	v := int64(*h>>1) % max(n, 1)
	*h = mix(*h + golden)
	return v
}

func flakyAPI(h uint64) *Fault {
	switch choose(&h, 8) {
	case 0:
		return Status(http.StatusInternalServerError)
	case 1:
		return Status(http.StatusServiceUnavailable)
	case 2:
		return Status(http.StatusTooManyRequests)
	case 3:
		return HTML(http.StatusBadGateway)
	case 4:
		return Reset()
	case 5:
		return Cut(1 + choose(&h, 30))
	case 6:
		return Truncate(choose(&h, 30))
	default:
		return Delay(time.Duration(choose(&h, 30)) * time.Millisecond)
	}
}

func flakyStorage(h uint64, length int64) *Fault {
	switch within := choose(&h, length); choose(&h, 14) {
	case 0:
		return Status(http.StatusInternalServerError)
	case 1:
		return Status(http.StatusServiceUnavailable)
	case 2:
		return Status(http.StatusTooManyRequests)
	case 3:
		return Status(http.StatusForbidden)
	case 4:
		return Reset()
	case 5:
		return ResetAfter(within)
	case 6, 7:
		return Truncate(within)
	case 8:
		return &Fault{Ending: EndStall, After: within, StallFor: time.Duration(choose(&h, 50)) * time.Millisecond}
	case 9:
		return Whole()
	case 10:
		return WrongRange(1 + choose(&h, 1<<16))
	case 11:
		return WrongLength(-1 - within/2)
	case 12:
		return Gzip()
	default:
		return Delay(time.Duration(choose(&h, 30)) * time.Millisecond)
	}
}
