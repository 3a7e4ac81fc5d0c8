package apiserver

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// storing is a node whose encryption is set up run by run.
type storing struct {
	t     *testing.T
	n     *hardentest.Node
	made  byte     // keys so far
	kept  bool     // by kubeadm
	peers []string // other control planes
	name  string   // of the node; "": cp1
	keys  func() []harden.KeyFact
}

func (s *storing) facts() *harden.Facts {
	f := s.n.Facts(s.t)
	f.Identity.Offline, f.Identity.Node = false, cmp.Or(s.name, "cp1")
	k := &harden.KubeadmFact{}
	if s.kept {
		k.ExtraArgs = map[harden.ComponentID][]harden.KubeadmArg{harden.APIServer: {{Name: encryptionFlag, Value: harden.EncryptionFile}}}
		k.ExtraVolumes = map[harden.ComponentID][]harden.KubeadmVolume{harden.APIServer: {{Name: "e", HostPath: harden.EncryptionDir, MountPath: harden.EncryptionDir}}}
	}
	f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{{Name: f.Identity.Node, ControlPlane: true}, {Name: "w1"}}, Kubeadm: k}
	delete(f.Missing, harden.NeedNodes)
	delete(f.Missing, harden.NeedKeys)
	for _, p := range s.peers {
		f.Cluster.Nodes = append(f.Cluster.Nodes, harden.NodeFact{Name: p, ControlPlane: true})
	}
	if s.keys != nil {
		f.Cluster.Keys = s.keys()
	}
	return f
}

// key is the nth one, as it stands in the file.
func (s *storing) key(n byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, harden.EncryptionKeySize))
}

func (s *storing) build(f *harden.Facts, remedy string, accept bool, options harden.Values) (harden.Plan, error) {
	plans, err := harden.Build(harden.BuildInput{
		Facts: f, Areas: []harden.Area{Area()}, Read: s.n.State,
		Choices: []harden.Choice{{Control: encryptionID, Remedy: remedy, Accept: accept, Options: options, Named: true}},
		NewKey:  func() []byte { s.made++; return bytes.Repeat([]byte{s.made}, harden.EncryptionKeySize) },
	})
	return plans.Node, err
}

// run plans one run and does it.
func (s *storing) run(remedy string, accept bool) harden.Plan {
	s.t.Helper()
	p, err := s.build(s.facts(), remedy, accept, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if p.Empty() {
		s.t.Fatalf("nothing is planned: %v", p.Skipped)
	}
	f := s.facts()
	if err := harden.CheckPlan(p, f); err != nil {
		s.t.Error(err)
	}
	if unmet, err := harden.Recheck(p, f, []harden.Area{Area()}); err != nil || len(unmet) > 0 {
		s.t.Errorf("checked again: %v, %v", unmet, err)
	}
	s.n.Apply(p)
	return p
}

// order are the providers and keys of the file, without what they hold.
func (s *storing) order() string {
	file, ok := s.n.Files[harden.EncryptionFile]
	if !ok {
		return "none"
	}
	c, ours := harden.ParseEncryption(file.Data)
	if !ours || file.Mode != 0o600 || file.UID != 0 || s.n.Files[harden.EncryptionDir].Mode != 0o700 {
		s.t.Errorf("it is not ours, or can be read by others: %v, mode %o", ours, file.Mode)
	}
	var names []string
	for _, k := range c.Keys {
		names = append(names, k.Name)
	}
	if c.Plain {
		return "identity " + strings.Join(names, " ")
	}
	return strings.Join(names, " ") + " identity"
}

func stages(p harden.Plan) string {
	var out []string
	for _, st := range p.Stages {
		word := "steps"
		switch {
		case st.NoReturn:
			word = "steps, no return"
		case len(st.Steps) > 0:
		case len(st.Effects) > 0:
			word = "anew: " + st.Effects[0].Stored.Words().String()
		default:
			word = "only if " + st.Gates[0].Stored.Words().String()
		}
		out = append(out, word)
	}
	return strings.Join(out, "; ")
}

func (s *storing) undo(p harden.Plan) (harden.Plan, error) {
	in := harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: s.facts(), Read: s.n.State}
	in.Keys = in.Facts.Cluster.Keys
	back, err := harden.Undo(in)
	if err == nil {
		s.n.Apply(back)
	}
	return back, err
}

const (
	allKey1 = "each of the secrets in etcd is encrypted, and begins with k8s:enc:secretbox:v1:key1:"
	allKey2 = "each of the secrets in etcd is encrypted, and begins with k8s:enc:secretbox:v1:key2:"
	noKey1  = "none of the secrets in etcd begins with k8s:enc:secretbox:v1:key1:"
	noKey2  = "none of the secrets in etcd begins with k8s:enc:secretbox:v1:key2:"
	plain   = "none of the secrets in etcd is encrypted"
)

// TestEncryptionRunByRun goes all the way: a key that reads, then writes; a newer one; and everything back.
func TestEncryptionRunByRun(t *testing.T) {
	for _, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			s := &storing{t: t, n: hardentest.APIServer(t, minor)}
			before := s.n.Files[harden.StaticPodDir+"/kube-apiserver.yaml"]
			var done []harden.Plan
			for i, run := range []struct {
				remedy        string
				accept        bool
				order, stages string
				next          string
				snapshot      bool
				back          string
			}{
				{remedy: "", order: "identity key1", stages: "steps", next: "nothing is encrypted by the first run", back: "only if " + plain + "; steps"},
				{remedy: "", accept: true, order: "key1 identity", stages: "steps, no return; anew: " + allKey1, snapshot: true, back: "steps, no return; anew: " + plain},
				{remedy: "rotate-key", order: "key1 key2 identity", stages: "steps", next: "nothing is written with the new key yet", back: "only if " + noKey2 + "; steps"},
				{remedy: "rotate-key", accept: true, order: "key2 key1 identity", stages: "steps, no return; anew: " + allKey2, next: "the old key is still there", snapshot: true, back: "steps, no return; anew: " + allKey1},
				{remedy: "rotate-key", order: "key2 identity", stages: "only if " + noKey1 + "; steps", back: "steps"},
			} {
				p := s.run(run.remedy, run.accept)
				s.kept = true
				done = append(done, p)
				if got := s.order(); got != run.order {
					t.Errorf("run %d leaves %s, want %s", i, got, run.order)
				}
				if got := stages(p); got != run.stages {
					t.Errorf("run %d has the stages %s, want %s", i, got, run.stages)
				}
				saved := slices.ContainsFunc(p.Stages[0].Effects, func(e harden.Effect) bool { return e.Kind == harden.EffectSnapshot })
				if saved != run.snapshot {
					t.Errorf("run %d saves etcd: %v", i, saved)
				}
				said := ""
				for _, skip := range p.Skipped {
					said += skip.Reason.String()
				}
				if run.next == "" && said != "" || !strings.Contains(said, run.next) {
					t.Errorf("run %d says what is next: %q", i, said)
				}
				facts, err := json.Marshal(s.facts())
				if err != nil || strings.Contains(string(facts), s.key(1)) || strings.Contains(string(facts), s.key(2)) {
					t.Errorf("a key is among the facts, or they cannot be written: %v", err)
				}
				for _, step := range p.Steps() {
					if step.Path == harden.EncryptionFile && !step.Secret {
						t.Errorf("run %d would show the file", i)
					}
				}
				defer func() {
					if back, err := s.undo(p); err != nil || stages(back) != run.back {
						t.Errorf("undoing run %d: %v, stages %s, want %s", i, err, stages(back), run.back)
					}
					if i == 0 && (s.order() != "none" || !s.n.Files[harden.StaticPodDir+"/kube-apiserver.yaml"].Equal(before)) {
						t.Errorf("in the end there is %s", s.order())
					}
				}()
			}
			// What an older run has made stays while a newer one needs it.
			var conflict *harden.UndoConflictError
			if _, err := s.undo(done[0]); !errors.As(err, &conflict) || bytes.Contains(append(conflict.Want, conflict.Now...), []byte(s.key(1))) {
				t.Errorf("the first run was undone below the others: %v", err)
			}
		})
	}
}

func TestEncryptionIsRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		edits   []hardentest.Edit
		change  func(*storing)
		facts   func(*harden.Facts)
		remedy  string
		runs    int // that were done before
		accept  bool
		options harden.Values
		says    string
	}{
		{name: "the key is not stored", runs: 1, change: func(s *storing) { s.kept = true }, says: "copy /etc/kubernetes/enc/enc.yaml (key key1, sha256 of the file"},
		{name: "kubeadm would forget it", runs: 1, accept: true, says: "keep it first, with --control upgrade-static-pods"},
		{name: "several control planes", change: func(s *storing) { s.peers = []string{"cp2"} }, accept: true, says: "no API server of it is known"},
		{name: "no API", facts: func(f *harden.Facts) { f.Cluster = nil }, says: "the cluster's API cannot be asked"},
		{name: "an offline root", facts: func(f *harden.Facts) { f.Identity.Offline = true }, accept: true, says: "no kubelet runs from this root"},
		{name: "another etcd", edits: []hardentest.Edit{hardentest.Flag("etcd-servers-overrides", "/events#https://192.0.2.1:2379")}, accept: true, says: "in another etcd is not looked"},
		{name: "a file that lies there", change: func(s *storing) { s.n.Write(harden.EncryptionFile, "theirs", 0o600) }, accept: true, says: "no API server reads it"},
		{name: "nothing to rotate", remedy: "rotate-key", accept: true, says: "take the remedy secretbox first"},
		{name: "somebody else's", edits: []hardentest.Edit{hardentest.Flag(encryptionFlag, "/etc/kubernetes/pki/enc.yaml")}, accept: true,
			change: func(s *storing) {
				s.n.Write("/etc/kubernetes/pki/enc.yaml", "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: [{resources: [secrets], providers: [{identity: {}}]}]\n", 0o600)
			}, says: "not as this program writes it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &storing{t: t, n: hardentest.APIServer(t, "1.37", row.edits...)}
			for range row.runs {
				s.run("", false)
			}
			if row.change != nil {
				row.change(s)
			}
			f := s.facts()
			if row.facts != nil {
				row.facts(f)
			}
			p, err := s.build(f, row.remedy, row.accept, row.options)
			if err != nil || !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), row.says) {
				t.Errorf("%v, skipped %v; want one because of %q", err, p.Skipped, row.says)
			}
		})
	}
	s := &storing{t: t, n: hardentest.APIServer(t, "1.37")}
	for _, v := range []string{"configmaps", "secrets,pods", "secrets,secrets", ""} {
		if _, err := s.build(s.facts(), "", false, harden.Values{"resources": v}); err == nil {
			t.Errorf("%q can be encrypted", v)
		}
	}
	// What passes is left as it is, and a new key has its own remedy.
	s.run("", false)
	s.kept = true
	s.run("", true)
	for remedy, says := range map[string]string{"": "it passes already", "secretbox": "take the remedy rotate-key"} {
		if p, err := s.build(s.facts(), remedy, true, nil); err != nil || !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), says) {
			t.Errorf("the same again: %v, %v: %v", err, stages(p), p.Skipped)
		}
	}
}

// TestKubeadmsFlagIsNeededToo: taking it out of kubeadm's configuration makes Secrets unreadable at the next upgrade.
func TestKubeadmsFlagIsNeededToo(t *testing.T) {
	flag := harden.SetFlag(harden.APIServer, encryptionFlag, harden.EncryptionFile)
	flag.Object = &harden.KubeadmConfig
	step := harden.Step{
		ID: flag.Object.String(), Kind: harden.StepObject, Object: flag.Object, UID: "u", ResourceVersion: "1",
		Before: harden.State{Exists: true, Data: []byte("before")}, After: harden.State{Exists: true, Data: []byte("after")},
		Asks: []harden.Ask{{Control: encryptionID, Intent: flag}},
	}
	s := &storing{t: t, n: hardentest.APIServer(t, "1.37")}
	back, err := harden.Undo(harden.UndoInput{
		Done:  harden.Done{ID: "tx", Plan: harden.Plan{Scope: harden.ScopeCluster, Stages: []harden.Stage{{Steps: []harden.Step{step}}}}},
		Facts: s.facts(), Read: s.n.State,
		Object: func(harden.ObjectRef) (harden.State, string, string, error) { return step.After, "u", "2", nil },
	})
	const want = "only if none of the secrets, configmaps in etcd is encrypted; steps"
	if err != nil || stages(back) != want {
		t.Errorf("%v: stages %s, want %s", err, stages(back), want)
	}
}

// TestAForgedEncryptionPlan cannot say that a key is no secret, nor leave out what is written anew.
func TestAForgedEncryptionPlan(t *testing.T) {
	s := &storing{t: t, n: hardentest.APIServer(t, "1.37")}
	s.run("", false)
	s.kept = true
	for name, forge := range map[string]func(*harden.Plan){
		"shown":           func(p *harden.Plan) { p.Stages[0].Steps[0].Secret = false },
		"simple return":   func(p *harden.Plan) { p.Stages[0].NoReturn = false },
		"no snapshot":     func(p *harden.Plan) { p.Stages[0].Effects = p.Stages[0].Effects[1:] },
		"not anew":        func(p *harden.Plan) { p.Stages = p.Stages[:1] },
		"not looked for":  func(p *harden.Plan) { p.Stages[1].Gates = nil },
		"looked for less": func(p *harden.Plan) { p.Stages[1].Gates[0].Stored = &harden.Stored{Resources: []string{"secrets"}} },
	} {
		p, err := s.build(s.facts(), "", true, nil)
		if err != nil || p.Empty() {
			t.Fatal(err, p.Skipped)
		}
		forge(&p)
		if err := harden.CheckPlan(p, s.facts()); err == nil {
			t.Errorf("%s: it is taken for a plan", name)
		}
	}
}
