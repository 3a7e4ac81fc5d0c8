package harden_test

import (
	"maps"
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const etcdDir = "/var/lib/etcd"

// attributes are controls that change modes and owners only, and one that edits a file of theirs.
func attributes() []harden.Area {
	return []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("manifest-mode", harden.RiskNode, harden.SetMode(apiserverManifest, 0o600)),
		failing("manifest-owner", harden.RiskNode, harden.SetOwner(apiserverManifest, 0, 0)),
		failing("profiling", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")),
		failing("directory", harden.RiskNode, harden.OfDir(harden.SetMode(etcdDir, 0o700)), harden.OfDir(harden.SetOwner(etcdDir, 0, 0))),
		failing("mistaken", harden.RiskNode, harden.SetMode(etcdDir, 0o700)),
		failing("other", harden.RiskNode, harden.SetOwner(apiserverManifest, 1, 1)),
	}}}
}

// loose is a node whose manifest and etcd directory others than root can read and own.
func loose(t *testing.T) *hardentest.Node {
	t.Helper()
	n := hardentest.Fixture(t, "1.37")
	for _, p := range []string{apiserverManifest, etcdDir} {
		s := n.Files[p]
		s.Mode |= 0o055
		s.UID, s.GID = 1000, 1000
		n.Files[p] = s
	}
	return n
}

func planAttributes(t *testing.T, n *hardentest.Node, controls ...string) (harden.Plan, error) {
	t.Helper()
	var choices []harden.Choice
	for _, c := range controls {
		choices = append(choices, harden.Choice{Control: c})
	}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: attributes(), Choices: choices, Read: n.State})
	return plans.Node, err
}

func TestModesAndOwnersRestartNothing(t *testing.T) {
	n := loose(t)
	before := maps.Clone(n.Files)
	p, err := planAttributes(t, n, "manifest-mode", "manifest-owner", "directory")
	if err != nil {
		t.Fatal(err)
	}
	if err := harden.CheckPlan(p, n.Facts(t)); err != nil {
		t.Error(err)
	}
	if got, want := ids(p), []string{etcdDir, apiserverManifest}; !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	if len(p.Stages[0].Effects)+len(p.Stages[0].Gates) > 0 {
		t.Errorf("something restarts: %+v", p.Stages[0].Effects)
	}
	n.Apply(p)
	for _, path := range []string{apiserverManifest, etcdDir} {
		if s := n.Files[path]; s.Mode&0o077 != 0 || s.UID != 0 || s.GID != 0 {
			t.Errorf("%s: mode %o, owner %d:%d", path, s.Mode, s.UID, s.GID)
		}
	}
	if again, err := planAttributes(t, n, "manifest-mode", "manifest-owner", "directory"); err != nil || !again.Empty() {
		t.Errorf("the same again: %v, %v", ids(again), err)
	}
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if !maps.EqualFunc(n.Files, before, harden.State.Equal) {
		t.Error("modes and owners are not as before")
	}
}

func TestAManifestIsOneTargetWhetherItsPathOrItsComponentIsNamed(t *testing.T) {
	for _, order := range [][]string{{"manifest-mode", "profiling"}, {"profiling", "manifest-mode"}} {
		n := loose(t)
		p, err := planAttributes(t, n, order...)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(p); len(got) != 1 || len(p.Stages[0].Effects) != 1 {
			t.Errorf("%v: steps %v, effects %v", order, got, p.Stages[0].Effects)
		}
		n.Apply(p)
		back, err := undo(t, n, p, "manifest-mode")
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Stages[0].Effects) > 0 {
			t.Errorf("undoing the mode restarts something: %+v", back.Stages[0].Effects)
		}
		n.Apply(back)
		if s := n.Files[apiserverManifest]; s.Mode != 0o655 || !slices.Contains(n.Facts(t).Component(harden.APIServer).Args, "--profiling=false") {
			t.Errorf("undoing the mode: mode %o", s.Mode)
		}
	}
}

func TestADirectorysModeComesBackWhenOthersChangedItsOwner(t *testing.T) {
	n := loose(t)
	p, err := planAttributes(t, n, "directory")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(p)
	s := n.Files[etcdDir]
	s.UID = 107
	n.Files[etcdDir] = s
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if s := n.Files[etcdDir]; s.Mode != 0o755 || s.UID != 107 || s.GID != 0 {
		t.Errorf("mode %o, owner %d:%d", s.Mode, s.UID, s.GID)
	}
}

func TestAttributesOfTheWrongKindOfFileAreRefused(t *testing.T) {
	if p, err := planAttributes(t, loose(t), "mistaken"); err != nil || !p.Empty() || len(p.Skipped) != 1 || !p.Skipped[0].Refused {
		t.Errorf("planned %v, left out %v, %v", ids(p), p.Skipped, err)
	}
	if p, err := planAttributes(t, loose(t), "manifest-owner", "other"); err == nil {
		t.Errorf("planned %v", ids(p))
	}
}
