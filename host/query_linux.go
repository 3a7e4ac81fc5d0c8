package host

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// List lists the names in the directory that path leads to inside the root, sorted.
func (r *Root) List(path string) ([]string, error) {
	dir, _, err := r.follow(path, unix.S_IFDIR)
	if err != nil {
		return nil, failed("listing", path, err)
	}
	defer unix.Close(dir)
	names, err := sortedNames(dir)
	return names, failed("listing", path, err)
}

// Glob returns the existing paths that match an absolute pattern, whose elements are patterns of path.Match, sorted.
// Links are followed. Names that start with a dot match only a pattern that does.
func (r *Root) Glob(pattern string) ([]string, error) {
	if err := checkPath(pattern); err != nil {
		return nil, err
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, &UnsafeError{Path: pattern, Why: "it is not a well-formed pattern"}
	}
	found := []string{"/"}
	for element := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
		var next []string
		for _, dir := range found {
			names, err := r.matches(dir, element)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				next = append(next, path.Join(dir, name))
			}
		}
		found = next
	}
	slices.Sort(found)
	return found, nil
}

// matches returns the names in dir that one element of a pattern means. What is no directory holds none.
func (r *Root) matches(dir, element string) ([]string, error) {
	names, err := r.List(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	var refused *UnsafeError
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		ok, _ := path.Match(element, name)
		return !ok || name[0] == '.' && element[0] != '.'
	}), nil
}

// FreeBytes returns how many bytes a file at path may still take on its file system. The path, or parents of it, may
// be missing.
func (r *Root) FreeBytes(path string) (uint64, error) {
	st, err := r.statfs(path)
	if err != nil {
		return 0, failed("asking for free space at", path, err)
	}
	return st.Bavail * uint64(st.Frsize), nil
}

// UsedPercent is how much of the file system of path is used as the kubelet counts: all that is not free for everybody, rounded up.
func (r *Root) UsedPercent(path string) (int, error) {
	st, err := r.statfs(path)
	if err != nil {
		return 0, failed("asking for free space at", path, err)
	}
	if st.Blocks == 0 {
		return 0, failed("asking for free space at", path, errNoBlocks)
	}
	return 100 - int(st.Bavail*100/st.Blocks), nil
}

var errNoBlocks = errors.New("its file system has no size")

// ReadOnlyFS reports whether path lies, or would lie, on a file system that is mounted read-only.
func (r *Root) ReadOnlyFS(path string) (bool, error) {
	st, err := r.statfs(path)
	if err != nil {
		return false, failed("asking for the file system at", path, err)
	}
	return st.Flags&unix.ST_RDONLY != 0, nil
}

// statfs describes the file system of path, or of the nearest parent that exists.
func (r *Root) statfs(p string) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	if err := checkPath(p); err != nil {
		return st, err
	}
	for {
		handle, err := r.handle(p)
		if err == nil {
			err = unix.Fstatfs(handle, &st)
			unix.Close(handle)
			return st, err
		}
		if p == "/" || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return st, err
		}
		p = path.Dir(p)
	}
}

// xattrs reads all extended attributes of an open file.
func xattrs(fd int) (map[string][]byte, error) {
	list, err := sized(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attrs := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := sized(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		attrs[name] = value
	}
	return attrs, nil
}

// sized calls a function that fills a buffer of a size nobody knows beforehand.
func sized(fill func([]byte) (int, error)) ([]byte, error) {
	for buf := make([]byte, 256); ; {
		n, err := fill(buf)
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) {
			return nil, err
		}
		if n, err = fill(nil); err != nil {
			return nil, err
		}
		buf = make([]byte, n+256)
	}
}

// splitPath cuts a clean absolute path into directory and last element, "." for the root itself.
func splitPath(p string) (dir, base string) {
	if p == "/" {
		return "/", "."
	}
	return path.Dir(p), path.Base(p)
}
