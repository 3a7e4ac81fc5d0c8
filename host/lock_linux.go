package host

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// maxHolder is how much of a lock file is read to tell who holds it.
const maxHolder = 64 << 10

// Lock takes an exclusive lock on the file at path, which it makes if needed, and writes content into it. The lock ends
// with unlock or with the process, whichever comes first; the file stays. When another process holds the lock, the
// error wraps backups.ErrLocked and holder is what that process wrote. nil leaves in the file what is there.
func (r *Root) Lock(path string, content []byte) (unlock func() error, holder []byte, err error) {
	f, err := r.lockFile(path)
	if err != nil {
		return nil, nil, failed("locking", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		// What cannot be read is no reason to hide that the lock is taken.
		holder, _ = io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
		return nil, holder, fmt.Errorf("locking %q: %w", path, backups.ErrLocked)
	}
	if err != nil {
		return nil, nil, failed("locking", path, err)
	}
	if content == nil {
		return func() error { return failed("unlocking", path, errno(f.Close())) }, nil, nil
	}
	if err := rewrite(f, content); err != nil {
		return nil, nil, failed("writing into the lock", path, errno(err))
	}
	unlock = func() error {
		return failed("unlocking", path, errno(errors.Join(rewrite(f, nil), f.Close())))
	}
	return unlock, nil, nil
}

// lockFile opens or makes the file. Losing the race to make it is no failure: whoever won made the same file.
func (r *Root) lockFile(path string) (*os.File, error) {
	f, err := r.target(path, unix.O_RDWR, unix.S_IFREG)
	if !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	made, err := r.Create(path, 0o600)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	if err == nil {
		if err := made.Close(); err != nil {
			return nil, err
		}
	}
	return r.target(path, unix.O_RDWR, unix.S_IFREG)
}

func rewrite(f *os.File, content []byte) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	return f.Sync()
}
