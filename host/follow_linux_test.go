package host

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestListens(t *testing.T) {
	// A child whose only socket is the one that it is given.
	child := func(l net.Listener) *exec.Cmd {
		t.Helper()
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		defer f.Close()
		c := exec.Command("cat")
		c.ExtraFiles = []*os.File{f}
		in, err := c.StdinPipe()
		must(t, err)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		t.Cleanup(func() { in.Close(); c.Wait() })
		_, err = in.Write([]byte("x"))
		must(t, err)
		_, err = io.ReadFull(out, make([]byte, 1)) // it runs
		must(t, err)
		return c
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, "localhost:0")
		if err != nil {
			t.Logf("not tested with %s: %v", network, err)
			continue
		}
		c := child(l)
		must(t, l.Close())
		if yes, err := Listens("/proc", c.Process.Pid); err != nil || !yes {
			t.Errorf("%s: %t %v", network, yes, err)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	// A connection is no listener.
	conn, err := net.Dial("tcp4", l.Addr().String())
	must(t, err)
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	must(t, err)
	defer f.Close()
	c := exec.Command("cat")
	c.ExtraFiles = []*os.File{f}
	in, err := c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Wait() })
	if yes, err := Listens("/proc", c.Process.Pid); err != nil || yes {
		t.Errorf("a connection: %t %v", yes, err)
	}
	if _, err := Listens(filepath.Join(t.TempDir(), "proc"), 1); err == nil {
		t.Error("a process that is not there does not listen")
	}
}

func TestPodCgroups(t *testing.T) {
	const v1 = "kubepods/burstable/pod" + staticUID
	const v2 = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + staticUID + ".slice"
	id := strings.Repeat("ab", 32)
	for _, row := range []struct {
		name, cgroup string
		made, want   string
	}{
		{"version 1", "5:cpuset:/" + v1 + "/" + id + "\n3:memory:/" + v1 + "/" + id + "\n1:name=systemd:/" + v1 + "/" + id + "\n0::/\n",
			"memory/" + v1 + " systemd/" + v1 + " unified", "memory/" + v1 + " systemd/" + v1},
		{"version 2", "0::/" + v2 + "/cri-containerd-" + id + ".scope\n", v2, v2},
		{"both", "3:memory:/" + v1 + "/" + id + "\n0::/" + v1 + "/" + id + "\n", "memory/" + v1 + " unified/" + v1, "memory/" + v1 + " unified/" + v1},
		{"not of a pod", "0::/system.slice/kubelet.service\n", "system.slice/kubelet.service", ""},
		{"seen from another namespace", "0::/../../" + v2 + "/cri-containerd-" + id + ".scope\n", "", ""},
		{"it was removed", "0::/" + v2 + "/cri-containerd-" + id + ".scope\n", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			proc, sys := t.TempDir(), t.TempDir()
			put(t, proc, "7/cgroup", row.cgroup)
			for dir := range strings.FieldsSeq(row.made) {
				must(t, os.MkdirAll(filepath.Join(sys, "fs/cgroup", dir), 0o755))
			}
			got, err := PodCgroups(proc, sys, 7)
			must(t, err)
			var want []string
			for dir := range strings.FieldsSeq(row.want) {
				want = append(want, filepath.Join(sys, "fs/cgroup", dir))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
	if _, err := PodCgroups(t.TempDir(), t.TempDir(), 7); err == nil {
		t.Error("no process, and no error")
	}
}
