package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	defer dir.Close()
	st, err := statAt(int(dir.Fd()), base)
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
	f, _, err := r.open(path, unix.S_IFREG)
	if err != nil {
		return nil, failed("reading", path, err)
	}
	defer f.Close()
	data, err := r.readAll(path, f)
	return data, failed("reading", path, err)
}

// Read returns the regular file that path leads to inside the root.
func (r *Root) Read(path string) ([]byte, error) {
	f, err := r.follow(path, unix.O_RDONLY)
	if err != nil {
		return nil, failed("reading", path, err)
	}
	defer f.Close()
	data, err := r.readAll(path, f)
	return data, failed("reading", path, err)
}

// Tail returns the last max bytes of the regular file that path leads to inside the root, and whether that is all.
func (r *Root) Tail(path string, max int64) (data []byte, whole bool, err error) {
	f, err := r.follow(path, unix.O_RDONLY)
	if err != nil {
		return nil, false, failed("reading", path, err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		from := size - min(size, max)
		whole = from == 0
		data, err = io.ReadAll(io.NewSectionReader(f, from, size-from))
	}
	return data, whole, failed("reading", path, errno(err))
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
	defer dir.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), base, buf)
	if err != nil {
		return "", failed("reading link", path, err)
	}
	return string(buf[:n]), nil
}

// State returns what path itself holds; a missing path is an empty State. What is neither a regular file nor a
// directory is refused.
func (r *Root) State(path string) (backups.State, error) {
	f, st, err := r.open(path, unix.S_IFREG, unix.S_IFDIR)
	if errors.Is(err, fs.ErrNotExist) {
		return backups.State{}, nil
	}
	if err != nil {
		return backups.State{}, failed("reading", path, err)
	}
	defer f.Close()
	s := backups.State{
		Exists: true,
		Dir:    st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Mode:   uint32(st.Mode) & 0o7777,
		UID:    int(st.Uid),
		GID:    int(st.Gid),
	}
	if s.XAttrs, err = xattrs(int(f.Fd())); err != nil {
		return backups.State{}, failed("reading the extended attributes of", path, err)
	}
	if !s.Dir {
		if s.Data, err = r.readAll(path, f); err != nil {
			return backups.State{}, failed("reading", path, err)
		}
	}
	return s, nil
}

// ReadDir lists the names in a directory that is not a link, sorted. Use [Root.List] to follow one.
func (r *Root) ReadDir(path string) ([]string, error) {
	f, _, err := r.open(path, unix.S_IFDIR)
	if err != nil {
		return nil, failed("listing", path, err)
	}
	defer f.Close()
	names, err := sortedNames(f)
	return names, failed("listing", path, err)
}

// XAttrs returns all extended attributes of a regular file or directory.
func (r *Root) XAttrs(path string) (map[string][]byte, error) {
	f, _, err := r.open(path, unix.S_IFREG, unix.S_IFDIR)
	if err != nil {
		return nil, failed("reading the extended attributes of", path, err)
	}
	defer f.Close()
	attrs, err := xattrs(int(f.Fd()))
	return attrs, failed("reading the extended attributes of", path, err)
}

// parent opens the directory of path and returns the last element, "." for the root itself.
func (r *Root) parent(p string) (dir *os.File, base string, err error) {
	if err := checkPath(p); err != nil {
		return nil, "", err
	}
	up, base := splitPath(p)
	dir, err = pathrs.OpenatInRoot(r.dir, up)
	return dir, base, errno(err)
}

// open opens path itself for reading when it is of one of the kinds (S_IFREG, S_IFDIR).
func (r *Root) open(p string, kinds ...uint16) (*os.File, unix.Statx_t, error) {
	dir, base, err := r.parent(p)
	if err != nil {
		return nil, unix.Statx_t{}, err
	}
	defer dir.Close()
	return openAt(p, int(dir.Fd()), base, unix.O_RDONLY, kinds...)
}

// openAt opens base in a directory when it is of one of the kinds. The kind is looked at first, so that no device is
// ever opened, and again afterwards in case that another file took its place.
func openAt(p string, dirfd int, base string, flags int, kinds ...uint16) (*os.File, unix.Statx_t, error) {
	st, err := statAt(dirfd, base)
	if err != nil {
		return nil, st, err
	}
	if err := checkKind(p, st, kinds); err != nil {
		return nil, st, err
	}
	fd, err := unix.Openat(dirfd, base, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, st, err
	}
	st, err = statAt(fd, "")
	if err == nil {
		err = checkKind(p, st, kinds)
	}
	if err != nil {
		unix.Close(fd)
		return nil, st, err
	}
	return os.NewFile(uintptr(fd), p), st, nil
}

// follow opens what path leads to, a regular file or (with O_DIRECTORY) a directory, for reading.
func (r *Root) follow(p string, flags int) (*os.File, error) {
	if err := checkPath(p); err != nil {
		return nil, err
	}
	handle, err := pathrs.OpenatInRoot(r.dir, p)
	if err != nil {
		return nil, errno(err)
	}
	defer handle.Close()
	st, err := statAt(int(handle.Fd()), "")
	if err != nil {
		return nil, err
	}
	want := uint16(unix.S_IFREG)
	if flags&unix.O_DIRECTORY != 0 {
		want = unix.S_IFDIR
	}
	if err := checkKind(p, st, []uint16{want}); err != nil {
		return nil, err
	}
	f, err := pathrs.Reopen(handle, flags|unix.O_NOCTTY)
	return f, errno(err)
}

func (r *Root) readAll(p string, f *os.File) ([]byte, error) {
	st, err := statAt(int(f.Fd()), "")
	if err != nil {
		return nil, err
	}
	// Files in proc and sys say size 0, and any file may grow: the limit is kept while reading too.
	size := int64(st.Size)
	if size <= r.MaxFile {
		buf := make([]byte, 0, size+512)
		for {
			n, err := f.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if err == io.EOF {
				return buf, nil
			}
			if err != nil {
				return nil, errno(err)
			}
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

func sortedNames(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(-1)
	slices.Sort(names)
	return names, errno(err)
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
