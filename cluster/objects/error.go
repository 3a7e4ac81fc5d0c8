package objects

import (
	"strconv"
	"strings"
	"unicode"
)

// Reason says in what way a request to the API failed.
type Reason string

const (
	Unreachable  Reason = "unreachable"  // no connection, or nobody behind it who answers for the API
	TimedOut     Reason = "timed out"    // connected or not, no answer in time
	Certificate  Reason = "certificate"  // one side does not trust the other one's certificate
	Unauthorized Reason = "unauthorized" // the credentials are not known
	Forbidden    Reason = "forbidden"    // the credentials are known and not enough
	NotFound     Reason = "not found"
	Exists       Reason = "exists"      // it was to be made, and is there already
	Changed      Reason = "changed"     // it is not, or no longer, the object that the request was for
	Contested    Reason = "contested"   // another field manager holds a value that was to be set
	Refused      Reason = "refused"     // the server does not take the object
	Elsewhere    Reason = "elsewhere"   // another cluster, or another node
	Credentials  Reason = "credentials" // the kubeconfig cannot be used
	Failed       Reason = "failed"      // anything else
)

// Error is a failed request: one line that says what was done, to whom, and why it failed. It never holds credentials, and
// bytes that could act on a terminal are escaped.
type Error struct {
	Doing   string // "listing pods"
	Subject string // the server's address, an object, a file
	Reason  Reason
	Cause   error
}

func (e *Error) Error() string {
	return OneLine(e.Doing + ": " + e.Subject + ": " + e.Cause.Error())
}

func (e *Error) Unwrap() error { return e.Cause }

// Unreachable says that the API could not be asked, so that asking later may help.
func (e *Error) Unreachable() bool { return e.Reason == Unreachable || e.Reason == TimedOut }

// Conflict says that the object is not what the request was made for.
func (e *Error) Conflict() bool {
	return e.Reason == Exists || e.Reason == Changed || e.Reason == Contested
}

// Answered says that the API has answered, and did not do what was asked.
func (e *Error) Answered() bool {
	switch e.Reason {
	case Unauthorized, Forbidden, NotFound, Exists, Changed, Contested, Refused:
		return true
	}
	return false
}

// NotFound says that there is no such object.
func (e *Error) NotFound() bool { return e.Reason == NotFound }

// OtherCluster says that the API is not that of the node (promise 15).
func (e *Error) OtherCluster() bool { return e.Reason == Elsewhere }

// maxError keeps a hostile or chatty server from filling the screen.
const maxError = 700

// OneLine folds white space and escapes what a terminal would not print.
func OneLine(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ") {
		if b.Len() > maxError {
			b.WriteString("...")
			break
		}
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}
