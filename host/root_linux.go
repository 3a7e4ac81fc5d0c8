package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// DefaultMaxFile is the largest file that a new Root reads.
const DefaultMaxFile = 16 << 20

// Root is a node's file system, seen from its top directory. It is safe for concurrent use once its fields are set.
type Root struct {
	// MaxFile is the size in bytes above which a file is refused instead of read.
	MaxFile int64
	// Proc is the proc file system of the running machine, empty when this root is not the running machine's own.
	Proc string

	dir  *os.File
	euid int
}

// OpenRoot opens the top directory of a node: "/" for the running machine, or where its disk is mounted. It stays the
// same directory even if something else takes its name.
func OpenRoot(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening root %q: %w", dir, errno(err))
	}
	r := &Root{MaxFile: DefaultMaxFile, dir: f, euid: os.Geteuid()}
	here, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening root %q: %w", dir, errno(err))
	}
	if top, err := os.Stat("/"); err == nil && os.SameFile(here, top) {
		r.Proc = "/proc"
	}
	return r, nil
}

// Close releases the root. Nothing else can be asked of it afterwards.
func (r *Root) Close() error { return r.dir.Close() }

// Stat describes path itself, not what a link there leads to.
func (r *Root) Stat(path string) (backups.Info, error) {
	dir, base, err := r.parent(path)
	if err != nil {
		return backups.Info{}, failed("looking at", path, err)
	}
	defer unix.Close(dir)
	st, err := statAt(dir, base)
	if err != nil {
		return backups.Info{}, failed("looking at", path, err)
	}
	return backups.Info{
		Kind: kind(st.Mode),
		Mode: uint32(st.Mode) & 0o7777,
		UID:  int(st.Uid),
		GID:  int(st.Gid),
		Size: int64(st.Size),
	}, nil
}

// ReadFile returns a regular file that is not a link. Use [Root.Read] to follow one.
func (r *Root) ReadFile(path string) ([]byte, error) {
	fd, st, err := r.open(path, unix.S_IFREG)
	if err != nil {
		return nil, failed("reading", path, err)
	}
	defer unix.Close(fd)
	data, err := r.readAll(path, fd, st)
	return data, failed("reading", path, err)
}

// Read returns the regular file that path leads to inside the root.
func (r *Root) Read(path string) ([]byte, error) {
	fd, st, err := r.follow(path, unix.S_IFREG)
	if err != nil {
		return nil, failed("reading", path, err)
	}
	defer unix.Close(fd)
	data, err := r.readAll(path, fd, st)
	return data, failed("reading", path, err)
}

// Tail returns the last max bytes of the regular file that path leads to inside the root, and whether that is all.
func (r *Root) Tail(path string, max int64) (data []byte, whole bool, err error) {
	fd, st, err := r.follow(path, unix.S_IFREG)
	if err != nil {
		return nil, false, failed("reading", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	size := int64(st.Size)
	from := size - min(size, max)
	data, err = io.ReadAll(io.NewSectionReader(f, from, size-from))
	return data, from == 0, failed("reading", path, errno(err))
}

// Resolve returns the path without links that path leads to inside the root. The last element may be missing.
func (r *Root) Resolve(path string) (string, error) {
	t, last, err := r.walk(path, false, true)
	if err != nil {
		return "", failed("resolving", path, err)
	}
	defer t.close()
	return t.place(last), nil
}

// ReadLink returns the text of a symbolic link, which may lead anywhere or nowhere.
func (r *Root) ReadLink(path string) (string, error) {
	dir, base, err := r.parent(path)
	if err != nil {
		return "", failed("reading link", path, err)
	}
	defer unix.Close(dir)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, base, buf)
	if err != nil {
		return "", failed("reading link", path, err)
	}
	return string(buf[:n]), nil
}

// State returns what path itself holds; a missing path is an empty State. What is neither a regular file nor a
// directory is refused.
func (r *Root) State(path string) (backups.State, error) {
	fd, st, err := r.open(path, unix.S_IFREG, unix.S_IFDIR)
	return r.state(path, fd, st, err)
}

// Follow returns the State of what path leads to inside the root. A link to nothing is an empty one too.
func (r *Root) Follow(path string) (backups.State, error) {
	fd, st, err := r.follow(path, unix.S_IFREG, unix.S_IFDIR)
	return r.state(path, fd, st, err)
}

// state reads what was opened, and closes it.
func (r *Root) state(path string, fd int, st unix.Statx_t, err error) (backups.State, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return backups.State{}, nil
	}
	if err != nil {
		return backups.State{}, failed("reading", path, err)
	}
	defer unix.Close(fd)
	s := backups.State{
		Exists: true,
		Dir:    st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Mode:   uint32(st.Mode) & 0o7777,
		UID:    int(st.Uid),
		GID:    int(st.Gid),
	}
	if s.XAttrs, err = xattrs(fd); err != nil {
		return backups.State{}, failed("reading the extended attributes of", path, err)
	}
	if !s.Dir {
		if s.Data, err = r.readAll(path, fd, st); err != nil {
			return backups.State{}, failed("reading", path, err)
		}
	}
	return s, nil
}

// ReadDir lists the names in a directory that is not a link, sorted. Use [Root.List] to follow one.
func (r *Root) ReadDir(path string) ([]string, error) {
	fd, _, err := r.open(path, unix.S_IFDIR)
	if err != nil {
		return nil, failed("listing", path, err)
	}
	defer unix.Close(fd)
	names, err := sortedNames(fd)
	return names, failed("listing", path, err)
}

// XAttrs returns all extended attributes of a regular file or directory.
func (r *Root) XAttrs(path string) (map[string][]byte, error) {
	fd, _, err := r.open(path, unix.S_IFREG, unix.S_IFDIR)
	if err != nil {
		return nil, failed("reading the extended attributes of", path, err)
	}
	defer unix.Close(fd)
	attrs, err := xattrs(fd)
	return attrs, failed("reading the extended attributes of", path, err)
}

// parent opens the directory of path and returns the last element, "." for the root itself.
func (r *Root) parent(p string) (dirfd int, base string, err error) {
	if err := checkPath(p); err != nil {
		return -1, "", err
	}
	up, base := splitPath(p)
	dirfd, err = r.handle(up)
	return dirfd, base, err
}

// handle opens what path leads to inside the root, for looking only. The kernel resolves it (openat2, since Linux 5.6), or else
// pathrs: that asks for the name of all that it opens too, which costs more than the rest of reading a file.
func (r *Root) handle(p string) (fd int, err error) {
	fd, err = unix.Openat2(int(r.dir.Fd()), p, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	runtime.KeepAlive(r)
	switch err {
	case unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.E2BIG, unix.EAGAIN, unix.EINTR:
		// No answer: the call is not known or not allowed here, or something was moved on the way.
	default:
		return fd, err
	}
	f, err := pathrs.OpenatInRoot(r.dir, p)
	if err != nil {
		return -1, errno(err)
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// open opens path itself for reading when it is of one of the kinds (S_IFREG, S_IFDIR).
func (r *Root) open(p string, kinds ...uint16) (fd int, st unix.Statx_t, err error) {
	dir, base, err := r.parent(p)
	if err != nil {
		return -1, st, err
	}
	defer unix.Close(dir)
	return openAt(p, dir, base, unix.O_RDONLY, kinds...)
}

// openAt opens base in a directory when it is of one of the kinds. The kind is looked at first, so that no device is
// ever opened, and again afterwards in case that another file took its place.
func openAt(p string, dirfd int, base string, flags int, kinds ...uint16) (fd int, st unix.Statx_t, err error) {
	if st, err = statAt(dirfd, base); err != nil {
		return -1, st, err
	}
	if err := checkKind(p, st, kinds); err != nil {
		return -1, st, err
	}
	fd, err = unix.Openat(dirfd, base, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, st, err
	}
	st, err = statAt(fd, "")
	if err == nil {
		err = checkKind(p, st, kinds)
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// follow opens what path leads to for reading when it is of one of the kinds. Only a link has to be gone after element by element.
func (r *Root) follow(p string, kinds ...uint16) (fd int, st unix.Statx_t, err error) {
	fd, st, err = r.open(p, kinds...)
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return fd, st, err
	}
	t, last, err := r.walk(p, false, true)
	if err != nil {
		return -1, st, err
	}
	defer t.close()
	return openAt(p, t.top().fd, last, unix.O_RDONLY, kinds...)
}

// readAll reads an open file that has been looked at.
func (r *Root) readAll(p string, fd int, st unix.Statx_t) ([]byte, error) {
	// Files in proc and sys say size 0, and any file may grow: the limit is kept while reading too.
	size := int64(st.Size)
	if size <= r.MaxFile {
		buf := make([]byte, 0, size+512)
		for {
			n, err := unix.Read(fd, buf[len(buf):cap(buf)])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, err
			}
			if n == 0 {
				return buf, nil
			}
			buf = buf[:len(buf)+n]
			if size = int64(len(buf)); size > r.MaxFile {
				break
			}
			if len(buf) == cap(buf) {
				buf = slices.Grow(buf, len(buf))
			}
		}
	}
	return nil, &UnsafeError{Path: p, Why: fmt.Sprintf("it has %d bytes or more, and files above %d are not read", size, r.MaxFile)}
}

func sortedNames(dirfd int) ([]string, error) {
	names, err := namesIn(dirfd)
	slices.Sort(names)
	return names, err
}

// namesIn are the entries of an open directory.
func namesIn(dirfd int) ([]string, error) {
	var names []string
	for buf := make([]byte, 8<<10); ; {
		n, err := unix.ReadDirent(dirfd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n <= 0:
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func checkKind(p string, st unix.Statx_t, kinds []uint16) error {
	is := st.Mode & unix.S_IFMT
	if slices.Contains(kinds, is) {
		return nil
	}
	if slices.Equal(kinds, []uint16{unix.S_IFDIR}) && is == unix.S_IFREG {
		return unix.ENOTDIR
	}
	return &UnsafeError{Path: p, Why: "it is " + kindName(is)}
}

func kindName(is uint16) string {
	switch is {
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFIFO:
		return "a named pipe"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "a device"
	}
	return "not a regular file"
}

func kind(mode uint16) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	case unix.S_IFBLK:
		return fs.ModeDevice
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	}
	return fs.ModeIrregular
}

// failed adds what was being done to an error; refusals already say it, and nil stays nil.
func failed(doing, p string, err error) error {
	var refused *UnsafeError
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("%s %q: %w", doing, p, err)
}
