package host

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrOffline is returned for questions about the running machine when the root is not its own.
var ErrOffline = errors.New("this root is not the running machine's")

// UnsafeError says why a path is not read or written.
type UnsafeError struct {
	Path string // as the caller gave it
	Why  string // a sentence without a full stop
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("refusing %q: %s", e.Path, e.Why)
}

// errno reduces an error to the system's own: the texts around it repeat paths unquoted.
func errno(err error) error {
	if err == nil {
		return nil
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	if errors.Is(err, fs.ErrClosed) {
		return fs.ErrClosed
	}
	return errors.New("the path cannot be resolved inside the root")
}
