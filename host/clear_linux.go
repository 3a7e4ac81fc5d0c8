package host

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Clear removes a file of ours, whose name begins with .kubectl-harden-, or an empty directory, where others than root may
// change the way to it: logs lie in such places. It follows no link, and what others could bring into its way is at worst
// another file of that name or another empty directory. What is missing, and a directory that is not empty, is no error.
func (r *Root) Clear(p string) error {
	if err := checkPath(p); err != nil {
		return failed("removing", p, err)
	}
	dir, base := path.Split(p)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(r.dir.Fd()), path.Clean("."+dir), &how)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return failed("removing", p, err)
	}
	defer unix.Close(fd)
	st, err := statAt(fd, base)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return failed("removing", p, err)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = unix.Unlinkat(fd, base, unix.AT_REMOVEDIR)
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
			return nil
		}
	case st.Mode&unix.S_IFMT == unix.S_IFREG && st.Uid == uint32(r.euid) && strings.HasPrefix(base, ".kubectl-harden-"):
		err = unix.Unlinkat(fd, base, 0)
	default:
		return &UnsafeError{Path: p, Why: "it is not what a rehearsal has made"}
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return failed("removing", p, err)
}
