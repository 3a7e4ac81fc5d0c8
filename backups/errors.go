package backups

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrLocked is wrapped by FS.Lock and Store.Lock while another process holds the lock.
	ErrLocked = errors.New("another run holds the lock")
	// ErrUnlocked is what a Session and its transactions answer after Unlock.
	ErrUnlocked = errors.New("the lock is no longer held")
	// ErrDrifted is wrapped by every DriftError.
	ErrDrifted = errors.New("changed by someone else")
	// ErrNotEmpty is wrapped when a directory that a transaction made cannot be removed for what others put there.
	ErrNotEmpty = errors.New("directory is not empty")
	// ErrUnknown is wrapped when no transaction has the given id.
	ErrUnknown = errors.New("no such transaction")
	// ErrSettled is wrapped when a transaction has its outcome already.
	ErrSettled = errors.New("transaction is settled")
	// ErrDamaged is wrapped when a journal, a plan or a saved content is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrUnsafe is wrapped when the state directory is not ours alone.
	ErrUnsafe = errors.New("unsafe state directory")
)

// LockedError says who holds the lock. Holder is the zero value while that is not known yet.
type LockedError struct {
	Path   string
	Holder Holder
}

func (e *LockedError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("locking %s: %v", e.Path, ErrLocked)
	}
	return fmt.Sprintf("locking %s: %v: %v", e.Path, ErrLocked, e.Holder)
}

func (e *LockedError) Unwrap() error { return ErrLocked }

// DriftError is a target that holds neither what the transaction found nor what it wrote.
type DriftError struct {
	Target string // its id
	Path   string
	Wanted []State // the states that were acceptable
	Found  State
	Kind   string // what is there instead of a file or directory, e.g. "symbolic link"; else empty
}

func (e *DriftError) Error() string {
	wanted := make([]string, len(e.Wanted))
	for i, s := range e.Wanted {
		wanted[i] = recordOf(s).String()
	}
	found := e.Kind
	if found == "" {
		found = recordOf(e.Found).String()
	}
	return fmt.Sprintf("%s: %v: expected %s, found %s",
		printable(e.Path), ErrDrifted, strings.Join(wanted, " or "), found)
}

func (e *DriftError) Unwrap() error { return ErrDrifted }

// JournalError is a journal line that is not what was written.
type JournalError struct {
	File string
	Line int // from 1
	Err  error
}

func (e *JournalError) Error() string {
	return fmt.Sprintf("reading %s: line %d: %v", e.File, e.Line, e.Err)
}

func (e *JournalError) Unwrap() []error { return []error{ErrDamaged, e.Err} }
