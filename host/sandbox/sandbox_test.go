package sandbox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/collect"
)

var (
	_ apply.Node   = (*Node)(nil)
	_ collect.Live = (*Node)(nil)
	_ collect.Node = (*Files)(nil)
	_ apply.Files  = (*Files)(nil)
)

const (
	manifest   = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	nodeIP     = "192.0.2.11"
	authnFile  = "/etc/kubernetes/pki/authn.yaml" // in a directory that is mounted
	policyFile = "/etc/kubernetes/pki/policy.yaml"
)

var apiServerComponent, _ = harden.ComponentByID(harden.APIServer)

// hands is a clock that is moved by hand.
type hands struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// bench is a node under test.
type bench struct {
	*Node
	t     *testing.T
	clock *hands
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	clock := &hands{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	o.Clock = clock
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
	})
	return &bench{n, t, clock}
}

// pass lets time go by while somebody looks now and then.
func (b *bench) pass(d time.Duration) {
	for ; d > 0; d -= 200 * time.Millisecond {
		b.clock.move(200 * time.Millisecond)
		b.Serving()
	}
}

func (b *bench) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, path), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(path string) string {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, path))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// replace puts a text in place of another one that is there once.
func (b *bench) replace(path, from, to string) {
	b.t.Helper()
	text := b.read(path)
	if strings.Count(text, from) != 1 {
		b.t.Fatalf("%s has %q %d times", path, from, strings.Count(text, from))
	}
	b.write(path, strings.Replace(text, from, to, 1))
}

// flags adds flags to the API server's.
func (b *bench) flags(flags ...string) {
	b.t.Helper()
	const first = "    - kube-apiserver\n"
	lines := first
	for _, f := range flags {
		lines += "    - " + f + "\n"
	}
	b.replace(manifest, first, lines)
}

func (b *bench) instance() apply.Instance {
	b.t.Helper()
	i, err := b.Instance(context.Background(), apiServerComponent)
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

// words are the last ones of the API server's newest instance that died.
func (b *bench) words() (int, string) {
	b.t.Helper()
	n, words, err := b.Crashes(context.Background(), apiServerComponent, time.Time{})
	if err != nil {
		b.t.Fatal(err)
	}
	return n, words
}

func (b *bench) get(path string) apply.ProbeResult {
	return b.Probe(context.Background(), harden.Probe{Scheme: "HTTPS", Host: nodeIP, Port: 6443, Path: path})
}

// signedAgain wants a certificate to say what the fixture's says, and a kubeconfig to hold one that does.
func signedAgain(name string, got, want []byte) error {
	if path.Ext(name) == ".conf" {
		if strings.Count(string(got), "\n") != strings.Count(string(want), "\n") {
			return fmt.Errorf("%s has other lines than the fixture's", name)
		}
		var errs [2]error
		got, errs[0] = base64.StdEncoding.DecodeString(embedded(string(got)))
		want, errs[1] = base64.StdEncoding.DecodeString(embedded(string(want)))
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	a, errA := parseCertificate(got)
	b, errB := parseCertificate(want)
	if err := errors.Join(errA, errB); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if a.Subject.String() != b.Subject.String() || !slices.Equal(a.DNSNames, b.DNSNames) || !a.NotAfter.Equal(b.NotAfter) || a.SerialNumber.Cmp(b.SerialNumber) != 0 {
		return fmt.Errorf("%s says something else than the fixture's", name)
	}
	return nil
}

// The root is the fixture, with every file and every mode of its table; only certificates are signed by other CAs.
func TestFixture(t *testing.T) {
	b := newBench(t, Options{})
	files := 0
	err := fs.WalkDir(kubeadm, fixture+"root", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		want, err := kubeadm.ReadFile(name)
		if err != nil {
			return err
		}
		s, err := b.State(strings.TrimPrefix(name, fixture+"root"))
		if ext := path.Ext(name); ext == ".crt" || ext == ".conf" {
			return signedAgain(name, s.Data, want)
		}
		if string(s.Data) != string(want) {
			t.Errorf("%s is not the fixture's", name)
		}
		return err
	})
	if err != nil || files < 20 {
		t.Fatalf("%d files: %v", files, err)
	}
	table, err := kubeadm.ReadFile(fixture + "modes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		name, mode, _ := strings.Cut(strings.TrimSpace(line), "\t")
		s, err := b.State(path.Clean("/" + name))
		if err != nil || fmt.Sprintf("%o", s.Mode) != mode || s.Dir != strings.HasSuffix(name, "/") {
			t.Errorf("%s: mode %o, want %s: %v", name, s.Mode, mode, err)
		}
	}
}

func TestRoot(t *testing.T) {
	b := newBench(t, Options{})
	for path, mode := range map[string]uint32{
		"/etc/kubernetes/manifests": 0o700, manifest: 0o600, "/var/lib/kubelet/config.yaml": 0o644, "/etc/kubernetes/pki/ca.key": 0o600,
		"/var/lib/etcd": 0o700, "/usr/lib/systemd/system/kubelet.service.d": 0o755,
	} {
		s, err := b.State(path)
		if err != nil || !s.Exists || s.Mode != mode || s.UID != 0 || s.GID != 0 {
			t.Errorf("%s: mode %04o of %d:%d (%v), want %04o of root", path, s.Mode, s.UID, s.GID, err, mode)
		}
	}
	if name, err := b.Hostname(); name != "cp1" || err != nil {
		t.Errorf("hostname %q, %v", name, err)
	}
	info, err := os.Stat(b.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the root itself: %v, %v", info.Mode(), err)
	}
	if err := b.files.Chown(manifest, 0, 0); err != nil {
		t.Error(err)
	}
	if err := b.files.Chown(manifest, 1, 0); err == nil {
		t.Error("a file was given away")
	}
}

// A root for systems without package host is the same to whoever looks.
func TestPlainRoot(t *testing.T) {
	b := newBench(t, Options{})
	want, err := b.files.Snapshot("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := openPlain(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n, err := boot("", r, Options{Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	take := func() Snapshot {
		t.Helper()
		s, err := n.files.Snapshot("/state")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if d := take().Differences(want); len(d) > 0 {
		t.Errorf("these differ: %v", d)
	}
	for _, err := range []error{
		n.files.Mkdir("/state", 0o700),
		n.files.Chmod(manifest, 0o640),
		n.files.Rename(manifest, "/state/x"),
		n.files.Truncate("/state/x", 0),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if info, err := n.files.Stat("/state/x"); err != nil || info.Mode != 0o640 || info.Size != 0 {
		t.Errorf("moved: %+v, %v", info, err)
	}
	if d := take().Differences(want); len(d) != 1 || d[0] != manifest {
		t.Errorf("these differ: %v", d)
	}
	unlock, _, err := n.files.Lock("/state/lock", []byte("me"))
	if err != nil {
		t.Fatal(err)
	}
	if _, holder, err := n.files.Lock("/state/lock", nil); err == nil || string(holder) != "me" {
		t.Errorf("locked twice: %q, %v", holder, err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestSnapshot(t *testing.T) {
	b := newBench(t, Options{})
	before, err := b.files.Snapshot("/var/lib/etcd")
	if err != nil {
		t.Fatal(err)
	}
	was, err := before.Digest()
	if err != nil {
		t.Fatal(err)
	}
	b.write("/etc/hostname", "cp2\n")
	b.write("/etc/new", "")
	if err := os.Remove(filepath.Join(b.dir, "/etc/machine-id")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(b.dir, manifest), 0o400); err != nil {
		t.Fatal(err)
	}
	b.write("/var/lib/etcd/left-out", "")
	after, err := b.files.Snapshot("/var/lib/etcd")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(after.Differences(before), " "), "/etc/hostname /etc/kubernetes/manifests/kube-apiserver.yaml /etc/machine-id /etc/new"; got != want {
		t.Errorf("differences: %s, want %s", got, want)
	}
	if is, err := after.Digest(); err != nil || is == was {
		t.Errorf("the digest is the same (%v)", err)
	}
}

func TestWhatListensFollowsTheArguments(t *testing.T) {
	n := newBench(t, Options{})
	list, err := n.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, l.String()+" "+l.Process)
	}
	for _, want := range []string{"tcp [::]:6443 kube-apiserver", "tcp [::]:10250 kubelet", "tcp 127.0.0.1:10248 kubelet", "tcp 127.0.0.1:10257 kube-controller-manager", "tcp 127.0.0.1:2379 etcd", "tcp 127.0.0.1:2381 etcd"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %q", want, got)
		}
	}
}
