package cli

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The demo needs no root. It runs in real time here, as another process of another user.
func TestDemoAsAnybody(t *testing.T) {
	base, err := os.MkdirTemp("/tmp", "demo-as-anybody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	binary := copyProgram(t, base)
	const nobody = 65534
	for _, flag := range []string{"--yes", "--fail"} {
		t.Run(flag, func(t *testing.T) {
			dir := filepath.Join(base, strings.Trim(flag, "-"))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(binary, "demo", flag)
			cmd.Dir, cmd.Env = "/", append(os.Environ(), "TMPDIR="+dir)
			if os.Geteuid() == 0 && manyUsers() {
				if err := os.Chown(dir, nobody, nobody); err != nil {
					t.Fatal(err)
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			inOrder(t, string(out), "\nProof\n", "Everything is as it was.")
			sameDigests(t, string(out))
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// manyUsers says whether there are others than root: in a namespace made for these tests there are none.
func manyUsers() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(ids))
	return err == nil && len(f) >= 3 && (len(f) > 3 || f[2] != "1")
}

// copyProgram puts the test binary, which is the program under that name, where everybody can run it.
func copyProgram(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	name := filepath.Join(dir, program)
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
