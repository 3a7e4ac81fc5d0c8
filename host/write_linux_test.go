package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplaceKeepsWhatItIsGiven(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, manifest, "before\n")
	old := unix.Umask(0o077)
	defer unix.Umask(old)

	const temp = "/etc/kubernetes/manifests/.kubectl-harden-1"
	f, err := r.Create(temp, 0o4664)
	must(t, err)
	_, err = f.Write([]byte("af"))
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	must(t, r.Chown(temp, 3, 4))
	must(t, r.Chmod(temp, 0o640))
	must(t, r.SetXAttr(temp, "user.a", []byte("1")))
	must(t, r.SetXAttr(temp, "user.b", []byte("2")))
	must(t, r.RemoveXAttr(temp, "user.a"))
	more, err := r.Append(temp)
	must(t, err)
	_, err = more.Write([]byte("ter\nrest"))
	must(t, err)
	must(t, more.Close())
	must(t, r.Truncate(temp, 6))
	must(t, r.Rename(temp, manifest))
	must(t, r.SyncDir("/etc/kubernetes/manifests"))

	s, err := r.State(manifest)
	must(t, err)
	if string(s.Data) != "after\n" || s.Mode != 0o640 || s.UID != 3 || s.GID != 4 || len(s.XAttrs) != 1 || string(s.XAttrs["user.b"]) != "2" {
		t.Errorf("replaced file is %+v", s)
	}
	if _, err := f.Write(nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("writing after close: %v", err)
	}
}

func TestModesAreExactWhateverTheUmask(t *testing.T) {
	r, _ := newRoot(t)
	old := unix.Umask(0o777)
	defer unix.Umask(old)
	for _, mode := range []uint32{0, 0o400, 0o600, 0o644, 0o2755, 0o1777, 0o7777} {
		f, err := r.Create("/etc/f", mode)
		must(t, err)
		must(t, f.Close())
		must(t, r.Mkdir("/etc/d", mode))
		for _, path := range []string{"/etc/f", "/etc/d"} {
			if info, err := r.Stat(path); err != nil || info.Mode != mode {
				t.Errorf("%s made with %04o is %+v, %v", path, mode, info, err)
			}
			must(t, r.Remove(path))
		}
	}
}

func TestMissingAndExisting(t *testing.T) {
	r, dir := newRoot(t)
	put(t, dir, "etc/file", "")
	for name, err := range map[string]error{
		"Append": second(r.Append("/etc/none")), "Truncate": r.Truncate("/etc/none", 0), "Chmod": r.Chmod("/etc/none", 0),
		"Chown": r.Chown("/etc/none", 0, 0), "Rename": r.Rename("/etc/none", "/etc/file"), "Remove": r.Remove("/etc/none"),
		"Create": second(r.Create("/none/file", 0o600)), "Mkdir": r.Mkdir("/none/dir", 0o700), "SyncDir": r.SyncDir("/none"),
		"ReadFile": second(r.ReadFile("/etc/none")), "ReadDir": second(r.ReadDir("/etc/none")), "XAttrs": second(r.XAttrs("/etc/none")),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a missing path: %v", name, err)
		}
	}
	if err := second(r.Create("/etc/file", 0o600)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	if err := r.Mkdir("/etc/kubernetes", 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Mkdir over a directory: %v", err)
	}
	if err := r.Remove("/etc/kubernetes"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("Remove of a full directory: %v", err)
	}
	wantUnsafe(t, r.Remove("/"), "the root itself")
	wantUnsafe(t, second(r.Append("/etc/kubernetes")), "a directory")
}

func second[T any](_ T, err error) error { return err }

func TestWritesGoThroughSafeLinks(t *testing.T) {
	r, dir := newRoot(t)
	must(t, os.Symlink("/run", filepath.Join(dir, "var/run")))
	f, err := r.Create("/var/run/file", 0o600)
	must(t, err)
	must(t, f.Close())
	if _, err := os.Lstat(filepath.Join(dir, "run/file")); err != nil {
		t.Error(err)
	}
	must(t, r.Rename("/var/run/file", "/run/other"))
	must(t, r.Remove("/var/run/other"))
}
