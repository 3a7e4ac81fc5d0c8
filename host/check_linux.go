package host

import (
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// CheckReplace says, without writing, what would refuse to make, replace or remove path: an [UnsafeError] as of
// [Root.Create], or the system's own error. Parents may be missing; they would be made then.
func (r *Root) CheckReplace(p string) error {
	t, base, err := r.entry(p)
	if errors.Is(err, fs.ErrNotExist) {
		return r.CheckReplace(path.Dir(p))
	}
	if err != nil {
		return failed("checking", p, err)
	}
	defer t.close()
	if _, err := t.check(base, unix.S_IFREG, unix.S_IFDIR); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("checking", p, err)
	}
	return failed("writing in the directory of", p, unix.Faccessat(t.top().fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS))
}

// CheckAttributes says, without writing, what would refuse to change the mode, owner or extended attributes of path, as
// [Root.CheckReplace] does for its content. Whether we are the owner is not asked.
func (r *Root) CheckAttributes(p string) error {
	t, base, err := r.walk(p, true, false)
	if err != nil {
		return failed("checking", p, err)
	}
	defer t.close()
	if _, err := t.check(base, unix.S_IFREG, unix.S_IFDIR); err != nil {
		return failed("checking", p, err)
	}
	// Whoever owns a file may change its mode without a right to write it: what counts is the file system.
	readOnly, err := r.ReadOnlyFS(p)
	if err == nil && readOnly {
		err = unix.EROFS
	}
	return failed("changing", p, err)
}
