package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const socketHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestSocketTables(t *testing.T) {
	for name, tt := range map[string]struct {
		line, state string
		want        []string
	}{
		"IPv4 loopback":  {"   0: 0100007F:2808 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0", "0A", []string{"127.0.0.1:10248 4711"}},
		"IPv4 all":       {"   1: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 8 1 0000 100 0 0 10 0", "0A", []string{"0.0.0.0:6443 8"}},
		"connected":      {"   2: 0100007F:2808 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 9 1 0000 100 0 0 10 0", "0A", nil},
		"IPv6 all":       {"   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000 100 0 0 10 0", "0A", []string{"[::]:10250 5"}},
		"IPv6 loopback":  {"   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000 100 0 0 10 0", "0A", []string{"[::1]:22 5"}},
		"IPv4 over IPv6": {"   0: 0000000000000000FFFF00000B0200C0:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000 100 0 0 10 0", "0A", []string{"192.0.2.11:22 5"}},
		"UDP":            {" 1234: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000 0", "07", []string{"0.0.0.0:8472 0"}},
	} {
		found, err := parseSockets([]byte(socketHead+tt.line+"\n"), tt.state)
		var got []string
		for _, s := range found {
			got = append(got, fmt.Sprintf("%s %d", netip.AddrPortFrom(s.Address, s.Port), s.inode))
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tt.want)
		}
	}
	for name, line := range map[string]string{
		"short":   "0: 0100007F:2808 00000000:0000 0A",
		"address": "0: 01007F:2808 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
		"no port": "0: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
		"port":    "0: 0100007F:FFFFF 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
		"inode":   "0: 0100007F:2808 00000000:0000 0A 0:0 0:0 0 0 0 x 1 0",
		"hex":     "0: 0100007G:2808 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0",
	} {
		if found, err := parseSockets([]byte(socketHead+line+"\n"), "0A"); err == nil {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func FuzzSocketTable(f *testing.F) {
	f.Add([]byte(socketHead + "   0: 0100007F:2808 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0\n"))
	f.Add([]byte("x\n0: 00000000000000000000000001000000:0016 : 0A 0 0 0 0 0 5\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseSockets(data, "0A")
		for _, s := range found {
			if !s.Address.IsValid() || err != nil {
				t.Errorf("%v, %v", s, err)
			}
		}
	})
}

// socketProc is a proc file system with process 1, one of its network and one of another.
func socketProc(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, data string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, p); err != nil {
			t.Fatal(err)
		}
	}
	for pid, exe := range map[string]string{"1": "/usr/lib/systemd/systemd", "40": "/usr/bin/kubelet", "41": "/usr/bin/kubelet", "50": "/pause"} {
		ns := "net:[1]"
		if pid == "50" {
			ns = "net:[2]"
		}
		link(pid+"/ns/net", ns)
		link(pid+"/exe", exe)
		write(pid+"/cmdline", exe+"\x00")
		write(pid+"/stat", pid+" (x) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7")
		write(pid+"/status", "Uid:\t0\t0\t0\t0\n")
		write(pid+"/cgroup", "0::/\n")
	}
	link("40/fd/0", "/dev/null")
	link("40/fd/7", "socket:[100]")
	link("41/fd/7", "socket:[100]") // inherited
	link("50/fd/3", "socket:[200]")
	link("1/fd/5", "socket:[100]") // process 1 started them by it
	link("1/fd/6", "socket:[101]") // whoever this one is for has not been started
	write("1/net/tcp", socketHead+
		"0: 00000000:280A 00000000:0000 0A 0:0 00:0 0     0        0 100 1 0\n"+
		"1: 0100007F:1111 00000000:0000 0A 0:0 00:0 0     0        0 200 1 0\n"+
		"2: 00000000:0016 00000000:0000 0A 0:0 00:0 0     0        0 101 1 0\n")
	write("1/net/udp", socketHead+"0: 00000000:2118 00000000:0000 07 0:0 00:0 0     0        0 0 1 0\n")
	write("stat", "btime 1700000000\n")
	return dir
}

func TestListenersAreTheHostsOnly(t *testing.T) {
	got, err := (&Root{Proc: socketProc(t)}).Sockets().Listeners()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range got {
		lines = append(lines, fmt.Sprintf("%s %s %d %s", l.Protocol, netip.AddrPortFrom(l.Address, l.Port), l.PID, l.Name))
	}
	// The socket of a process in another network, and the kernel's, have no process here.
	want := "tcp 0.0.0.0:22 1 systemd\ntcp 127.0.0.1:4369 0 \nudp 0.0.0.0:8472 0 \ntcp 0.0.0.0:10250 40 kubelet"
	if strings.Join(lines, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), want)
	}
	if _, err := (&Root{}).Sockets().Listeners(); err == nil {
		t.Error("an offline root listens")
	}
}

// TestTablesAreReadOnceForOneLook: and anew for the next one, as what listens changes.
func TestTablesAreReadOnceForOneLook(t *testing.T) {
	proc := socketProc(t)
	r := &Root{Proc: proc}
	first := r.Sockets()
	before, err := first.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "1/net/tcp"), []byte(socketHead+
		"0: 0A00000A:0016 6C00000A:C822 01 0:0 00:0 0     0        0 100 1 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if open, err := first.Connections(false); err != nil || len(open) != 0 {
		t.Errorf("one look has both %v and %v, %v", before, open, err)
	}
	if open, err := r.Sockets().Connections(false); err != nil || len(open) != 1 {
		t.Errorf("another look has %v, %v", open, err)
	}
}

func TestOwnListenerIsFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if a, errA := os.Readlink("/proc/1/ns/net"); errA != nil {
		t.Skip(errA)
	} else if b, _ := os.Readlink("/proc/self/ns/net"); a != b {
		t.Skip("this process is not in the host's network")
	}
	all, err := (&Root{Proc: "/proc"}).Sockets().Listeners()
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range all {
		if int(found.Port) == l.Addr().(*net.TCPAddr).Port && found.PID == os.Getpid() && found.Address.IsLoopback() && found.Protocol == "tcp" {
			return
		}
	}
	t.Errorf("%s is not among %v", l.Addr(), all)
}

func BenchmarkListeners(b *testing.B) {
	if _, err := os.Readlink("/proc/1/ns/net"); err != nil {
		b.Skip(err)
	}
	r := &Root{Proc: "/proc"}
	for b.Loop() {
		if _, err := r.Sockets().Listeners(); err != nil {
			b.Fatal(err)
		}
	}
}
