package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// procRoot is a root whose proc file system a test writes.
func procRoot(t *testing.T) (*Root, string) {
	t.Helper()
	r, dir := newRoot(t)
	r.Proc = filepath.Join(dir, "proc")
	put(t, dir, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
	put(t, dir, "proc/meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:   2048 kB\n")
	put(t, dir, "proc/net/tcp", tcpTable(6443))
	return r, dir
}

func tcpTable(ports ...int) string {
	out := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for _, p := range ports {
		out += "   0: 0100007F:" + fmt.Sprintf("%04X", p) + " 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1\n"
	}
	return out
}

func TestMemAvailable(t *testing.T) {
	r, dir := procRoot(t)
	if n, err := r.MemAvailable(); err != nil || n != 2<<20 {
		t.Errorf("%d %v", n, err)
	}
	for _, text := range []string{"MemFree: 1 kB\n", "MemAvailable: lots kB\n", "MemAvailable: 1 MB\n", ""} {
		put(t, dir, "proc/meminfo", text)
		if n, err := r.MemAvailable(); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
	if got := parseResident([]byte("Name:\tx\nVmRSS:\t   1024 kB\n")); got != 1<<20 {
		t.Errorf("resident %d", got)
	}
	if got := parseResident([]byte("Name:\tkthreadd\n")); got != 0 {
		t.Errorf("resident %d of a kernel thread", got)
	}
}

func TestFreePort(t *testing.T) {
	r, dir := procRoot(t)
	first, err := r.FreePort(nil)
	must(t, err)
	if first < firstPort {
		t.Fatalf("port %d", first)
	}
	next := func(want string, taken ...int) int {
		t.Helper()
		got, err := r.FreePort(taken)
		must(t, err)
		if got <= first {
			t.Errorf("%s: port %d again", want, got)
		}
		return got
	}
	next("declared by a container", first)
	put(t, dir, "proc/net/tcp", tcpTable(6443, first))
	next("somebody listens")
	put(t, dir, "proc/net/tcp", tcpTable())
	put(t, dir, "proc/net/tcp6", tcpTable(first))
	next("somebody listens on IPv6")
	put(t, dir, "proc/net/tcp6", tcpTable())
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first)))
	must(t, err)
	next("the kernel does not give it")
	must(t, l.Close())
	put(t, dir, "proc/sys/net/ipv4/ip_local_port_range", "1024\t17000\n")
	if got := next("the kernel gives it to clients"); got != 17001 {
		t.Errorf("port %d", got)
	}
	put(t, dir, "proc/sys/net/ipv4/ip_local_port_range", "1024\t60999\n")
	if got, err := r.FreePort(nil); err == nil {
		t.Errorf("port %d from the range that the kernel gives to clients", got)
	}
}

func TestDeclaredPorts(t *testing.T) {
	got := DeclaredPorts([]Container{
		{Annotations: map[string]string{portsAnnotation: `[{"name":"probe-port","hostPort":6443,"containerPort":6443,"protocol":"TCP"},{"containerPort":53}]`}},
		{Annotations: map[string]string{portsAnnotation: "no JSON"}}, {},
	})
	if len(got) != 1 || got[0] != 6443 {
		t.Error(got)
	}
}

func TestAskProgram(t *testing.T) {
	asRoot(t)
	r := live(t)
	sh, err := exec.LookPath("sh")
	must(t, err)
	ctx := context.Background()
	out, code, err := r.AskProgram(ctx, []string{sh, "-c", "echo out; echo err >&2; env; exit 3"}, "", nil)
	if err != nil || code != 3 || !strings.HasPrefix(out, "out\nerr\n") || strings.Contains(out, "NOTIFY_SOCKET") || strings.Contains(out, "HOME=") {
		t.Errorf("%q %d %v", out, code, err)
	}
	out, code, err = r.AskProgram(ctx, []string{sh, "-c", `for a; do case $a in --config=*) cat "${a#*=}";; esac; done; echo "$@"`, "program"}, "config", []byte("secret: no\n"))
	if err != nil || code != 0 || !strings.HasPrefix(out, "secret: no\n--config="+scratch+"/config --cert-dir="+scratch) {
		t.Errorf("%q %d %v", out, code, err)
	}
	if _, err := os.Stat(scratch); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", scratch, err)
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.AskProgram(soon, []string{sh, "-c", "exec sleep 60"}, "", nil); err == nil {
		t.Error("a program that hangs is waited for")
	}
	for _, argv := range [][]string{nil, {"kubelet"}, {"/no/such/program"}} {
		if out, code, err := r.AskProgram(ctx, argv, "", nil); err == nil {
			t.Errorf("%q: %q %d", argv, out, code)
		}
	}
}

func TestSystemdRuns(t *testing.T) {
	r, dir := procRoot(t)
	if r.SystemdRuns() {
		t.Error("it runs without its directory")
	}
	must(t, os.MkdirAll(filepath.Join(dir, "run/systemd/system"), 0o755))
	if !r.SystemdRuns() {
		t.Error("it does not run, with its directory")
	}
	r.Proc = ""
	if r.SystemdRuns() {
		t.Error("it runs from a root that is not the machine's")
	}
}

func TestHasVariable(t *testing.T) {
	r := live(t)
	own := Process{PID: os.Getpid()}
	if !r.HasVariable(own, "PATH") || r.HasVariable(own, "PAT") || r.HasVariable(Process{PID: 1 << 30}, "PATH") {
		t.Error("variables of processes are not told")
	}
}

// TestClear removes what rehearsals make, where others than root may change the way, and nothing else.
func TestClear(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	logs := filepath.Join(dir, "var/log")
	must(t, os.MkdirAll(filepath.Join(logs, "audit"), 0o755))
	must(t, os.Chown(logs, 0, 4))
	must(t, os.Chmod(logs, 0o775)) // as on Ubuntu
	const log = "/var/log/audit/.kubectl-harden-canary.log"
	put(t, dir, log, "x")
	must(t, r.Clear("/var/log/audit")) // not empty
	if _, err := os.Stat(filepath.Join(dir, log)); err != nil {
		t.Fatal("it removed what was in a directory", err)
	}
	for range 2 { // what is missing is no error
		must(t, r.Clear(log))
		must(t, r.Clear("/var/log/audit"))
	}
	if _, err := os.Stat(filepath.Join(logs, "audit")); !os.IsNotExist(err) {
		t.Error("the empty directory is left", err)
	}
	put(t, dir, "var/log/other.log", "x")
	wantUnsafe(t, r.Clear("/var/log/other.log"), "not what a rehearsal has made")
	put(t, dir, "var/log/.kubectl-harden-x", "x")
	must(t, os.Chown(filepath.Join(logs, ".kubectl-harden-x"), 1234, 0))
	wantUnsafe(t, r.Clear("/var/log/.kubectl-harden-x"), "not what a rehearsal has made")
	must(t, os.Symlink("other.log", filepath.Join(logs, ".kubectl-harden-link")))
	wantUnsafe(t, r.Clear("/var/log/.kubectl-harden-link"), "not what a rehearsal has made")
	put(t, dir, "etc/.kubectl-harden-y", "x")
	must(t, os.Symlink("../../etc", filepath.Join(logs, "way")))
	if err := r.Clear("/var/log/way/.kubectl-harden-y"); err == nil {
		t.Error("it follows a link on the way")
	}
	if _, err := os.Stat(filepath.Join(dir, "etc/.kubectl-harden-y")); err != nil {
		t.Error(err)
	}
}
