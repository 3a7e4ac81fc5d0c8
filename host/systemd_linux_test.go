package host

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// fakeSystemd answers on a D-Bus socket as systemd does, one connection of a client after another.
type fakeSystemd struct {
	mu         sync.Mutex // of properties and result, once it listens
	properties map[string]godbus.Variant
	services   map[string]godbus.Variant // of services, where they differ
	result     string                    // how a restart ends; empty: it never does
	calls      chan string
	clients    chan *fakeClient
}

type fakeClient struct {
	net.Conn
	in *bufio.Reader
}

func (s *fakeSystemd) listen(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	must(t, err)
	s.calls = make(chan string, 64)
	s.clients = make(chan *fakeClient, 64)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(&fakeClient{conn, bufio.NewReader(conn)})
		}
	}()
	return socket
}

func (s *fakeSystemd) now() (properties map[string]godbus.Variant, result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.properties, s.result
}

// becomes another one than it was when it began to listen.
func (s *fakeSystemd) becomes(properties map[string]godbus.Variant, result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.properties, s.result = properties, result
}

func (s *fakeSystemd) serve(c *fakeClient) {
	defer c.Close()
	for line := ""; line != "BEGIN"; {
		text, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.Trim(text, "\x00\r\n")
		switch {
		case line == "AUTH":
			fmt.Fprint(c, "REJECTED EXTERNAL\r\n")
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			fmt.Fprint(c, "OK 00112233445566778899aabbccddeeff\r\n")
		case line != "BEGIN":
			fmt.Fprint(c, "ERROR\r\n")
		}
	}
	s.clients <- c // signals go to those who have said who they are
	for {
		call, err := godbus.DecodeMessage(c.in)
		if err != nil {
			return
		}
		properties, result := s.now()
		member := call.Headers[godbus.FieldMember].Value().(string)
		s.calls <- fmt.Sprint(member, call.Body)
		reply := &godbus.Message{Type: godbus.TypeMethodReply, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldReplySerial: godbus.MakeVariant(call.Serial()),
		}}
		answer := func(body ...any) {
			reply.Body = body
			if len(body) > 0 {
				reply.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(body...))
			}
			_ = reply.EncodeTo(c, binary.LittleEndian)
		}
		const job = godbus.ObjectPath("/org/freedesktop/systemd1/job/7")
		switch member {
		case "Hello":
			answer(":1.7")
		case "GetAll":
			unit, _ := call.Headers[godbus.FieldPath].Value().(godbus.ObjectPath)
			if s.services != nil && strings.HasSuffix(string(unit), "_2eservice") {
				properties = s.services
			}
			answer(properties)
		case "RestartUnit", "StopUnit", "StartTransientUnit":
			if properties == nil {
				reply.Type = godbus.TypeError
				reply.Headers[godbus.FieldErrorName] = godbus.MakeVariant("org.freedesktop.systemd1.NoSuchUnit")
				answer("Unit " + call.Body[0].(string) + " not found.")
				continue
			}
			answer(job)
			if result != "" {
				s.signal("JobRemoved", uint32(7), job, call.Body[0], result)
			}
		default:
			answer()
		}
	}
}

// signal tells all clients so far, as systemd does on its own socket.
func (s *fakeSystemd) signal(member string, body ...any) {
	for {
		select {
		case c := <-s.clients:
			m := &godbus.Message{Type: godbus.TypeSignal, Body: body, Headers: map[godbus.HeaderField]godbus.Variant{
				godbus.FieldPath:      godbus.MakeVariant(godbus.ObjectPath("/org/freedesktop/systemd1")),
				godbus.FieldInterface: godbus.MakeVariant("org.freedesktop.systemd1.Manager"),
				godbus.FieldMember:    godbus.MakeVariant(member),
				godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf(body...)),
			}}
			_ = m.EncodeTo(c, binary.LittleEndian)
		default:
			return
		}
	}
}

var kubeletProperties = map[string]godbus.Variant{
	"LoadState":            godbus.MakeVariant("loaded"),
	"ActiveState":          godbus.MakeVariant("active"),
	"SubState":             godbus.MakeVariant("running"),
	"MainPID":              godbus.MakeVariant(uint32(812)),
	"NRestarts":            godbus.MakeVariant(uint32(3)),
	"ActiveEnterTimestamp": godbus.MakeVariant(uint64(1700000000123456)),
}

var kubeletStatus = UnitStatus{
	Load: "loaded", Active: "active", Sub: "running", MainPID: 812, NRestarts: 3, ActiveEnter: time.UnixMicro(1700000000123456),
}

func TestSystemdOverItsSockets(t *testing.T) {
	fake := &fakeSystemd{properties: kubeletProperties, result: "done"}
	socket := fake.listen(t)
	for name, s := range map[string]*Systemd{"private": {Private: socket, Bus: "/nonexistent"}, "bus": {Private: "/nonexistent", Bus: socket}} {
		t.Run(name, func(t *testing.T) {
			got, err := s.UnitStatus(t.Context(), "kubelet.service")
			if err != nil || !reflect.DeepEqual(got, kubeletStatus) {
				t.Errorf("UnitStatus = %+v, %v", got, err)
			}
			must(t, s.DaemonReload(t.Context()))
			must(t, s.RestartUnit(t.Context(), "kubelet.service"))
			asked := strings.Join(drain(fake.calls), "\n")
			for _, want := range []string{"GetAll[]", "Reload[]", "RestartUnit[kubelet.service replace]"} {
				if !strings.Contains(asked, want) {
					t.Errorf("systemd was not asked %s, but\n%s", want, asked)
				}
			}
			if greeted := strings.Contains(asked, "Hello"); greeted != (name == "bus") {
				t.Errorf("greeting on the %s socket: %v", name, greeted)
			}
		})
	}
}

func drain(calls chan string) []string {
	var all []string
	for {
		select {
		case c := <-calls:
			all = append(all, c)
		default:
			return all
		}
	}
}

func TestRestartFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		fake *fakeSystemd
		want string
	}{
		"the job fails":    {&fakeSystemd{properties: kubeletProperties, result: "failed"}, `restarting "kubelet.service": the restart ended as "failed"`},
		"there is no unit": {&fakeSystemd{}, `restarting "kubelet.service": Unit kubelet.service not found.`},
	} {
		s := &Systemd{Private: tt.fake.listen(t)}
		if err := s.RestartUnit(t.Context(), "kubelet.service"); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	endless := &fakeSystemd{properties: kubeletProperties}
	ctx, cancel := context.WithCancel(t.Context())
	s := &Systemd{Private: endless.listen(t)}
	go func() {
		for call := range endless.calls {
			if strings.HasPrefix(call, "RestartUnit") {
				cancel()
				return
			}
		}
	}()
	if err := s.RestartUnit(ctx, "kubelet.service"); !errors.Is(err, context.Canceled) {
		t.Errorf("a restart without an end: %v", err)
	}
}

func TestSilentSocketEndsWithTheContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := &Systemd{Private: socket}
	if _, err := s.UnitStatus(ctx, "kubelet.service"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestSystemctlWhereThereIsNoSocket(t *testing.T) {
	dir := t.TempDir()
	systemctl := filepath.Join(dir, "systemctl")
	must(t, os.WriteFile(systemctl, []byte(`#!/bin/sh
echo "$@" >>`+dir+`/calls
case "$1 $TZ $LC_ALL" in
"show UTC C") cat <<'END'
LoadState=loaded
ActiveState=active
SubState=running
MainPID=812
NRestarts=3
ActiveEnterTimestamp=Tue 2023-11-14 22:13:20 UTC
END
;;
restart*) echo "Job for kubelet.service failed." >&2; exit 1;;
esac
`), 0o755))
	s := &Systemd{Private: "/nonexistent", Bus: "/nonexistent", Systemctl: []string{"/nonexistent", systemctl}}
	want := kubeletStatus
	want.ActiveEnter = time.Unix(1700000000, 0).UTC()
	if got, err := s.UnitStatus(t.Context(), "kubelet.service"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("UnitStatus = %+v, %v", got, err)
	}
	must(t, s.DaemonReload(t.Context()))
	err := s.RestartUnit(t.Context(), "kubelet.service")
	if want := `restarting "kubelet.service": systemctl: exit status 1: "Job for kubelet.service failed."`; err == nil || err.Error() != want {
		t.Errorf("RestartUnit: %v", err)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	must(t, err)
	if !strings.HasSuffix(string(calls), "daemon-reload --no-ask-password\nrestart --no-ask-password -- kubelet.service\n") {
		t.Errorf("systemctl was called with\n%s", calls)
	}
}

func TestWithoutSystemd(t *testing.T) {
	s := &Systemd{Private: "/nonexistent", Bus: "/nonexistent", Systemctl: []string{"/nonexistent"}}
	if _, err := s.UnitStatus(t.Context(), "kubelet.service"); !errors.Is(err, ErrNoSystemd) {
		t.Errorf("UnitStatus: %v", err)
	}
	// It was asked of a systemctl that is installed, and does not work where something else is process 1.
	installed := &Systemd{Private: "/nonexistent", Bus: "/nonexistent", Systemctl: []string{"/bin/false"}, Booted: filepath.Join(t.TempDir(), "none")}
	if _, err := installed.UnitStatus(t.Context(), "kubelet.service"); !errors.Is(err, ErrNoSystemd) {
		t.Errorf("UnitStatus where it is only installed: %v", err)
	}
	for _, unit := range []string{"", "kubelet", "--help.service", "a b.service", "x\n.service", "a/b.service"} {
		if err := s.RestartUnit(t.Context(), unit); err == nil || errors.Is(err, ErrNoSystemd) {
			t.Errorf("RestartUnit(%q): %v", unit, err)
		}
	}
	offline, _ := newRoot(t)
	if _, err := offline.Systemd(); !errors.Is(err, ErrOffline) {
		t.Errorf("an offline root: %v", err)
	}
	if s, err := live(t).Systemd(); err != nil || s.Private != "/run/systemd/private" {
		t.Errorf("this machine: %+v, %v", s, err)
	}
}

func TestAnswersOfSystemctl(t *testing.T) {
	for name, out := range map[string]string{
		"empty": "", "no load state": "MainPID=1\n", "bad number": "LoadState=loaded\nMainPID=x\n",
		"local time": "LoadState=loaded\nActiveEnterTimestamp=14.11.2023\n",
	} {
		if u, err := statusFromShow(out); err == nil {
			t.Errorf("%s: %+v", name, u)
		}
	}
	if u, err := statusFromShow("LoadState=not-found\nActiveState=inactive\nActiveEnterTimestamp=\n"); err != nil || u.Load != "not-found" || !u.ActiveEnter.IsZero() {
		t.Errorf("a unit that does not exist: %+v, %v", u, err)
	}
}
