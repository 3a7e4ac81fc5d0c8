package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// trail is a path being resolved inside the root, one element at a time. pathrs tells where a path ends; a write has to
// know what it went through as well, because whoever owns a directory or a link on the way decides where it ends.
type trail struct {
	root   *Root
	asked  string // the path as the caller gave it
	strict bool   // refuse what others than root could change
	dirs   []step // from the root to the directory reached so far
	links  int
}

type step struct {
	fd   int
	name string
	stat unix.Statx_t
}

func (t *trail) close() {
	for _, s := range t.dirs {
		unix.Close(s.fd)
	}
	t.dirs = nil
}

func (t *trail) top() step { return t.dirs[len(t.dirs)-1] }

// place is the resolved path of the directory reached, or of name in it.
func (t *trail) place(name string) string {
	p := "/"
	for _, s := range t.dirs[1:] {
		p = path.Join(p, s.name)
	}
	return path.Join(p, name)
}

func (t *trail) unsafe(format string, args ...any) error {
	return &UnsafeError{Path: t.asked, Why: fmt.Sprintf(format, args...)}
}

// walk resolves p up to its last element, which it returns and which may be missing or anything. With follow a link
// there is resolved too. The caller closes the trail.
func (r *Root) walk(p string, strict, follow bool) (*trail, string, error) {
	if err := checkPath(p); err != nil {
		return nil, "", err
	}
	t := &trail{root: r, asked: p, strict: strict}
	last, err := t.walk(p, follow)
	if err != nil {
		t.close()
		return nil, "", err
	}
	return t, last, nil
}

func (t *trail) walk(p string, follow bool) (last string, err error) {
	fd, err := unix.Openat(int(t.root.dir.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	runtime.KeepAlive(t.root)
	if err != nil {
		return "", err
	}
	st, err := statAt(fd, "")
	if err != nil {
		unix.Close(fd)
		return "", err
	}
	if err := t.enter(fd, "/", st); err != nil {
		return "", err
	}
	todo := strings.Split(p, "/")
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			t.up(1)
			continue
		}
		final := !hasName(todo)
		if final && !follow {
			return name, nil
		}
		fd, err := unix.Openat(t.top().fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if final && errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		st, err := statAt(fd, "")
		if err != nil {
			unix.Close(fd)
			return "", err
		}
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFDIR:
			if err := t.enter(fd, name, st); err != nil {
				return "", err
			}
			continue
		case kind == unix.S_IFLNK:
			target, err := t.readLink(fd, name, st)
			if err != nil {
				unix.Close(fd)
				return "", err
			}
			if strings.HasPrefix(target, "/") {
				t.up(len(t.dirs))
			}
			todo = append(strings.Split(target, "/"), todo...)
		case final:
			last = name
		default:
			err = unix.ENOTDIR
		}
		unix.Close(fd)
		if last != "" || err != nil {
			return last, err
		}
	}
	return ".", nil
}

// up leaves n directories, but never the root.
func (t *trail) up(n int) {
	for ; n > 0 && len(t.dirs) > 1; n-- {
		unix.Close(t.top().fd)
		t.dirs = t.dirs[:len(t.dirs)-1]
	}
}

// hasName reports whether any element leads further than the directory reached.
func hasName(elements []string) bool {
	for _, e := range elements {
		if e != "" && e != "." {
			return true
		}
	}
	return false
}

// enter adds a directory to the trail, which owns fd from here on.
func (t *trail) enter(fd int, name string, st unix.Statx_t) error {
	t.dirs = append(t.dirs, step{fd: fd, name: name, stat: st})
	if !t.strict {
		return nil
	}
	switch {
	case !t.root.trusted(st.Uid):
		return t.unsafe("the directory %q belongs to uid %d, not to root", t.place(""), st.Uid)
	case st.Mode&0o022 != 0 && (st.Mode&unix.S_ISVTX == 0 || st.Uid != 0):
		return t.unsafe("the directory %q can be changed by others than root (mode %04o)", t.place(""), st.Mode&0o7777)
	}
	return nil
}

func (t *trail) readLink(fd int, name string, st unix.Statx_t) (string, error) {
	if t.links++; t.links > maxLinks {
		return "", unix.ELOOP
	}
	if t.strict && !t.root.trusted(st.Uid) {
		return "", t.unsafe("the link %q on the way belongs to uid %d, not to root", t.place(name), st.Uid)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// trusted reports whether what uid may do is no more than we may do ourselves: root, and the user we run as.
func (r *Root) trusted(uid uint32) bool { return uid == 0 || int(uid) == r.euid }

// statAt describes name in a directory without following a link, or the open file itself where name is empty.
func statAt(dirfd int, name string) (unix.Statx_t, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	err := unix.Statx(dirfd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	return st, err
}

func checkPath(p string) error {
	if !strings.HasPrefix(p, "/") || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return &UnsafeError{Path: p, Why: "it is not an absolute, clean path"}
	}
	return nil
}
