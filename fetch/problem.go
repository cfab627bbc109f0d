package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"masvfs/fetch/dest"
	"masvfs/fetch/masv"
)

// stopError ends the run of a download with a problem of a known kind.
type stopError struct {
	problem Problem
	err     error // the cause, for the log; may be nil
}

func (e *stopError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s: %v", e.problem.Code, e.err)
	}
	return string(e.problem.Code)
}

func (e *stopError) Unwrap() error { return e.err }

func stop(code Code, recoverable bool, cause error, format string, args ...any) *stopError {
	return &stopError{Problem{Code: code, Message: fmt.Sprintf(format, args...), Recoverable: recoverable}, cause}
}

// linkProblem says what is wrong with a link that the cloud has refused.
func linkProblem(err error, passwordGiven bool, expires time.Time) error {
	said := quoted(err)
	switch {
	case errors.Is(err, masv.ErrSignIn):
		return stop(CodeSignInRequired, true, err, "This link asks its recipient to be signed in to MASV, which is not possible here; ask the sender for a link without that, then resume%s.", said)
	case errors.Is(err, masv.ErrDenied) && !passwordGiven && (said == "" || strings.Contains(strings.ToLower(said), "password")):
		return stop(CodePasswordRequired, true, err, "MASV refuses this link without a password; resume with the password that the sender gave you%s.", said)
	case errors.Is(err, masv.ErrDenied):
		return stop(CodeAccessDenied, true, err, "MASV refuses this link%s: its password or secret may be wrong, or its access limit reached; resume with the right password, or ask the sender for a new link.", said)
	case errors.Is(err, masv.ErrNotFound) && !expires.IsZero() && expires.Before(time.Now()):
		return stop(CodeLinkExpired, false, err, "This link expired on %s; ask the sender for a new one.", expires.UTC().Format(time.RFC1123))
	case errors.Is(err, masv.ErrNotFound):
		return stop(CodeLinkNotFound, false, err, "MASV does not know this link: it has expired, was disabled by its sender, or is mistyped; ask the sender for a new one%s.", said)
	default:
		return stop(CodeLinkInvalid, true, err, "MASV's answer about this link makes no sense (%v); resume to ask again.", err)
	}
}

// quoted returns what the server said of err, as an insertion for the end of a sentence.
func quoted(err error) string {
	var e *masv.Error
	if errors.As(err, &e) && e.Message != "" {
		return fmt.Sprintf(" (MASV says: %s)", e.Message)
	}
	return ""
}

// noSpace says how much room is needed and how much there is.
func noSpace(folder string, need, free, reserve int64) error {
	return stop(CodeNoSpace, true, syscall.ENOSPC, "%s has %s free, less a reserve of %s, and %s more are needed; make room, and the download goes on by itself.",
		folder, humanize.IBytes(uint64(max(0, free))), humanize.IBytes(uint64(max(0, reserve))), humanize.IBytes(uint64(max(0, need))))
}

// lacksSpace reports whether err is what noSpace says.
func lacksSpace(err error) bool {
	var s *stopError
	return errors.As(err, &s) && s.problem.Code == CodeNoSpace
}

// problemOf says to people why a run ended with err. It returns nil when the
// run was merely stopped.
func problemOf(err error, dst string) *Problem {
	var s *stopError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &s):
		p := s.problem
		return &p
	case errors.Is(err, ErrHangs):
		return &Problem{Code: CodeDestination, Recoverable: true, Message: fmt.Sprintf("The disk that holds %s does not answer; the download goes on by itself when it does.", dst)}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &Problem{Code: CodeInternal, Recoverable: true, Message: fmt.Sprintf("More files may not be open at once here (%v); raise the limit (ulimit -n, or LimitNOFILE= of the service), and the download goes on by itself.", cause(err))}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Problem{Code: CodeNoSpace, Recoverable: true, Message: fmt.Sprintf("There is no room left in %s; make room, and the download goes on by itself.", dst)}
	case errors.Is(err, syscall.EFBIG):
		return &Problem{Code: CodeDestination, Message: fmt.Sprintf("A file of this package is larger than the file system of %s can hold; delete the download, and add it again for another disk.", dst)}
	case errors.Is(err, dest.ErrMissing), errors.Is(err, fs.ErrNotExist):
		return &Problem{Code: CodeDestination, Recoverable: true, Message: fmt.Sprintf("The download's folder in %s is gone or was replaced; put it back (or connect the disk) and resume, or delete the download.", dst)}
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return &Problem{Code: CodeDestination, Recoverable: true, Message: fmt.Sprintf("%s cannot be written to (%v); mend that and resume.", dst, cause(err))}
	case errors.As(err, new(*dest.NotAllowedError)):
		return &Problem{Code: CodeDestination, Recoverable: true, Message: err.Error()}
	case errors.As(err, new(syscall.Errno)):
		return &Problem{Code: CodeDestination, Recoverable: true, Message: fmt.Sprintf("The disk that holds %s does not work (%v); mend that and resume.", dst, cause(err))}
	default:
		return &Problem{Code: CodeInternal, Recoverable: true, Message: fmt.Sprintf("The download cannot go on (%v); resume to try again.", err)}
	}
}

// printable makes a text that holds a sender's words safe to show: it could
// hold what a terminal obeys.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// cause returns the system's own word for an error, without the path that the sentence around it names.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// mends reports whether time alone may mend a problem, so that it is tried again.
func (p *Problem) mends() bool {
	return p.Recoverable && (p.Code == CodeNoSpace || p.Code == CodeDestination || p.Code == CodeInternal)
}
