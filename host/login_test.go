package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// loginProc is a proc file system with two logins by SSH, at 198.51.100.7 and, by IPv6, at 2001:db8::7; a third connection is of
// another program.
func loginProc(t *testing.T) *Root {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for pid, p := range map[string]struct {
		parent, exe, environ, socket string
	}{
		"1":   {"0", "/usr/lib/systemd/systemd", "", ""},
		"20":  {"1", "/usr/sbin/sshd", "", ""},
		"30":  {"20", "/usr/sbin/sshd", "", "100"},                                                              // of the first login
		"31":  {"30", "/usr/sbin/sshd", "", "100"},                                                              // which has it too
		"32":  {"31", "/usr/bin/bash", "TERM=xterm\x00SSH_CONNECTION=198.51.100.7 40001 192.0.2.11 22\x00", ""}, // and its shell
		"33":  {"32", "/usr/bin/sudo", "SUDO_USER=alice\x00", ""},
		"34":  {"33", "/usr/local/bin/kubectl-harden", "PATH=/bin\x00", ""},
		"40":  {"20", "/usr/lib/openssh/sshd-session", "", "101"},
		"41":  {"40", "/usr/bin/bash", "", ""},                                                   // was told of nothing
		"50":  {"1", "/usr/bin/tmux", "SSH_CONNECTION=198.51.100.9 50000 192.0.2.11 22\x00", ""}, // of a login that has ended
		"51":  {"50", "/usr/bin/bash", "SSH_CONNECTION=198.51.100.9 50000 192.0.2.11 22\x00", ""},
		"60":  {"1", "/usr/sbin/agetty", "", ""},
		"61":  {"60", "/usr/bin/bash", "TERM=linux\x00", ""},
		"70":  {"20", "/usr/sbin/sshd", "", ""}, // its connection cannot be seen
		"71":  {"70", "/usr/bin/bash", "", ""},
		"80":  {"1", "/usr/bin/kubelet", "", "102"},
		"90":  {"1", "/usr/bin/bash", "SSH_CONNECTION=nonsense\x00", ""},
		"901": {"1", "/usr/bin/bash", "SSH_CONNECTION=::ffff:198.51.100.7 40001 ::ffff:192.0.2.11 22\x00", ""},
	} {
		at := filepath.Join(dir, pid)
		must(os.MkdirAll(filepath.Join(at, "ns"), 0o755))
		must(os.MkdirAll(filepath.Join(at, "fd"), 0o755))
		must(os.Symlink("net:[1]", filepath.Join(at, "ns/net")))
		must(os.Symlink(p.exe, filepath.Join(at, "exe")))
		if p.socket != "" {
			must(os.Symlink("socket:["+p.socket+"]", filepath.Join(at, "fd/3")))
		}
		for name, text := range map[string]string{
			"cmdline": p.exe + "\x00", "environ": p.environ, "cgroup": "0::/\n", "status": "Name:\tx\nPPid:\t" + p.parent + "\nUid:\t0\t0\t0\t0\n",
			"stat": pid + " (x) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7",
		} {
			must(os.WriteFile(filepath.Join(at, name), []byte(text), 0o644))
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "1/net"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "1/net/tcp"), []byte(socketHead+
		"0: 00000000:0016 00000000:0000 0A 0:0 00:0 0     0        0 99 1 0\n"+
		"1: 0B0200C0:0016 076433C6:9C41 01 0:0 00:0 0     0        0 100 1 0\n"+
		"2: 0B0200C0:280A 0C0200C0:8000 01 0:0 00:0 0     0        0 102 1 0\n"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "1/net/tcp6"), []byte(socketHead+
		"0: B80D0120000000000000000011000000:0016 B80D0120000000000000000007000000:9C42 01 0:0 00:0 0     0        0 101 1 0\n"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "stat"), []byte("btime 1700000000\n"), 0o644))
	return &Root{Proc: dir}
}

func TestLoginsAreSSHsConnections(t *testing.T) {
	r := loginProc(t)
	list, err := r.Logins()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, c.String())
	}
	if want := []string{"198.51.100.7:40001 to 192.0.2.11:22", "[2001:db8::7]:40002 to [2001:db8::11]:22"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	all, err := r.Sockets().Connections(false)
	if err != nil || len(all) != 3 || all[1].String() != "192.0.2.12:32768 to 192.0.2.11:10250" {
		t.Errorf("%v %v", all, err)
	}
}

func TestOwnLogin(t *testing.T) {
	r := loginProc(t)
	for _, tt := range []struct {
		pid        int
		connection string
		remote     bool
		says       string
	}{
		{34, "198.51.100.7:40001 to 192.0.2.11:22", true, ""}, // below sudo, which keeps SSH_CONNECTION from it
		{31, "198.51.100.7:40001 to 192.0.2.11:22", true, ""},
		{41, "[2001:db8::7]:40002 to [2001:db8::11]:22", true, ""},
		{51, "198.51.100.9:50000 to 192.0.2.11:22", true, ""}, // which is not open any more
		{61, "", false, ""},
		{71, "", false, "by which connection cannot be seen"},
		{90, "nonsense", true, ""},
		{901, "198.51.100.7:40001 to 192.0.2.11:22", true, ""},
		{12345, "", false, "reading process 12345"},
	} {
		got, err := r.OwnLogin(tt.pid)
		if got.Connection != tt.connection || got.Remote != tt.remote || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %+v %v", fmt.Sprint("process ", tt.pid), got, err)
		}
	}
}
