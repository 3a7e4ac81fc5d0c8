package hardentest

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
)

// Node is a node's files in memory: a collect.Node whose files a test may change.
type Node struct {
	Files map[string]harden.State
	Free  uint64 // bytes, for every path
	// Links lead from a path to where they lead in the end; what lies there is a file as any other.
	Links map[string]string
	// Modified is when a path's content was changed last, as far as a test says so.
	Modified map[string]time.Time
}

// Fixture reads the node that kubeadm of the minor wrote, with its modes.
func Fixture(t testing.TB, minor string) *Node {
	t.Helper()
	base := filepath.Dir(Root(t, minor))
	list, err := os.ReadFile(filepath.Join(base, "modes.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{
		Files: map[string]harden.State{"/": {Exists: true, Dir: true, Mode: 0o755}}, Free: 20 << 30,
		Links: map[string]string{}, Modified: map[string]time.Time{},
	}
	for line := range strings.Lines(string(list)) {
		name, mode, _ := strings.Cut(strings.TrimSpace(line), "\t")
		bits, err := strconv.ParseUint(mode, 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		s := harden.State{Exists: true, Mode: uint32(bits), Dir: strings.HasSuffix(name, "/")}
		if !s.Dir {
			s.Data, err = os.ReadFile(filepath.Join(base, "root", name))
			if os.IsNotExist(err) {
				continue // key files are not in the fixture
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		n.Files[path.Clean("/"+name)] = s
	}
	return n
}

// State implements collect.Node.
func (n *Node) State(p string) (harden.State, error) {
	if to, ok := n.Links[p]; ok {
		p = to
	}
	return n.Files[p], nil
}

// List implements collect.Node.
func (n *Node) List(dir string) ([]string, error) {
	var names []string
	for p := range n.Files {
		if p != "/" && path.Dir(p) == path.Clean(dir) {
			names = append(names, path.Base(p))
		}
	}
	for p := range n.Links {
		if path.Dir(p) == path.Clean(dir) {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Look implements collect.Attributes.
func (n *Node) Look(p string) (harden.StatFact, error) {
	if to, ok := n.Links[p]; ok {
		return harden.StatFact{Path: p, Kind: harden.StatLink, Mode: 0o777, Target: to}, nil
	}
	s, ok := n.Files[p]
	if !ok {
		return harden.StatFact{}, nil
	}
	out := harden.StatFact{Path: p, Kind: harden.StatFile, Mode: s.Mode, UID: s.UID, GID: s.GID, Size: int64(len(s.Data)), Modified: n.Modified[p]}
	if s.Dir {
		out.Kind = harden.StatDir
	}
	return out, nil
}

// LookInto implements collect.Attributes.
func (n *Node) LookInto(dir string) ([]harden.StatFact, error) {
	names, err := n.List(dir)
	var out []harden.StatFact
	for _, name := range names {
		s, _ := n.Look(path.Join(dir, name))
		out = append(out, s)
	}
	return out, err
}

// FreeBytes implements collect.Node.
func (n *Node) FreeBytes(string) (uint64, error) { return n.Free, nil }

// Edit replaces old by new in a file; it fails the test where old is not there.
func (n *Node) Edit(t testing.TB, p, old, new string) {
	t.Helper()
	s := n.Files[p]
	if !strings.Contains(string(s.Data), old) {
		t.Fatalf("%s has no %q", p, old)
	}
	s.Data = []byte(strings.Replace(string(s.Data), old, new, 1))
	n.Files[p] = s
}

// Write puts a file there.
func (n *Node) Write(p, data string, mode uint32) {
	n.Files[p] = harden.State{Exists: true, Data: []byte(data), Mode: mode}
}

// Now is the time of the facts: shortly after kubeadm made the fixtures' certificates.
var Now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// Facts collects what an offline root of these files shows.
func (n *Node) Facts(t testing.TB) *harden.Facts {
	t.Helper()
	f, err := collect.FromNode(n, nil, collect.Options{Root: "/", Offline: true, Now: Now, Disks: []string{"/var/log/kubernetes/audit", "/var/log"}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Apply does a plan's file steps, as a transaction would.
func (n *Node) Apply(p harden.Plan) {
	for _, s := range p.Steps() {
		if s.Kind == harden.StepObject {
			continue
		}
		if s.After.Exists {
			n.Files[s.Path] = s.After
		} else {
			delete(n.Files, s.Path)
		}
	}
}
