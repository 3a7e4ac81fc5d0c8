package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// moves are the names that a watcher of a directory hears of, "-name" gone and "+name" come, in order.
func moves(t *testing.T, dir string, do func()) string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		t.Skip("others use up fs.inotify.max_user_instances, so that nothing can be watched")
	}
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_DELETE)
	must(t, err)
	do()
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	must(t, err)
	var out []string
	for at := 0; at < n; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
		name := strings.TrimRight(string(buf[at+unix.SizeofInotifyEvent:at+unix.SizeofInotifyEvent+int(e.Len)]), "\x00")
		sign := "+"
		if e.Mask&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0 {
			sign = "-"
		}
		if !strings.HasPrefix(name, ".") { // as the kubelet
			out = append(out, sign+name)
		}
		at += unix.SizeofInotifyEvent + int(e.Len)
	}
	return strings.Join(out, " ")
}

func TestPresent(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	r, err := OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	file := filepath.Join(dir, "pod.yaml")
	must(t, os.WriteFile(file, []byte("kind: Pod\n"), 0o600))
	must(t, os.Chown(file, 0, 12))
	must(t, unix.Setxattr(file, "user.note", []byte("kept"), 0))
	// One that was killed in the middle has left its copy.
	must(t, os.WriteFile(filepath.Join(dir, ".kubectl-harden-pod.yaml"), nil, 0o600))
	before, err := r.State("/pod.yaml")
	must(t, err)
	was, err := os.Stat(file)
	must(t, err)

	heard := moves(t, dir, func() { must(t, r.Present("/pod.yaml")) })
	if heard != "-pod.yaml +pod.yaml" {
		t.Errorf("a watcher hears %q", heard)
	}
	after, err := r.State("/pod.yaml")
	must(t, err)
	if !reflect.DeepEqual(after, before) {
		t.Errorf("%+v, was %+v", after, before)
	}
	is, err := os.Stat(file)
	must(t, err)
	if os.SameFile(was, is) {
		t.Error("it is the same file")
	}
	names, err := r.List("/")
	must(t, err)
	if len(names) != 1 {
		t.Errorf("left: %q", names)
	}

	must(t, os.WriteFile(filepath.Join(dir, ".kubectl-harden-pod.yaml"), nil, 0o600))
	must(t, r.TidyPresent("/pod.yaml"))
	must(t, r.TidyPresent("/pod.yaml"))
	names, err = r.List("/")
	must(t, err)
	if len(names) != 1 {
		t.Errorf("left by one that was killed: %q", names)
	}

	if err := r.Present("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("presented nothing: %v", err)
	}
	must(t, os.Link(file, filepath.Join(dir, "second")))
	var unsafePath *UnsafeError
	if err := r.Present("/pod.yaml"); !errors.As(err, &unsafePath) {
		t.Errorf("presented a file with two names: %v", err)
	}
	names, err = r.List("/")
	must(t, err)
	if strings.Join(names, " ") != "pod.yaml second" {
		t.Errorf("left: %q", names)
	}
}
