package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MemAvailable is how much memory of the running machine can be had without swapping, in bytes.
func (r *Root) MemAvailable() (uint64, error) {
	if r.Proc == "" {
		return 0, ErrOffline
	}
	data, err := os.ReadFile(path.Join(r.Proc, "meminfo"))
	if err != nil {
		return 0, fmt.Errorf("reading the memory: %w", cause(err))
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			return kibibytes(rest)
		}
	}
	return 0, errors.New("reading the memory: the kernel does not tell what is available")
}

// bootedDir is made by systemd for those who ask whether it runs the machine.
const bootedDir = "/run/systemd/system"

// SystemdRuns says whether systemd runs the machine, by that directory (sd_booted).
func (r *Root) SystemdRuns() bool {
	if r.Proc == "" {
		return false
	}
	info, err := r.Stat(bootedDir)
	return err == nil && info.Kind.IsDir()
}

// kibibytes reads "  1234 kB" as bytes.
func kibibytes(s string) (uint64, error) {
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, err := strconv.ParseUint(number, 10, 54)
	if err != nil || unit != "kB" {
		return 0, fmt.Errorf("reading the memory: %q is no number of kB", strings.TrimSpace(s))
	}
	return n << 10, nil
}

// firstPort is where free ports are looked for: above the usual ones of control planes, below those of Services.
const (
	firstPort = 16443
	lastPort  = 29999
)

// FreePort finds a port that nobody listens on, that the kernel gives to no client by itself, and that is none of those taken.
func (r *Root) FreePort(taken []int) (int, error) {
	if r.Proc == "" {
		return 0, ErrOffline
	}
	span, err := r.Sysctl("net.ipv4.ip_local_port_range")
	if err != nil {
		return 0, err
	}
	var low, high int
	if _, err := fmt.Sscan(span, &low, &high); err != nil {
		return 0, fmt.Errorf("reading the range of local ports: %q is none", span)
	}
	listening := map[int]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		if err := portsInUse(path.Join(r.Proc, "net", table), listening); err != nil {
			return 0, err
		}
	}
	for port := firstPort; port <= lastPort; port++ {
		if port >= low && port <= high || listening[port] || slices.Contains(taken, port) {
			continue
		}
		// The last word has the kernel: a connection that is not quite over may hold the port.
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("from %d to %d no port is free that is not in the range of local ports, %d to %d", firstPort, lastPort, low, high)
}

// portsInUse adds the local ports of a table of sockets, whatever their state.
func portsInUse(file string, into map[int]bool) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no IPv6
	}
	if err != nil {
		return fmt.Errorf("reading the sockets: %w", cause(err))
	}
	for i, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) < 4 {
			continue
		}
		_, hexPort, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hexPort, 16, 16)
		if err != nil {
			return fmt.Errorf("reading the sockets: %q is no port", hexPort)
		}
		into[int(port)] = true
	}
	return nil
}

// portsAnnotation is where the kubelet notes the ports that a container declares.
const portsAnnotation = "io.kubernetes.container.ports"

// DeclaredPorts are the ports of the host that containers declare, running ones and others.
func DeclaredPorts(containers []Container) []int {
	var out []int
	for _, c := range containers {
		var ports []struct {
			HostPort int `json:"hostPort"`
		}
		if json.Unmarshal([]byte(c.Annotations[portsAnnotation]), &ports) != nil {
			continue
		}
		for _, p := range ports {
			if p.HostPort > 0 {
				out = append(out, p.HostPort)
			}
		}
	}
	return out
}

// scratch is where programs that are asked about a configuration may write. It does not outlive the boot.
const scratch = "/run/kubectl-harden-rehearsal"

// AskProgram runs a program of the running machine and returns what it says, in an environment of its own. With config it
// finds that content behind the flag; what it writes by itself it writes where it is removed. That the program failed is told
// by code, not by err.
func (r *Root) AskProgram(ctx context.Context, argv []string, flag string, config []byte) (output string, code int, err error) {
	if r.Proc == "" {
		return "", 0, ErrOffline
	}
	if len(argv) == 0 || !path.IsAbs(argv[0]) {
		return "", 0, fmt.Errorf("asking a program: %q is not the path of one", argv)
	}
	if config != nil {
		if err := os.RemoveAll(scratch); err != nil {
			return "", 0, fmt.Errorf("asking %s: %w", path.Base(argv[0]), cause(err))
		}
		defer os.RemoveAll(scratch)
		if err := os.Mkdir(scratch, 0o700); err != nil {
			return "", 0, fmt.Errorf("asking %s: %w", path.Base(argv[0]), cause(err))
		}
		file := path.Join(scratch, "config")
		if err := os.WriteFile(file, config, 0o600); err != nil {
			return "", 0, fmt.Errorf("asking %s: %w", path.Base(argv[0]), cause(err))
		}
		argv = append(slices.Clone(argv), "--"+flag+"="+file, "--cert-dir="+scratch)
	}
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// Nothing of systemd's: a program that finds its socket would speak for the live one.
	c.Env = []string{"LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("asking %s: %w", path.Base(argv[0]), ctx.Err())
	case errors.As(err, &exit) && exit.Exited():
		return out.String(), exit.ExitCode(), nil
	case err != nil:
		return "", 0, fmt.Errorf("asking %s: %w", path.Base(argv[0]), cause(err))
	}
	return out.String(), 0, nil
}
