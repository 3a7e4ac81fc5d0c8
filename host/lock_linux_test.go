package host

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
)

var _ backups.FS = (*Root)(nil)

// TestMain can be another process that holds a lock until its standard input ends.
func TestMain(m *testing.M) {
	if dir := os.Getenv("HOST_TEST_DISARM"); dir != "" {
		if err := disarmFrom(dir); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	if root := os.Getenv("HOST_TEST_LOCK_ROOT"); root != "" {
		r, err := OpenRoot(root)
		if err == nil {
			_, _, err = r.Lock("/run/lock", []byte("pid 1, plan 2"))
		}
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("locked\n")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	r, dir := newRoot(t)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "HOST_TEST_LOCK_ROOT="+dir)
	in, err := other.StdinPipe()
	must(t, err)
	out, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process says %q", line)
	}

	_, holder, err := r.Lock("/run/lock", []byte("us"))
	if !errors.Is(err, backups.ErrLocked) || string(holder) != "pid 1, plan 2" {
		t.Errorf("while another process holds it: holder %q, %v", holder, err)
	}

	must(t, in.Close()) // it ends without unlocking, as a killed process would
	must(t, other.Wait())
	look, _, err := r.Lock("/run/lock", nil)
	must(t, err)
	must(t, look())
	if data, err := os.ReadFile(filepath.Join(dir, "run/lock")); err != nil || string(data) != "pid 1, plan 2" {
		t.Errorf("after a look at the lock the file is %q, %v", data, err)
	}
	unlock, _, err := r.Lock("/run/lock", []byte("us"))
	must(t, err)
	if _, holder, err := r.Lock("/run/lock", nil); !errors.Is(err, backups.ErrLocked) || string(holder) != "us" {
		t.Errorf("while we hold it: holder %q, %v", holder, err)
	}
	must(t, unlock())
	data, err := os.ReadFile(filepath.Join(dir, "run/lock"))
	if err != nil || len(data) != 0 {
		t.Errorf("after unlock the file is %q, %v", data, err)
	}
	if info, _ := r.Stat("/run/lock"); info.Mode != 0o600 {
		t.Errorf("the lock has mode %04o", info.Mode)
	}
	again, _, err := r.Lock("/run/lock", nil)
	must(t, err)
	must(t, again())
}
