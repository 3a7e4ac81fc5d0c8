package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// writes are all the ways to change an existing path.
func writes(r *Root, path string) map[string]error {
	return map[string]error{
		"Append":      second(r.Append(path)),
		"Truncate":    r.Truncate(path, 0),
		"Chmod":       r.Chmod(path, 0o777),
		"Chown":       r.Chown(path, 1000, 1000),
		"SetXAttr":    r.SetXAttr(path, "user.x", []byte("x")),
		"RemoveXAttr": r.RemoveXAttr(path, "user.keep"),
		"Rename from": r.Rename(path, "/etc/kubernetes/taken"),
		"Rename over": r.Rename("/etc/kubernetes/new", path),
		"Remove":      r.Remove(path),
		"Lock":        lock(r, path),
	}
}

func lock(r *Root, path string) error {
	_, _, err := r.Lock(path, []byte("x"))
	return err
}

func TestWritesRefuseUnsafeTargets(t *testing.T) {
	asRoot(t)
	for _, tt := range []struct {
		name string
		make func(t *testing.T, full string) // full exists as a regular file
		why  string
	}{
		{"symbolic link", func(t *testing.T, full string) {
			must(t, os.Rename(full, full+"-real"))
			must(t, os.Symlink(filepath.Base(full)+"-real", full))
		}, "a symbolic link"},
		{"hard link", func(t *testing.T, full string) {
			must(t, os.Link(full, full+"-other"))
		}, "2 names (hard links)"},
		{"immutable", func(t *testing.T, full string) { setFlags(t, full, 0x10) }, "it is immutable"},
		{"append-only", func(t *testing.T, full string) { setFlags(t, full, 0x20) }, "it is append-only"},
		{"bind mount of another file", func(t *testing.T, full string) { bind(t, full+"-new", full) }, "mounted in its place"},
		{"bind mount of itself", func(t *testing.T, full string) { bind(t, full, full) }, "mounted in its place"},
		{"named pipe", func(t *testing.T, full string) {
			must(t, os.Remove(full))
			must(t, unix.Mkfifo(full, 0o600))
		}, "a named pipe"},
		{"socket", func(t *testing.T, full string) {
			must(t, os.Remove(full))
			must(t, unix.Mknod(full, unix.S_IFSOCK|0o600, 0))
		}, "a socket"},
		{"device", func(t *testing.T, full string) {
			must(t, os.Remove(full))
			must(t, unix.Mknod(full, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		}, "a device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, dir := newRoot(t)
			full := put(t, dir, manifest, "before")
			put(t, dir, "/etc/kubernetes/new", "new")
			must(t, unix.Setxattr(full, "user.keep", []byte("1"), 0))
			tt.make(t, full)
			before := fingerprint(t, dir)
			for op, err := range writes(r, manifest) {
				t.Run(op, func(t *testing.T) { wantUnsafe(t, err, tt.why) })
			}
			if err := second(r.Create(manifest, 0o600)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Create: %v", err)
			}
			// Whoever asks beforehand gets the same answer.
			wantUnsafe(t, r.CheckReplace(manifest), tt.why)
			wantUnsafe(t, r.CheckAttributes(manifest), tt.why)
			if after := fingerprint(t, dir); after != before {
				t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func TestWritesRefuseUnsafeParents(t *testing.T) {
	asRoot(t)
	const dirPath = "/etc/kubernetes/manifests"
	for _, tt := range []struct {
		name string
		make func(t *testing.T, root string)
		why  string // empty: allowed
	}{
		{"world-writable", chmod("etc/kubernetes", 0o777), `"/etc/kubernetes" can be changed by others than root (mode 0777)`},
		{"group-writable", chmod("etc/kubernetes/manifests", 0o775), "can be changed by others than root (mode 0775)"},
		{"world-writable root", chmod("", 0o757), `"/" can be changed`},
		{"sticky of root", chmod("etc/kubernetes", 0o1777), ""},
		{"sticky of somebody", func(t *testing.T, root string) {
			chmod("etc/kubernetes", 0o1777)(t, root)
			must(t, os.Chown(filepath.Join(root, "etc/kubernetes"), 1000, 0))
		}, "belongs to uid 1000"},
		{"owned by somebody", func(t *testing.T, root string) {
			must(t, os.Chown(filepath.Join(root, "etc"), 1000, 0))
		}, `"/etc" belongs to uid 1000`},
		{"link of root", func(t *testing.T, root string) {
			relocate(t, root, "/opt/kubernetes")
		}, ""},
		{"link of somebody", func(t *testing.T, root string) {
			relocate(t, root, "/opt/kubernetes")
			must(t, os.Lchown(filepath.Join(root, "etc/kubernetes"), 1000, 1000))
		}, `the link "/etc/kubernetes" on the way belongs to uid 1000`},
		{"link of root through a writable directory", func(t *testing.T, root string) {
			relocate(t, root, "/opt/kubernetes")
			chmod("opt", 0o777)(t, root)
		}, `"/opt" can be changed`},
		{"link to a directory and back up", func(t *testing.T, root string) {
			relocate(t, root, "/opt/kubernetes")
			must(t, os.MkdirAll(filepath.Join(root, "tmp"), 0o755))
			chmod("tmp", 0o777)(t, root)
			must(t, os.Remove(filepath.Join(root, "etc/kubernetes")))
			must(t, os.Symlink("../tmp/../opt/kubernetes", filepath.Join(root, "etc/kubernetes")))
		}, `"/tmp" can be changed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, dir := newRoot(t)
			put(t, dir, manifest, "before")
			put(t, dir, dirPath+"/new", "after")
			tt.make(t, dir)
			if tt.why == "" {
				must(t, r.CheckReplace(manifest))
				must(t, r.CheckReplace(dirPath+"/made/file"))
				must(t, r.CheckAttributes(manifest))
				must(t, r.Chmod(manifest, 0o600))
				must(t, r.Rename(dirPath+"/new", manifest))
				return
			}
			before := fingerprint(t, dir)
			errs := writes(r, manifest)
			errs["Create"] = second(r.Create(dirPath+"/.temp", 0o600))
			errs["Mkdir"] = r.Mkdir(dirPath+"/dir", 0o700)
			for op, err := range errs {
				if op != "Rename over" { // its source may lie in the same place, and is refused first
					t.Run(op, func(t *testing.T) { wantUnsafe(t, err, tt.why) })
				}
			}
			wantUnsafe(t, r.Rename(dirPath+"/new", manifest), tt.why)
			for _, path := range []string{manifest, dirPath + "/made", dirPath + "/made/in/it"} {
				wantUnsafe(t, r.CheckReplace(path), tt.why)
			}
			wantUnsafe(t, r.CheckAttributes(manifest), tt.why)
			if after := fingerprint(t, dir); after != before {
				t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
			}
			if data, err := r.Read(manifest); string(data) != "before" || err != nil {
				t.Errorf("reading is refused too: %q, %v", data, err)
			}
		})
	}
}

// Without root's rights, on a root of one's own, what belongs to oneself is as safe as what belongs to root.
func TestOwnDirectoriesAreTrusted(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, manifest, "before")
	must(t, os.Chown(filepath.Join(dir, "etc/kubernetes"), 1000, 1000))
	wantUnsafe(t, r.Chmod(manifest, 0o600), "belongs to uid 1000")
	r.euid = 1000
	must(t, r.Chmod(manifest, 0o600))
	chmod("etc/kubernetes", 0o1777)(t, dir)
	wantUnsafe(t, r.Chmod(manifest, 0o600), "can be changed by others than root")
}

func TestImmutableDirectoryKeepsItsEntries(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, manifest, "before")
	setFlags(t, filepath.Join(dir, filepath.Dir(manifest)), 0x10)
	const why = `the directory "/etc/kubernetes/manifests" is immutable`
	wantUnsafe(t, second(r.Create(filepath.Dir(manifest)+"/.new", 0o600)), why)
	wantUnsafe(t, r.Mkdir(filepath.Dir(manifest)+"/new", 0o700), why)
	wantUnsafe(t, r.Remove(manifest), why)
	wantUnsafe(t, r.Rename(manifest, "/etc/x"), why)
	wantUnsafe(t, r.CheckReplace(manifest), why)
	wantUnsafe(t, r.CheckReplace(filepath.Dir(manifest)+"/new/file"), why)
	must(t, r.CheckAttributes(manifest))
	must(t, r.Chmod(manifest, 0o600))
}

func TestWhatCannotBeWrittenIsKnownBeforehand(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, manifest, "before")
	must(t, os.Symlink("nowhere", filepath.Join(dir, "etc/dangling")))
	wantUnsafe(t, r.CheckReplace("/etc/dangling/file"), "a symbolic link")
	wantUnsafe(t, r.CheckReplace("/"), "the root itself")
	if err := r.CheckReplace(manifest + "/below"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if err := r.CheckAttributes("/etc/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("attributes of a missing path: %v", err)
	}
	full := filepath.Join(dir, "etc/kubernetes")
	must(t, unix.Mount(full, full, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(full, unix.MNT_DETACH)) })
	must(t, unix.Mount("", full, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	if err := r.CheckReplace(manifest); !errors.Is(err, unix.EROFS) {
		t.Errorf("a read-only mount: %v", err)
	}
}

// A change of a mode alone was planned on a read-only file system, and failed once it was made.
func TestAModeOnAReadOnlyFileSystemWasTakenForChangeable(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	put(t, dir, manifest, "before")
	full := filepath.Join(dir, "etc/kubernetes")
	must(t, unix.Mount(full, full, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(full, unix.MNT_DETACH)) })
	must(t, r.CheckAttributes(manifest))
	must(t, r.CheckAttributes("/etc/kubernetes"))
	must(t, unix.Mount("", full, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	for _, p := range []string{manifest, "/etc/kubernetes"} {
		if err := r.CheckAttributes(p); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// The flags have to be seen through statx and, where a file system leaves them out there, through the ioctl.
func TestBothWaysToSeeFlagsAgree(t *testing.T) {
	asRoot(t)
	_, dir := newRoot(t)
	for i, flags := range []uint32{0, 0x10, 0x20} {
		full := put(t, dir, fmt.Sprintf("etc/file%d", i), "")
		setFlags(t, full, flags)
		st, err := statAt(unix.AT_FDCWD, full)
		must(t, err)
		seen, err := inodeFlags(unix.AT_FDCWD, full, st)
		must(t, err)
		st.Attributes_mask = 0
		asked, err := inodeFlags(unix.AT_FDCWD, full, st)
		must(t, err)
		if want := uint64(flags); seen != want || asked != want { // statx and linux/fs.h number them alike
			t.Errorf("flags %#x are seen as %#x by statx and %#x by ioctl", want, seen, asked)
		}
	}
	if flags, err := inodeFlags(unix.AT_FDCWD, "/proc/self/status", unix.Statx_t{}); flags != 0 || err != nil {
		t.Errorf("a file system without flags: %#x, %v", flags, err)
	}
}

// Kernels that do not number mounts in statx are asked through proc.
func TestMountsAreSeenWithoutStatx(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	full := put(t, dir, manifest, "before")
	for _, mounted := range []bool{false, true} {
		if mounted {
			bind(t, full, full)
		}
		tr, base, err := r.walk(manifest, true, false)
		must(t, err)
		st, err := statAt(tr.top().fd, base)
		must(t, err)
		st.Mask &^= unix.STATX_MNT_ID
		if got, err := tr.isMount(base, st); got != mounted || err != nil {
			t.Errorf("isMount = %v, %v; want %v", got, err, mounted)
		}
		tr.close()
	}
}

func TestFilePlantedInSharedDirectory(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	full := put(t, dir, "run/lock", "planted")
	must(t, os.Chown(full, 1000, 1000))
	chmod("run", 0o1777)(t, dir)
	for op, err := range map[string]error{"Append": second(r.Append("/run/lock")), "Remove": r.Remove("/run/lock"), "Lock": lock(r, "/run/lock")} {
		t.Run(op, func(t *testing.T) { wantUnsafe(t, err, "belongs to uid 1000 and lies in") })
	}
}

func TestReadsNeverBlockNorExhaustMemory(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	huge := put(t, dir, "etc/huge", "")
	must(t, os.Truncate(huge, 1<<30))
	must(t, unix.Mkfifo(filepath.Join(dir, "etc/fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "etc/zero"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	put(t, dir, "etc/small", strings.Repeat("x", 100))
	for _, name := range []string{"huge", "fifo", "zero"} {
		must(t, os.Symlink(name, filepath.Join(dir, "etc/link-"+name)))
	}
	for path, why := range map[string]string{
		"huge": "files above 16777216 are not read", "fifo": "a named pipe", "zero": "a device",
	} {
		wantUnsafe(t, second(r.ReadFile("/etc/"+path)), why)
		wantUnsafe(t, second(r.State("/etc/"+path)), why)
		wantUnsafe(t, second(r.Read("/etc/"+path)), why)
		wantUnsafe(t, second(r.Read("/etc/link-"+path)), why)
		wantUnsafe(t, second(r.ReadFile("/etc/link-"+path)), "a symbolic link")
	}
	r.MaxFile = 100
	if data, err := r.ReadFile("/etc/small"); len(data) != 100 || err != nil {
		t.Errorf("a file of exactly the limit: %d bytes, %v", len(data), err)
	}
	r.MaxFile = 99
	wantUnsafe(t, second(r.ReadFile("/etc/small")), "not read")

	// Files of proc say that they are empty.
	live, err := OpenRoot("/")
	must(t, err)
	defer live.Close()
	live.MaxFile = 16
	wantUnsafe(t, second(live.Read("/proc/self/status")), "not read")
}

func TestStrangeNames(t *testing.T) {
	r, _ := newRoot(t)
	const strange = "/etc/a\nb\x1b[2J\xff\u202e'\"$(reboot)"
	f, err := r.Create(strange, 0o600)
	must(t, err)
	must(t, f.Close())
	if names, err := r.ReadDir("/etc"); err != nil || names[0] != strange[5:] {
		t.Errorf("ReadDir = %q, %v", names, err)
	}
	for op, err := range map[string]error{
		"Create": second(r.Create(strange, 0o600)), "Read": second(r.Read(strange + "x")), "Truncate": r.Truncate(strange+"x", 1),
		"below": second(r.ReadFile(strange + "/x")), "Write": second(f.Write([]byte("x"))), "Free": second(r.FreeBytes(strange + "/..")),
		"Lock": lock(r, strange+"/x"),
	} {
		if err == nil || strings.ContainsAny(err.Error(), "\n\x1b\u202e") || strings.Contains(err.Error(), "\xff") {
			t.Errorf("%s: message is not inert: %q", op, err)
		}
	}
	must(t, r.Remove(strange))
}

// Somebody swaps a parent directory for a link out of the root while files are being written.
func TestParentSwappedWhileWriting(t *testing.T) {
	r, dir := newRoot(t)
	outside := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(outside, "manifests"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(dir, "etc/other")))
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "etc/kubernetes"), unix.AT_FDCWD, filepath.Join(dir, "etc/other"), unix.RENAME_EXCHANGE)
			}
		}
	})
	written := 0
	for i := range 3000 {
		path := fmt.Sprintf("/etc/kubernetes/manifests/file%d", i)
		f, err := r.Create(path, 0o600)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Create: %v", err)
			}
			continue
		}
		written++
		must(t, f.Close())
		_ = r.Rename(path, path+"-renamed")
	}
	close(stop)
	swapping.Wait()
	escaped, err := os.ReadDir(filepath.Join(outside, "manifests"))
	must(t, err)
	if len(escaped) != 0 {
		t.Errorf("%d files were written outside the root", len(escaped))
	}
	if written == 0 {
		t.Error("no write ever met the directory: the race tests nothing")
	}
}

func chmod(path string, mode uint32) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		must(t, unix.Chmod(filepath.Join(root, path), mode))
	}
}

// relocate moves /etc/kubernetes to another place in the root and leaves a link.
func relocate(t *testing.T, root, to string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(to)), 0o755))
	must(t, os.Rename(filepath.Join(root, "etc/kubernetes"), filepath.Join(root, to)))
	must(t, os.Symlink(to, filepath.Join(root, "etc/kubernetes")))
}

func bind(t *testing.T, from, to string) {
	t.Helper()
	if from != to {
		must(t, os.WriteFile(from, []byte("mounted"), 0o644))
	}
	must(t, unix.Mount(from, to, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(to, unix.MNT_DETACH)) })
}

func setFlags(t *testing.T, full string, flags uint32) {
	t.Helper()
	set := func(flags uint32) {
		f, err := os.Open(full)
		must(t, err)
		defer f.Close()
		now, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		must(t, err)
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(now&^0x30|flags)))
	}
	set(flags)
	t.Cleanup(func() { set(0) })
}

// fingerprint tells everything about a tree that a write could change.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %o %d:%d %d", path, st.Mode, st.Uid, st.Gid, st.Nlink)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			attrs := make([]byte, 256)
			n, _ := unix.Llistxattr(path, attrs)
			names := strings.Split(string(attrs[:max(n, 0)]), "\x00")
			slices.Sort(names)
			fmt.Fprintf(&out, " %q %q", data, names)
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&out, " -> %q", target)
		}
		out.WriteByte('\n')
		return nil
	}))
	return out.String()
}
