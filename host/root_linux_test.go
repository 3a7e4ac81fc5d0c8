package host

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"

func TestReadFollowsLinksInsideTheRootOnly(t *testing.T) {
	r, dir := newRoot(t)
	outside := put(t, t.TempDir(), "secret", "outside")
	put(t, dir, "run/file", "inside")
	links := map[string]string{
		"var/run":          "/run",
		"etc/relative":     "../run/file",
		"etc/absolute":     "/run/file",
		"etc/above":        "../../../../../../run/file",
		"etc/escape":       outside,
		"etc/escape-dir":   filepath.Dir(outside),
		"etc/loop":         "loop",
		"etc/dangling":     "/run/nothing",
		"etc/through-link": "../var/run/../run/file",
	}
	for name, target := range links {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	for _, tt := range []struct {
		path string
		want string
		err  error
	}{
		{"/run/file", "inside", nil},
		{"/var/run/file", "inside", nil},
		{"/etc/relative", "inside", nil},
		{"/etc/absolute", "inside", nil},
		{"/etc/above", "inside", nil},
		{"/etc/through-link", "inside", nil},
		{"/etc/escape", "", fs.ErrNotExist},
		{"/etc/escape-dir/secret", "", fs.ErrNotExist},
		{"/etc/dangling", "", fs.ErrNotExist},
		{"/etc/loop", "", unix.ELOOP},
		{"/run/file/below", "", unix.ENOTDIR},
		{"/nothing/at/all", "", fs.ErrNotExist},
	} {
		got, err := r.Read(tt.path)
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Read(%s) = %q, %v; want %q, %v", tt.path, got, err, tt.want, tt.err)
		}
		if real, err := r.Resolve(tt.path); tt.err == nil && (real != "/run/file" || err != nil) {
			t.Errorf("Resolve(%s) = %q, %v", tt.path, real, err)
		}
	}
}

func TestPathsAreAbsoluteAndClean(t *testing.T) {
	r, _ := newRoot(t)
	for _, path := range []string{"", "etc", "/etc/", "/etc/../etc", "//etc", "/etc/./x", "/etc/a\x00b"} {
		for name, op := range map[string]func(string) error{
			"Stat":    func(p string) error { _, err := r.Stat(p); return err },
			"Read":    func(p string) error { _, err := r.Read(p); return err },
			"State":   func(p string) error { _, err := r.State(p); return err },
			"Create":  func(p string) error { _, err := r.Create(p, 0o600); return err },
			"Remove":  r.Remove,
			"Resolve": func(p string) error { _, err := r.Resolve(p); return err },
			"Free":    func(p string) error { _, err := r.FreeBytes(p); return err },
		} {
			t.Run(name, func(t *testing.T) { wantUnsafe(t, op(path), "absolute, clean path") })
		}
	}
}

// The trail of a write has to end where pathrs says that the path ends, whatever links are on the way.
func TestWalkAgreesWithPathrs(t *testing.T) {
	r, dir := newRoot(t)
	random := rand.New(rand.NewPCG(1, 2))
	dirs := []string{"/"}
	pick := func() string { return dirs[random.IntN(len(dirs))] }
	for i := range 120 {
		at := filepath.Join(pick(), string(rune('a'+random.IntN(8))))
		full := filepath.Join(dir, at)
		switch i % 3 {
		case 0:
			if os.Mkdir(full, 0o755) == nil {
				dirs = append(dirs, at)
			}
		case 1:
			target := pick()
			if random.IntN(2) == 0 {
				target = strings.Repeat("../", random.IntN(4)) + "." + target
			}
			if os.Symlink(target, full) == nil {
				dirs = append(dirs, at)
			}
		case 2:
			_ = os.WriteFile(full, nil, 0o644)
		}
	}
	same := 0
	for range 3000 {
		path := pick()
		for range random.IntN(3) {
			path = filepath.Join(path, string(rune('a'+random.IntN(8))))
		}
		got, err := r.Resolve(path)
		handle, libErr := pathrs.OpenatInRoot(r.dir, path)
		if libErr != nil {
			if _, statErr := os.Lstat(filepath.Join(dir, got)); err == nil && statErr == nil {
				t.Fatalf("Resolve(%s) = %s, which exists, but pathrs says %v", path, got, libErr)
			}
			continue
		}
		want, statErr := handle.Stat()
		handle.Close()
		must(t, statErr)
		is, statErr := os.Lstat(filepath.Join(dir, got))
		if err != nil || statErr != nil || !os.SameFile(is, want) {
			t.Fatalf("Resolve(%s) = %s, %v, not what pathrs opens", path, got, errors.Join(err, statErr))
		}
		same++
	}
	if same < 300 {
		t.Fatalf("only %d of the paths existed: the tree tests nothing", same)
	}
}

func TestState(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	full := put(t, dir, manifest, "kind: Pod\n")
	must(t, os.Chown(full, 7, 8))
	must(t, unix.Chmod(full, 0o4640))
	must(t, unix.Setxattr(full, "user.note", []byte("a\x00b"), 0))
	must(t, unix.Setxattr(full, "trusted.empty", nil, 0))
	must(t, unix.Chmod(filepath.Join(dir, "run"), 0o1777))
	must(t, os.Symlink("kube-apiserver.yaml", filepath.Join(dir, "etc/kubernetes/manifests/link")))
	for _, tt := range []struct {
		path string
		want backups.State
	}{
		{"/etc/nothing", backups.State{}},
		{"/nothing/there", backups.State{}},
		{"/run", backups.State{Exists: true, Dir: true, Mode: 0o1777}},
		{manifest, backups.State{Exists: true, Data: []byte("kind: Pod\n"), Mode: 0o4640, UID: 7, GID: 8,
			XAttrs: map[string][]byte{"user.note": []byte("a\x00b"), "trusted.empty": {}}}},
	} {
		got, err := r.State(tt.path)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("State(%s) = %+v, %v; want %+v", tt.path, got, err, tt.want)
		}
	}
	_, err := r.State("/etc/kubernetes/manifests/link")
	wantUnsafe(t, err, "a symbolic link")
}

func TestStatKinds(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, "etc/file", "12345")
	must(t, os.Symlink("file", filepath.Join(dir, "etc/link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "etc/fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "etc/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	for path, want := range map[string]fs.FileMode{
		"/": fs.ModeDir, "/etc": fs.ModeDir, "/etc/file": 0, "/etc/link": fs.ModeSymlink,
		"/etc/fifo": fs.ModeNamedPipe, "/etc/null": fs.ModeDevice | fs.ModeCharDevice,
	} {
		if info, err := r.Stat(path); err != nil || info.Kind != want {
			t.Errorf("Stat(%s) = %v, %v; want kind %v", path, info, err, want)
		}
	}
	if target, err := r.ReadLink("/etc/link"); target != "file" || err != nil {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if _, err := r.ReadLink("/etc/file"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("ReadLink of a file: %v", err)
	}
	if info, _ := r.Stat("/etc/file"); info.Size != 5 || info.Mode != 0o644 {
		t.Errorf("Stat says %+v", info)
	}
	if _, err := r.Stat("/etc/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestListAndGlob(t *testing.T) {
	r, dir := newRoot(t)
	for _, f := range []string{"b.yaml", "a.yaml", ".hidden.yaml", "c.bak"} {
		put(t, dir, "etc/kubernetes/manifests/"+f, "")
	}
	put(t, dir, "etc/kubernetes/other/d.yaml", "")
	must(t, os.Symlink("kubernetes/manifests", filepath.Join(dir, "etc/pods")))
	names, err := r.ReadDir("/etc/kubernetes/manifests")
	if want := []string{".hidden.yaml", "a.yaml", "b.yaml", "c.bak"}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("ReadDir = %q, %v", names, err)
	}
	if followed, err := r.List("/etc/pods"); err != nil || !reflect.DeepEqual(followed, names) {
		t.Errorf("List through a link = %q, %v", followed, err)
	}
	_, err = r.ReadDir("/etc/pods")
	wantUnsafe(t, err, "a symbolic link")
	if _, err = r.ReadDir("/etc/pods/a.yaml"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("listing a file: %v", err)
	}
	for pattern, want := range map[string][]string{
		"/etc/pods/*.yaml":         {"/etc/pods/a.yaml", "/etc/pods/b.yaml"},
		"/etc/kubernetes/*/*.yaml": {"/etc/kubernetes/manifests/a.yaml", "/etc/kubernetes/manifests/b.yaml", "/etc/kubernetes/other/d.yaml"},
		"/etc/pods/.h*":            {"/etc/pods/.hidden.yaml"},
		"/etc/none/*":              nil,
		"/etc/pods/c.bak":          {"/etc/pods/c.bak"},
	} {
		if got, err := r.Glob(pattern); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Glob(%s) = %q, %v; want %q", pattern, got, err, want)
		}
	}
	_, err = r.Glob("/etc/[")
	wantUnsafe(t, err, "well-formed pattern")
}

func TestFileSystemFacts(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	mount := filepath.Join(dir, "var/lib/kubelet")
	must(t, unix.Mount("tmpfs", mount, "tmpfs", unix.MS_RDONLY, "size=64k"))
	t.Cleanup(func() { must(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	for path, want := range map[string]bool{
		"/var/lib/kubelet": true, "/var/lib/kubelet/missing/file": true, "/etc/kubernetes/missing/file": false,
	} {
		if got, err := r.ReadOnlyFS(path); err != nil || got != want {
			t.Errorf("ReadOnlyFS(%s) = %v, %v", path, got, err)
		}
	}
	if free, err := r.FreeBytes("/var/lib/kubelet/x"); err != nil || free != 64<<10 {
		t.Errorf("FreeBytes on an empty 64 KiB tmpfs = %d, %v", free, err)
	}
	if used, err := r.UsedPercent("/var/lib/kubelet/x"); err != nil || used != 0 {
		t.Errorf("UsedPercent on an empty tmpfs = %d, %v", used, err)
	}
	if _, err := r.Create("/var/lib/kubelet/x", 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("Create on a read-only file system: %v", err)
	}
}

func TestOnlyTheMachinesOwnRootIsLive(t *testing.T) {
	offline, _ := newRoot(t)
	live, err := OpenRoot("/")
	must(t, err)
	defer live.Close()
	if offline.Proc != "" || live.Proc != "/proc" {
		t.Errorf("Proc is %q offline and %q live", offline.Proc, live.Proc)
	}
	if _, err := OpenRoot(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing root: %v", err)
	}
	if _, err := OpenRoot("/proc/self/status"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file as root: %v", err)
	}
}

func BenchmarkStateOfManifest(b *testing.B) {
	r, dir := newRoot(b)
	put(b, dir, manifest, strings.Repeat("    - --profiling=false\n", 170))
	for b.Loop() {
		if _, err := r.State(manifest); err != nil {
			b.Fatal(err)
		}
	}
}

func TestEntriesAreLookedAtWithoutBeingOpened(t *testing.T) {
	r, dir := newRoot(t)
	put(t, dir, "etc/file", "x")
	must(t, os.Chmod(filepath.Join(dir, "etc/file"), 0o640))
	must(t, os.Symlink("/etc/file", filepath.Join(dir, "etc/link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o600))
	must(t, os.Symlink("/etc", filepath.Join(dir, "alias")))
	entries, err := r.Entries("/alias")
	must(t, err)
	kinds := map[string]fs.FileMode{}
	for _, e := range entries {
		kinds[e.Name] = e.Kind
		one, err := r.Entry("/etc/" + e.Name)
		if err != nil || !reflect.DeepEqual(one, e) {
			t.Errorf("%s: alone %+v, in its directory %+v, %v", e.Name, one, e, err)
		}
		if e.Name == "file" && (e.Mode != 0o640 || e.Size != 1 || e.Modified.IsZero()) {
			t.Errorf("%+v", e)
		}
	}
	if want := map[string]fs.FileMode{"file": 0, "link": fs.ModeSymlink, "pipe": fs.ModeNamedPipe, "kubernetes": fs.ModeDir}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	for _, path := range []string{"/nothing", "/etc/file"} {
		if _, err := r.Entries(path); err == nil {
			t.Errorf("%s has entries", path)
		}
	}
}
