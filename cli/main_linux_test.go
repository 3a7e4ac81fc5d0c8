package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// childrenEndAtOnce is for the race detector, which otherwise lets every process wait for a second at its end.
const childrenEndAtOnce = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	_ = os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" "+childrenEndAtOnce))
	if os.Geteuid() != 0 && filepath.Base(os.Args[0]) != program {
		os.Exit(asRoot())
	}
	// The fixtures' certificates end.
	observedAt = func(time.Time) time.Time { return hardentest.Now }
	testscript.Main(m, map[string]func(){
		program: func() {
			os.Exit(Run(context.Background(), Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
		},
	})
}

// asRoot runs the tests in a user namespace, where their files belong to root.
func asRoot() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "left out: these tests need root, or a user namespace:", err)
	if os.Getenv("CI") != "" {
		return 1
	}
	return 0
}

// tempRoot is a directory in memory where there is such a place: durability is proven elsewhere, and disks are slow.
func tempRoot(t *testing.T) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", program+"-test-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// makeRoot makes the files of a real node below dir, with their modes.
func makeRoot(t testing.TB, dir, minor string) error {
	base := filepath.Dir(hardentest.Root(t, minor))
	list, err := os.ReadFile(filepath.Join(base, "modes.tsv"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		name, mode, _ := strings.Cut(strings.TrimSpace(line), "\t")
		bits, err := strconv.ParseUint(mode, 8, 32)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
		} else {
			data, err := os.ReadFile(filepath.Join(base, "root", name))
			if os.IsNotExist(err) {
				continue // key files are not in the fixture
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(to, data, 0o600); err != nil {
				return err
			}
		}
		if err := os.Chmod(to, fs.FileMode(bits)); err != nil {
			return err
		}
	}
	return nil
}

// at are the flags for an offline root.
func at(root string, args ...string) []string {
	return append([]string{"--root", root, "--offline", "--no-cluster"}, args...)
}

// run runs the program in this process.
func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Run(context.Background(), Streams{In: strings.NewReader(""), Out: &out, Err: &err}, args)
	return code, out.String(), err.String()
}

// must runs the program and wants an exit code.
func must(t *testing.T, want int, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := run(args...)
	if code != want {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout
}

// entry is everything about a path that an undo has to bring back.
type entry struct {
	mode     uint32
	uid, gid uint32
	xattrs   string
	data     string // content, or where a link leads
}

// tree reads everything below root but our own state.
func tree(t testing.TB, root string) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if name == strings.TrimPrefix(defaultStateDir, "/") {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		e := entry{mode: st.Mode, uid: st.Uid, gid: st.Gid, xattrs: xattrs(p)}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			e.data = string(data)
		}
		out[name] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func xattrs(p string) string {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(p, names)
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(p, name, value); name != "" && err == nil {
			fmt.Fprintf(&out, "%s=%x ", name, value[:n])
		}
	}
	return out.String()
}

// differences says what is not the same in two trees.
func differences(before, after map[string]entry) []string {
	var out []string
	for p, b := range before {
		a, ok := after[p]
		switch {
		case !ok:
			out = append(out, p+" is gone")
		case a.data != b.data:
			out = append(out, p+" has another content")
		case a != b:
			out = append(out, fmt.Sprintf("%s: mode, owner or attributes were %v, are %v", p,
				[]any{fmt.Sprintf("%o", b.mode), b.uid, b.gid, b.xattrs}, []any{fmt.Sprintf("%o", a.mode), a.uid, a.gid, a.xattrs}))
		}
	}
	for p := range after {
		if _, ok := before[p]; !ok {
			out = append(out, p+" is new")
		}
	}
	return out
}
