//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is one machine of a cluster.
type Node struct {
	cluster *Cluster
	name    string
	address string
}

// Name is the node's host name and its name in Kubernetes.
func (n *Node) Name() string { return n.name }

// Address is the node's IP address, reachable from the cluster's own network only.
func (n *Node) Address() string { return n.address }

func (n *Node) dir() string         { return filepath.Join(n.cluster.cfg.stateDir(), n.name) }
func (n *Node) root() string        { return filepath.Join(n.dir(), "root") }
func (n *Node) consoleFile() string { return filepath.Join(n.dir(), "console.log") }
func (n *Node) machineFile() string { return filepath.Join(n.dir(), "machine.json") }

// machine is what is remembered of a booted node.
type machine struct {
	Supervisor process // the shell that runs systemd-nspawn
	Init       process // PID 1 of the node, as seen from here
	Cgroups    []string
	Booted     time.Time
}

// process is a process id that cannot be mistaken for a later process of that id.
type process struct {
	PID   int
	Start string
}

// Boot starts a node that was killed or shut down, and waits until systemd has started its units.
func (n *Node) Boot(ctx context.Context) error {
	if n.running() {
		return fmt.Errorf("node %s is running", n.name)
	}
	m, err := n.spawn(ctx)
	if err != nil {
		return err
	}
	if err := writeJSON(n.machineFile(), m); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// D-Bus, which systemctl asks, is itself one of the units.
	for {
		out, _ := n.Run(ctx, "systemctl", "is-system-running", "--wait")
		switch strings.TrimSpace(string(out)) {
		case "running", "degraded":
			return nil
		}
		if !m.Init.alive() {
			return fmt.Errorf("systemd ended; the last lines of %s:\n%s", n.consoleFile(), lastLines(n.consoleFile(), 20))
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("systemd did not finish booting: %w; the last lines of %s:\n%s", err, n.consoleFile(),
				lastLines(n.consoleFile(), 20))
		}
	}
}

func (n *Node) bootIfDown(ctx context.Context) error {
	if n.running() {
		return nil
	}
	return n.cluster.step("booting "+n.name, func() error { return n.Boot(ctx) })
}

func (n *Node) running() bool {
	m, err := n.machine()
	return err == nil && m.Supervisor.alive()
}

// Kill ends all processes of the node at once, as a power cut would; Boot starts it again.
func (n *Node) Kill(ctx context.Context) error {
	m, err := n.machine()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// The kernel ends all processes of the node with its init, and systemd-nspawn cleans up.
	if m.Init.alive() {
		err = m.Init.kill()
	} else {
		err = m.Supervisor.killGroup()
	}
	if err != nil {
		return fmt.Errorf("killing node %s: %w", n.name, err)
	}
	return n.waitGone(ctx, m)
}

// Stop shuts the node down as an operator would; Boot starts it again.
func (n *Node) Stop(ctx context.Context) error {
	m, err := n.machine()
	if err != nil {
		return err
	}
	if _, err := n.Run(ctx, "systemctl", "poweroff"); err != nil && m.Init.alive() {
		return fmt.Errorf("shutting down node %s: %w", n.name, err)
	}
	return n.waitGone(ctx, m)
}

func (n *Node) waitGone(ctx context.Context, m machine) error {
	// systemd gives stubborn processes 90 seconds.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for m.Init.alive() || m.Supervisor.alive() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for the end of node %s (process %d): %w", n.name, m.Supervisor.PID, err)
		}
	}
	return removeCgroups(ctx, m.Cgroups)
}

// Command prepares a command in the node, as root, in all of its namespaces. Its input and output are the caller's to set.
func (n *Node) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	m, err := n.machine()
	if err != nil || !m.Init.alive() {
		return nil, fmt.Errorf("node %s: %w", n.name, ErrNotRunning)
	}
	// The shell forks, as nsenter would by itself: but nsenter, being outside, stops with a child that a shutdown stops, is
	// never continued, and by not reaping it keeps the node from ending.
	argv := []string{"-t", strconv.Itoa(m.Init.PID), "-a", "--no-fork", "env", "--chdir=/root", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LANG=C.UTF-8",
		"TERM=" + os.Getenv("TERM"), "KUBECONFIG=/etc/kubernetes/admin.conf", "sh", "-c", `"$@"; exit $?`, "sh", name}
	return exec.CommandContext(ctx, "nsenter", append(argv, args...)...), nil
}

// Run runs a command in the node and returns what it wrote to stdout; what it wrote to stderr is in the error.
func (n *Node) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return n.RunInput(ctx, nil, name, args...)
}

// RunInput is Run with something on stdin.
func (n *Node) RunInput(ctx context.Context, stdin io.Reader, name string, args ...string) ([]byte, error) {
	cmd, err := n.Command(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	// The command is a child: it is ended with the whole process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %s: %w: %s", n.name, name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// CopyIn copies a file into the node, with its permissions, to a path or into a directory that exists or ends in a slash.
func (n *Node) CopyIn(ctx context.Context, src, dst string) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("copying %s: not a file", src)
	}
	if strings.HasSuffix(dst, "/") {
		dst += filepath.Base(src)
	}
	mode := fmt.Sprintf("%04o", info.Mode().Perm())
	// install replaces the file, so that a running program can be copied over.
	script := `[ ! -d "$2" ] || set -- "$1" "$2/$3"; exec install -D -m "$1" /dev/stdin "$2"`
	if _, err := n.RunInput(ctx, f, "sh", "-c", script, "copy", mode, dst, filepath.Base(src)); err != nil {
		return fmt.Errorf("copying %s to %s: %w", src, dst, err)
	}
	return nil
}

// CopyOut copies a file out of the node.
func (n *Node) CopyOut(ctx context.Context, src, dst string) error {
	data, err := n.Run(ctx, "cat", src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o600)
}

// Journal returns the node's journal since its last boot, of the given units or of all.
func (n *Node) Journal(ctx context.Context, units ...string) ([]byte, error) {
	args := []string{"--no-pager", "--boot", "--output=short-precise"}
	for _, u := range units {
		args = append(args, "--unit="+u)
	}
	return n.Run(ctx, "journalctl", args...)
}

// PodLogs returns the last lines of all container logs of the node, those of ended containers too. It needs no API server.
func (n *Node) PodLogs(ctx context.Context) ([]byte, error) {
	return n.Run(ctx, "sh", "-c", `cd /var/log/pods && find . -name '*.log' -exec tail -n 40 -v {} +`)
}

// machine returns what runs. After a reboot from inside it is another init below the same supervisor.
func (n *Node) machine() (machine, error) {
	var m machine
	if err := readJSON(n.machineFile(), &m); err != nil {
		return m, err
	}
	if m.Init.alive() || !m.Supervisor.alive() {
		return m, nil
	}
	init, err := initOf(m.Supervisor.PID)
	if err != nil {
		return m, nil // between two inits, or just ending
	}
	m.Init, m.Booted = init, time.Now()
	return m, writeJSON(n.machineFile(), m)
}

func lastLines(file string, n int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
