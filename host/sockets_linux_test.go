package host

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
