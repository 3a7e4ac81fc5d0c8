package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Create makes a new regular file with exactly mode.
//
// It and every other method that changes something refuses, with an [UnsafeError], a path on whose way a directory or
// link belongs to somebody other than root (or the user we run as), or a directory that others can write to, unless it
// is root's and sticky; and a target that is a link, no regular file (or directory, where that makes sense), immutable
// or append-only, known by a second name (hard link), or a file mounted in its place.
func (r *Root) Create(path string, mode uint32) (backups.File, error) {
	t, base, err := r.entry(path)
	if err != nil {
		return nil, failed("creating", path, err)
	}
	defer t.close()
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(t.top().fd, base, flags, mode&0o600)
	if err != nil {
		return nil, failed("creating", path, err)
	}
	// The umask held back bits until now, and it must not decide.
	if err := unix.Fchmod(fd, mode&0o7777); err != nil {
		unix.Close(fd)
		return nil, failed("creating", path, err)
	}
	return writer{os.NewFile(uintptr(fd), base), path}, nil
}

// Append opens an existing regular file for appending.
func (r *Root) Append(path string) (backups.File, error) {
	f, err := r.target(path, unix.O_WRONLY|unix.O_APPEND, unix.S_IFREG)
	if err != nil {
		return nil, failed("opening", path, err)
	}
	return writer{f, path}, nil
}

// Truncate cuts an existing regular file to size bytes.
func (r *Root) Truncate(path string, size int64) error {
	return r.change("truncating", path, unix.O_WRONLY, func(fd int) error {
		return unix.Ftruncate(fd, size)
	}, unix.S_IFREG)
}

// Mkdir makes a directory with exactly mode.
func (r *Root) Mkdir(path string, mode uint32) error {
	t, base, err := r.entry(path)
	if err != nil {
		return failed("making directory", path, err)
	}
	defer t.close()
	if err := unix.Mkdirat(t.top().fd, base, mode&0o700); err != nil {
		return failed("making directory", path, err)
	}
	return failed("making directory", path, unix.Fchmodat(t.top().fd, base, mode&0o7777, 0))
}

// Chmod sets the mode of a regular file or directory.
func (r *Root) Chmod(path string, mode uint32) error {
	return r.change("changing the mode of", path, unix.O_RDONLY, func(fd int) error {
		return unix.Fchmod(fd, mode&0o7777)
	}, unix.S_IFREG, unix.S_IFDIR)
}

// Chown sets the owner of a regular file or directory. The system may clear setuid and setgid bits.
func (r *Root) Chown(path string, uid, gid int) error {
	return r.change("changing the owner of", path, unix.O_RDONLY, func(fd int) error {
		return unix.Fchown(fd, uid, gid)
	}, unix.S_IFREG, unix.S_IFDIR)
}

// SetXAttr sets an extended attribute of a regular file or directory.
func (r *Root) SetXAttr(path, name string, value []byte) error {
	return r.change("setting an extended attribute of", path, unix.O_RDONLY, func(fd int) error {
		return unix.Fsetxattr(fd, name, value, 0)
	}, unix.S_IFREG, unix.S_IFDIR)
}

// RemoveXAttr removes an extended attribute of a regular file or directory.
func (r *Root) RemoveXAttr(path, name string) error {
	return r.change("removing an extended attribute of", path, unix.O_RDONLY, func(fd int) error {
		return unix.Fremovexattr(fd, name)
	}, unix.S_IFREG, unix.S_IFDIR)
}

// Rename replaces newpath by oldpath atomically. Both lie on one file system.
func (r *Root) Rename(oldpath, newpath string) error {
	from, oldbase, err := r.entry(oldpath)
	if err != nil {
		return failed("renaming", oldpath, err)
	}
	defer from.close()
	if _, err := from.check(oldbase, unix.S_IFREG, unix.S_IFDIR); err != nil {
		return failed("renaming", oldpath, err)
	}
	to, newbase, err := r.entry(newpath)
	if err != nil {
		return failed("replacing", newpath, err)
	}
	defer to.close()
	if _, err := to.check(newbase, unix.S_IFREG, unix.S_IFDIR); err != nil && err != unix.ENOENT {
		return failed("replacing", newpath, err)
	}
	return failed("replacing", newpath, unix.Renameat(from.top().fd, oldbase, to.top().fd, newbase))
}

// Remove removes a regular file or an empty directory.
func (r *Root) Remove(path string) error {
	t, base, err := r.entry(path)
	if err != nil {
		return failed("removing", path, err)
	}
	defer t.close()
	st, err := t.check(base, unix.S_IFREG, unix.S_IFDIR)
	if err != nil {
		return failed("removing", path, err)
	}
	flags := 0
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR
	}
	return failed("removing", path, unix.Unlinkat(t.top().fd, base, flags))
}

// SyncDir makes the entries of a directory durable.
func (r *Root) SyncDir(path string) error {
	dir, _, err := r.open(path, unix.S_IFDIR)
	if err != nil {
		return failed("syncing", path, err)
	}
	defer unix.Close(dir)
	return failed("syncing", path, unix.Fsync(dir))
}

// writer is a file whose errors name the path inside the root.
type writer struct {
	f    *os.File
	path string
}

func (w writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, failed("writing", w.path, errno(err))
}

func (w writer) Sync() error  { return failed("syncing", w.path, errno(w.f.Sync())) }
func (w writer) Close() error { return failed("closing", w.path, errno(w.f.Close())) }

// change runs fn on the existing target of a write.
func (r *Root) change(doing, path string, flags int, fn func(fd int) error, kinds ...uint16) error {
	f, err := r.target(path, flags, kinds...)
	if err != nil {
		return failed(doing, path, err)
	}
	err = fn(int(f.Fd()))
	if closed := errno(f.Close()); err == nil {
		err = closed
	}
	return failed(doing, path, err)
}

// entry resolves a path whose entry in its directory is about to change.
func (r *Root) entry(path string) (*trail, string, error) {
	t, base, err := r.walk(path, true, false)
	if err != nil {
		return nil, "", err
	}
	if base == "." {
		err = t.unsafe("it is the root itself")
	} else {
		err = t.checkFlags(fmt.Sprintf("the directory %q", t.place("")), t.top().fd, ".", t.top().stat)
	}
	if err != nil {
		t.close()
		return nil, "", err
	}
	return t, base, nil
}

// target opens the existing target of a write after checking the way to it and what it is.
func (r *Root) target(path string, flags int, kinds ...uint16) (*os.File, error) {
	t, base, err := r.walk(path, true, false)
	if err != nil {
		return nil, err
	}
	defer t.close()
	checked, err := t.check(base, kinds...)
	if err != nil {
		return nil, err
	}
	fd, opened, err := openAt(path, t.top().fd, base, flags, kinds...)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if opened.Ino != checked.Ino || opened.Dev_major != checked.Dev_major || opened.Dev_minor != checked.Dev_minor {
		f.Close()
		return nil, t.unsafe("another file took its place at this moment")
	}
	return f, nil
}

// check refuses an existing entry of the directory reached that must not be written to.
func (t *trail) check(base string, kinds ...uint16) (unix.Statx_t, error) {
	st, err := statAt(t.top().fd, base)
	if err != nil {
		return st, err
	}
	if err := checkKind(t.asked, st, kinds); err != nil {
		return st, err
	}
	if dir := t.top().stat; dir.Mode&0o022 != 0 && !t.root.trusted(st.Uid) {
		return st, t.unsafe("it belongs to uid %d and lies in the directory %q, where anybody can put files", st.Uid, t.place(""))
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		if st.Nlink > 1 {
			return st, t.unsafe("it has %d names (hard links), and a change would part or reach the others", st.Nlink)
		}
		mounted, err := t.isMount(base, st)
		if err != nil {
			return st, err
		}
		if mounted {
			return st, t.unsafe("another file is mounted in its place")
		}
	}
	return st, t.checkFlags("it", t.top().fd, base, st)
}

// isMount reports whether base is the top of a mount of its own. Kernels before 5.8 tell only in proc.
func (t *trail) isMount(base string, st unix.Statx_t) (bool, error) {
	dir := t.top()
	if st.Mask&unix.STATX_MNT_ID != 0 && dir.stat.Mask&unix.STATX_MNT_ID != 0 {
		return st.Mnt_id != dir.stat.Mnt_id, nil
	}
	fd, err := unix.Openat(dir.fd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	own, err := mountID(fd)
	if err != nil {
		return false, err
	}
	parent, err := mountID(dir.fd)
	return own != parent, err
}

// mountID returns the line of proc that names the mount of an open file.
func mountID(fd int) (string, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		if strings.HasPrefix(line, "mnt_id:") {
			return line, nil
		}
	}
	return "", fmt.Errorf("the kernel does not tell the mount of an open file")
}

// checkFlags refuses what the file system protects from change, root or not.
func (t *trail) checkFlags(subject string, dirfd int, base string, st unix.Statx_t) error {
	flags, err := inodeFlags(dirfd, base, st)
	if err != nil {
		return err
	}
	switch {
	case flags&unix.STATX_ATTR_IMMUTABLE != 0:
		return t.unsafe("%s is immutable (lsattr shows i)", subject)
	case flags&unix.STATX_ATTR_APPEND != 0:
		return t.unsafe("%s is append-only (lsattr shows a)", subject)
	}
	return nil
}

// inodeFlags returns the immutable and append-only bits as statx has them, or as an ioctl has them where the file
// system does not fill them in for statx.
func inodeFlags(dirfd int, base string, st unix.Statx_t) (uint64, error) {
	const both = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
	if st.Attributes_mask&both == both {
		return st.Attributes & both, nil
	}
	fd, err := unix.Openat(dirfd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return ioctlFlags(fd)
}

// ioctlFlags asks the file system itself; the bits are those of linux/fs.h.
func ioctlFlags(fd int) (uint64, error) {
	const immutable, appendOnly = 0x10, 0x20
	bits, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	switch err {
	case nil:
	case unix.ENOTTY, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS:
		return 0, nil // this file system has no such flags
	default:
		return 0, err
	}
	var flags uint64
	if bits&immutable != 0 {
		flags |= unix.STATX_ATTR_IMMUTABLE
	}
	if bits&appendOnly != 0 {
		flags |= unix.STATX_ATTR_APPEND
	}
	return flags, nil
}
