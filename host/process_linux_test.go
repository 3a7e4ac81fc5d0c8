package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func live(t testing.TB) *Root {
	t.Helper()
	r, err := OpenRoot("/")
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRealChildren(t *testing.T) {
	asRoot(t)
	r := live(t)
	name := fmt.Sprintf("child-of-%d", os.Getpid())
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o711)) // another user runs it
	program := filepath.Join(dir, name)
	cat, err := exec.LookPath("cat")
	must(t, err)
	data, err := os.ReadFile(cat)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	before := time.Now()

	plain := exec.Command(program, "-", "")
	titled := exec.Command(cat, "-")
	titled.Args[0] = "/somewhere/" + name
	for _, c := range []*exec.Cmd{plain, titled} {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
		in, err := c.StdinPipe()
		must(t, err)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		t.Cleanup(func() { in.Close(); c.Wait() })
		_, err = in.Write([]byte("x")) // it echoes once it runs the right program
		must(t, err)
		_, err = out.Read(make([]byte, 1))
		must(t, err)
	}
	must(t, os.Remove(program))

	found, err := r.Processes(name)
	must(t, err)
	if len(found) != 2 {
		t.Fatalf("found %+v", found)
	}
	byPID := map[int]Process{found[0].PID: found[0], found[1].PID: found[1]}
	p, q := byPID[plain.Process.Pid], byPID[titled.Process.Pid]
	if p.Exe != program || !reflect.DeepEqual(p.Argv, plain.Args) || p.UID != 1234 {
		t.Errorf("the first child is %+v", p)
	}
	if !reflect.DeepEqual(q.Argv, titled.Args) {
		t.Errorf("the second child is %+v", q)
	}
	// btime counts whole seconds.
	if p.Started.Before(before.Add(-3*time.Second)) || p.Started.After(time.Now().Add(3*time.Second)) {
		t.Errorf("started at %v, made at %v", p.Started, before)
	}
}

func TestManyArguments(t *testing.T) {
	r := live(t)
	cat, err := exec.LookPath("cat")
	must(t, err)
	c := exec.Command(cat)
	c.Args = append([]string{fmt.Sprintf("many-of-%d", os.Getpid())}, strings.Split(strings.Repeat("- ", 32<<10), " ")[:32<<10]...)
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Wait() })
	_, err = in.Write([]byte("x"))
	must(t, err)
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	found, err := r.Processes(c.Args[0])
	if err != nil || len(found) != 1 || !reflect.DeepEqual(found[0].Argv, c.Args) {
		t.Errorf("found %d processes, %v", len(found), err)
	}
}

// The kubelet that runs is asked, not the one that a package has put in its place.
func TestVersionOfAProgramThatWasReplaced(t *testing.T) {
	r := live(t)
	dir := t.TempDir()
	program := filepath.Join(dir, fmt.Sprintf("versioned-%d", os.Getpid()))
	cat, err := exec.LookPath("cat")
	must(t, err)
	data, err := os.ReadFile(cat)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	c := exec.Command(program)
	in, err := c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	ended := false
	end := func() {
		if !ended {
			ended = true
			in.Close()
			must(t, c.Wait())
		}
	}
	t.Cleanup(end)
	want, err := exec.Command(cat, "--version").Output()
	must(t, err)
	first, _, _ := strings.Cut(string(want), "\n")
	must(t, os.Remove(program))
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho new\n"), 0o755))
	found, err := r.Processes(filepath.Base(program))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("found %+v", found)
	}
	if got, err := r.ProgramVersion(t.Context(), found[0]); got != first || err != nil {
		t.Errorf("version %q, %v; want %q", got, err, first)
	}
	later := found[0]
	later.Ticks++
	if got, err := r.ProgramVersion(t.Context(), later); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a later process with that number: %q, %v", got, err)
	}
	end()
	if got, err := r.ProgramVersion(t.Context(), found[0]); err == nil {
		t.Errorf("of a process that has ended: %q", got)
	}
	if _, err := (&Root{}).ProgramVersion(t.Context(), found[0]); !errors.Is(err, ErrOffline) {
		t.Errorf("of an offline root: %v", err)
	}
}

func TestMachineIdentity(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	r, dir := newRoot(t)
	if _, err := r.MachineID(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no machine id: %v", err)
	}
	put(t, dir, "var/lib/dbus/machine-id", id+"\n")
	if got, err := r.MachineID(); got != id || err != nil {
		t.Errorf("MachineID = %q, %v", got, err)
	}
	put(t, dir, "etc/machine-id", "uninitialized\n")
	if got, err := r.MachineID(); err == nil {
		t.Errorf("an unset machine id is read as %q", got)
	}
	put(t, dir, "etc/hostname", "# name\n\n cp1 \n")
	if got, err := r.Hostname(); got != "cp1" || err != nil {
		t.Errorf("Hostname = %q, %v", got, err)
	}
	name, err := os.Hostname()
	must(t, err)
	if got, err := live(t).Hostname(); got != name || err != nil {
		t.Errorf("this machine is %q, %v; want %q", got, err, name)
	}
}

func BenchmarkProcesses(b *testing.B) {
	r := live(b)
	for b.Loop() {
		if _, err := r.Processes("kube-apiserver"); err != nil {
			b.Fatal(err)
		}
	}
}
