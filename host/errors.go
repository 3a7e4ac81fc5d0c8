package host

import (
	"errors"
	"fmt"
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
