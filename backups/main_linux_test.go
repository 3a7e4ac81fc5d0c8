package backups_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// childVar makes this binary the process that is killed, or the setfattr command.
const childVar = "BACKUPS_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(job, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(job string, args []string) error {
	switch job {
	case "setfattr":
		return setfattr(args)
	case "race":
		return race(args[0], args[1])
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	real := backupstest.OS{Root: args[0], NoSync: true}
	return script(job, onDisk(real), open(killer(real, args[1], n)))
}

// script is one of the runs that a child does.
func script(job string, s scenario, store *backups.Store) error {
	switch job {
	case "commit":
		return s.commit(store)
	case "rollback":
		return s.rollback(store)
	case "settle":
		return settle(store)
	}
	return errors.New("unknown job " + job)
}

// killer ends this process, with SIGKILL, before, after or in the middle of operation n.
func killer(fsys backups.FS, when string, n int) *backupstest.Watch {
	kill := func() {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return &backupstest.Watch{
		FS: fsys,
		Before: func(op backupstest.Op) error {
			switch {
			case op.N != n || when == "after":
				return nil
			case when == "half" && op.Name == "Write":
				return backupstest.Partly{N: op.Size / 2, Then: kill}
			}
			kill()
			return nil
		},
		After: func(op backupstest.Op) {
			if op.N == n && when == "after" {
				kill()
			}
		},
	}
}

// onDisk is the scenario as far as this user and file system can have it.
func onDisk(real backupstest.OS) scenario {
	return scenario{
		uid: os.Geteuid(), gid: os.Getegid(), odd: os.Geteuid() == 0,
		xattrs: unix.Lsetxattr(real.Root, "user.kubectl-harden-test", []byte("1"), 0) == nil,
	}
}

// realNode makes a fresh node in a directory, with a state directory's parents. Where every change is tested (CI), it has owners
// and extended attributes.
func realNode(t testing.TB, root string) (backupstest.OS, scenario) {
	t.Helper()
	real := backupstest.OS{Root: root, NoSync: true}
	must(t, os.MkdirAll(filepath.Join(root, "var/lib"), 0o755))
	s := onDisk(real)
	if os.Getenv("CI") != "" && !(s.odd && s.xattrs) {
		t.Fatalf("this test needs root (%v) and a file system with extended attributes (%v)", s.odd, s.xattrs)
	}
	must(t, s.build(real))
	return real, s
}

// scratch is a directory for many short-lived nodes, in memory where the system has that.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kubectl-harden-test-")
	if err != nil || !onDisk(backupstest.OS{Root: dir}).xattrs {
		os.RemoveAll(dir)
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs a child to its end and reports whether SIGKILL was that.
func startChild(job string, args ...string) (killed bool, err error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVar+"="+job)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false, nil
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		return true, nil
	}
	return false, fmt.Errorf("%s %v: %w: %s", job, args, err, out)
}

// setfattr does what restore.sh needs of the command, so that its tests run where that is not installed.
func setfattr(args []string) error {
	var name, file string
	var value []byte
	remove := false
	for len(args) > 1 {
		switch args[0] {
		case "-n":
			name = args[1]
		case "-x":
			name, remove = args[1], true
		case "-v":
			digits, ok := strings.CutPrefix(args[1], "0x")
			if !ok {
				return errors.New("setfattr: not hexadecimal")
			}
			var err error
			if value, err = hex.DecodeString(digits); err != nil {
				return err
			}
		}
		args = args[2:]
	}
	file = args[0]
	if remove {
		err := unix.Lremovexattr(file, name)
		if errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("setfattr: %s: No such attribute", file)
		}
		return err
	}
	return unix.Lsetxattr(file, name, value, 0)
}
