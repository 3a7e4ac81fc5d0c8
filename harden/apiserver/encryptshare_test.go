package apiserver

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// sharing are three control planes; each API server has read the file that lies there, as it restarts with each change.
type sharing struct {
	t     *testing.T
	nodes map[string]*storing
}

func newSharing(t *testing.T) *sharing {
	s := &sharing{t: t, nodes: map[string]*storing{}}
	names := []string{"cp1", "cp2", "cp3"}
	for i, name := range names {
		s.nodes[name] = &storing{t: t, n: hardentest.APIServer(t, "1.37"), name: name, made: byte(10 * i), kept: true,
			peers: slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name }), keys: s.keys}
	}
	return s
}

func (s *sharing) keys() []harden.KeyFact {
	var out []harden.KeyFact
	for _, name := range []string{"cp1", "cp2", "cp3"} {
		out = append(out, harden.KeyFact{Node: name, SHA256: s.nodes[name].n.Files[harden.EncryptionFile].Digest()})
	}
	return out
}

func (s *sharing) copy(from, to string) {
	s.nodes[to].n.Write(harden.EncryptionIncoming, string(s.nodes[from].n.Files[harden.EncryptionFile].Data), 0o600)
}

// blocked gives why a run is not done: what it skips, and the checks that are not met.
func (s *sharing) blocked(node, remedy string) string {
	s.t.Helper()
	p, err := s.nodes[node].build(s.nodes[node].facts(), remedy, true, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, skip := range p.Skipped {
		out = append(out, skip.Reason.String())
	}
	unmet := false
	for _, c := range p.Preflight {
		if c.State == harden.Unmet && c.Blocks {
			unmet = true
			out = append(out, c.Message.String())
		}
	}
	if !p.Empty() && !unmet {
		s.t.Errorf("%s: it would be done", node)
	}
	return strings.Join(out, "; ")
}

func (s *sharing) wants(node, remedy, order, stagesWanted string) harden.Plan {
	s.t.Helper()
	p := s.nodes[node].run(remedy, true)
	if got := s.nodes[node].order(); got != order {
		s.t.Errorf("%s has %s, want %s", node, got, order)
	}
	if got := stages(p); got != stagesWanted {
		s.t.Errorf("%s has the stages %s, want %s", node, got, stagesWanted)
	}
	for _, c := range p.Preflight {
		if c.State == harden.Unmet && c.Blocks {
			s.t.Errorf("%s: it is blocked: %s", node, c.Message)
		}
	}
	if _, left := s.nodes[node].n.Files[harden.EncryptionIncoming]; left {
		s.t.Errorf("%s: the copy of the key is still there", node)
	}
	for _, step := range p.Steps() {
		if (step.Path == harden.EncryptionFile || step.Path == harden.EncryptionIncoming) && !step.Secret {
			s.t.Errorf("%s would be shown", step.Path)
		}
	}
	return p
}

// TestEncryptionIsShared goes all the way with three control planes, and back.
func TestEncryptionIsShared(t *testing.T) {
	s := newSharing(t)
	says := func(node, remedy, want string) {
		t.Helper()
		if got := s.blocked(node, remedy); !strings.Contains(got, want) {
			t.Errorf("%s: it is not done because of %q, want %q", node, got, want)
		}
	}
	type done struct {
		node string
		plan harden.Plan
		back string
	}
	var all []done
	run := func(node, remedy, order, forward, back string) {
		t.Helper()
		all = append(all, done{node, s.wants(node, remedy, order, forward), back})
	}
	const adopted = "only if " + plain + "; steps"
	run("cp1", "", "identity key1", "steps", adopted)
	says("cp1", "", "it has read no encryption configuration")
	says("cp2", "", "cp1 encrypts already: put a copy of its /etc/kubernetes/enc/enc.yaml at /etc/kubernetes/enc/incoming.yaml")
	s.nodes["cp2"].n.Write(harden.EncryptionIncoming, "kind: EncryptionConfiguration\n", 0o600)
	says("cp2", "", "no configuration that this program has written")
	s.copy("cp1", "cp2")
	s.nodes["cp2"].n.Write(harden.EncryptionIncoming, string(s.nodes["cp2"].n.Files[harden.EncryptionIncoming].Data), 0o640)
	says("cp2", "", "chmod 600")
	s.copy("cp1", "cp2")
	run("cp2", "", "identity key1", "steps", adopted)
	says("cp1", "", "it has read no encryption configuration")
	s.copy("cp2", "cp3")
	run("cp3", "", "identity key1", "steps", adopted)

	run("cp2", "", "key1 identity", "steps, no return", "steps, no return; anew: "+plain)
	run("cp1", "", "key1 identity", "steps, no return", "steps, no return")
	run("cp3", "", "key1 identity", "steps, no return; anew: "+allKey1, "steps, no return")

	run("cp3", "rotate-key", "key1 key2 identity", "steps", "only if "+noKey2+"; steps")
	says("cp1", "rotate-key", "put a copy of its file at /etc/kubernetes/enc/incoming.yaml")
	says("cp3", "rotate-key", "bring every control plane to the same first")
	s.copy("cp3", "cp1")
	run("cp1", "rotate-key", "key1 key2 identity", "steps", "only if "+noKey2+"; steps")
	s.copy("cp3", "cp2")
	run("cp2", "rotate-key", "key1 key2 identity", "steps", "only if "+noKey2+"; steps")
	run("cp1", "rotate-key", "key2 key1 identity", "steps, no return", "steps, no return; anew: "+allKey1)
	run("cp2", "rotate-key", "key2 key1 identity", "steps, no return", "steps, no return")
	says("cp1", "rotate-key", "bring every control plane to the same first")
	run("cp3", "rotate-key", "key2 key1 identity", "steps, no return; anew: "+allKey2, "steps, no return")
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		run(node, "rotate-key", "key2 identity", "only if "+noKey1+"; steps", "steps")
	}

	for i, d := range slices.Backward(all) {
		back, err := s.nodes[d.node].undo(d.plan)
		if err != nil || stages(back) != d.back {
			t.Errorf("undoing run %d on %s: %v, stages %s, want %s", i, d.node, err, stages(back), d.back)
		}
		for _, c := range back.Preflight {
			if c.State == harden.Unmet && c.Blocks {
				t.Errorf("undoing run %d on %s is blocked: %s", i, d.node, c.Message)
			}
		}
	}
	for name, n := range s.nodes {
		if got := n.order(); got != "none" {
			t.Errorf("%s has %s in the end", name, got)
		}
	}
}

// TestAKeyThatOthersWriteWithIsNotUndone: an older change is not undone while another control plane is ahead of it.
func TestAKeyThatOthersWriteWithIsNotUndone(t *testing.T) {
	s := newSharing(t)
	s.nodes["cp1"].run("", true)
	s.copy("cp1", "cp2")
	second := s.nodes["cp2"].run("", true)
	s.copy("cp1", "cp3")
	s.nodes["cp3"].run("", true)
	s.nodes["cp1"].run("", true)
	back, err := s.nodes["cp2"].undo(second)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(back.Preflight, func(c harden.Check) bool { return c.ID == "same-key" && c.State == harden.Unmet && c.Blocks }) {
		t.Errorf("the key that cp1 writes with is taken from cp2: %v", back.Preflight)
	}
}

// TestAnAPIServerThatHasNotReadItsFile keeps it from being taken for what the others have to follow.
func TestAnAPIServerThatHasNotReadItsFile(t *testing.T) {
	s := newSharing(t)
	s.nodes["cp1"].run("", true)
	s.copy("cp1", "cp2")
	s.nodes["cp2"].run("", true)
	s.copy("cp1", "cp3")
	s.nodes["cp3"].run("", true)
	read := s.keys()
	read[0].SHA256 = ""
	s.nodes["cp1"].keys = func() []harden.KeyFact { return read }
	if got := s.blocked("cp1", ""); !strings.Contains(got, "it has read no encryption configuration, and the one of sha256") {
		t.Errorf("blocked by %q", got)
	}
	read[0].SHA256 = read[1].SHA256
	read[2].SHA256, read[2].Unread = "", harden.Msg("it does not answer")
	if got := s.blocked("cp1", ""); !strings.Contains(got, "what cp3 encrypts with is not known: it does not answer") {
		t.Errorf("blocked by %q", got)
	}
}

func TestOtherControlPlanesThatWriteOtherwise(t *testing.T) {
	s := newSharing(t)
	s.nodes["cp1"].run("", true)
	for _, to := range []string{"cp2", "cp3"} {
		s.copy("cp1", to)
		s.nodes[to].run("", true)
	}
	s.nodes["cp1"].run("", true)
	v := assessEncryption(s.nodes["cp1"].facts())
	if v.Status != harden.StatusFail || !strings.Contains(v.Message.String(), "cp2, cp3") {
		t.Errorf("%s: %s", v.Status, v.Message)
	}
	if got := s.blocked("cp1", ""); !strings.Contains(got, "run it on cp2, cp3") {
		t.Errorf("blocked by %q", got)
	}
	s.nodes["cp2"].run("", true)
	s.nodes["cp3"].run("", true)
	if v := assessEncryption(s.nodes["cp1"].facts()); v.Status != harden.StatusPass {
		t.Errorf("%s: %s", v.Status, v.Message)
	}
}

// TestAControlPlaneThatHasLostItsKey takes over a file that writes with its key, as there is no other: it could read nothing before.
func TestAControlPlaneThatHasLostItsKey(t *testing.T) {
	s := newSharing(t)
	s.nodes["cp1"].run("", true)
	for _, to := range []string{"cp2", "cp3"} {
		s.copy("cp1", to)
		s.nodes[to].run("", true)
	}
	for _, n := range []string{"cp1", "cp2", "cp3"} {
		s.nodes[n].run("", true)
	}
	s.nodes["cp3"].n = hardentest.APIServer(t, "1.37") // an older /etc/kubernetes was brought back
	s.copy("cp1", "cp3")
	p := s.wants("cp3", "", "key1 identity", "steps")
	if !p.Stages[0].WritesAtOnce() {
		t.Error("that it writes with the key at once is not told to the applier")
	}
	s.nodes["cp3"].n, s.nodes["cp2"].n = hardentest.APIServer(t, "1.37"), hardentest.APIServer(t, "1.37")
	s.copy("cp1", "cp3")
	if got := s.blocked("cp3", ""); !strings.Contains(got, "not every other control plane has read yet") {
		t.Errorf("blocked by %q", got)
	}
}

// TestSharingBeforeAnAPIServerTellsWhatItReads is refused before the first key is made, not after it.
func TestSharingBeforeAnAPIServerTellsWhatItReads(t *testing.T) {
	s := newSharing(t)
	s.nodes["cp1"].n = hardentest.APIServer(t, "1.30")
	if got := s.blocked("cp1", ""); !strings.Contains(got, "before Kubernetes 1.34") {
		t.Errorf("blocked by %q", got)
	}
}

// TestAKeyGoesThatKubeadmNamesStill: what keeps the flag may be another control plane's run, which an undo here does not undo.
func TestAKeyGoesThatKubeadmNamesStill(t *testing.T) {
	s := newSharing(t)
	p := s.nodes["cp1"].run("", true)
	f := s.nodes["cp1"].facts()
	says := func(k *harden.KubeadmFact) bool {
		back, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: f, Read: s.nodes["cp1"].n.State, Kubeadm: k})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(back.Preflight, func(c harden.Check) bool { return c.ID == "not-kept" && !c.Blocks })
	}
	if !says(f.Cluster.Kubeadm) || says(&harden.KubeadmFact{}) || says(nil) {
		t.Errorf("told where kubeadm names it: %v, where it does not: %v, where nobody knows: %v", says(f.Cluster.Kubeadm), says(&harden.KubeadmFact{}), says(nil))
	}
}
