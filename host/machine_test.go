package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSysctl(t *testing.T) {
	r := fakeProc(t)
	for file, value := range map[string]string{
		"sys/net/ipv4/ip_forward": "0\n", "sys/net/ipv4/conf/eth0.5/rp_filter": "2\n", "sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
	} {
		full := filepath.Join(r.Proc, file)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{
		"net.ipv4.ip_forward": "0", "net/ipv4/ip_forward": "0", "net.ipv4.conf.eth0/5.rp_filter": "2",
		"net/ipv4/conf/eth0.5/rp_filter": "2", "net.ipv4.ip_local_port_range": "32768 60999",
	} {
		if got, err := r.Sysctl(key); got != want || err != nil {
			t.Errorf("Sysctl(%s) = %q, %v", key, got, err)
		}
	}
	if err := r.SetSysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Error(err)
	}
	if got, _ := r.Sysctl("net.ipv4.ip_forward"); got != "1" {
		t.Errorf("after setting it is %q", got)
	}
	for _, key := range []string{"", ".", "..", "net..x", "net/../../1/stat", "/etc/passwd", "kernel.nothing", "net.ipv4.\x00"} {
		if _, err := r.Sysctl(key); err == nil {
			t.Errorf("Sysctl(%q) is no error", key)
		}
		if err := r.SetSysctl(key, "1"); err == nil {
			t.Errorf("SetSysctl(%q) is no error", key)
		}
	}
	if err := r.SetSysctl("net.ipv4.ip_forward", "1\n0"); err == nil {
		t.Error("a value of two lines is accepted")
	}
	r.Proc = ""
	if _, err := r.Sysctl("net.ipv4.ip_forward"); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	if err := r.SetSysctl("net.ipv4.ip_forward", "1"); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}

func TestLoginUID(t *testing.T) {
	r := fakeProc(t)
	file := filepath.Join(r.Proc, "self/loginuid")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]int{"1000": 1000, "0\n": 0, "4294967295": -1, "": -1, "x": -1, "-1": -1} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		uid, known := r.LoginUID()
		if !known {
			uid = -1
		}
		if uid != want {
			t.Errorf("loginuid %q is read as %d, want %d", content, uid, want)
		}
	}
}
