package harden_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// underway is the check that no kubeadm command changes the node.
func underway(p harden.Plan) (harden.Check, bool) {
	i := slices.IndexFunc(p.Preflight, func(c harden.Check) bool { return c.ID == "no-kubeadm-run" })
	if i < 0 {
		return harden.Check{}, false
	}
	return p.Preflight[i], true
}

func TestKubeadmAtWorkBlocksPlans(t *testing.T) {
	const tmp = "/etc/kubernetes/tmp/"
	runs := func(args string) func(*harden.Facts) {
		return func(f *harden.Facts) {
			f.KubeadmRuns = []harden.ProcessFact{{PID: 4711, Args: strings.Fields(args)}}
		}
	}
	dir := func(name string, age time.Duration) func(*harden.Facts) {
		return func(f *harden.Facts) {
			f.Stats[tmp+name] = harden.StatFact{Path: tmp + name, Kind: harden.StatDir, Modified: f.CollectedAt.Add(-age)}
		}
	}
	for _, row := range []struct {
		name    string
		arrange func(*harden.Facts)
		says    string // "" where nothing is in the way
	}{
		{"nothing", func(*harden.Facts) {}, ""},
		{"an upgrade", runs("/usr/bin/kubeadm upgrade apply v1.37.3 --yes"), "kubeadm upgrade apply runs as process 4711; plan again when it has ended"},
		{"an upgrade of this node", runs("kubeadm --v 5 upgrade node --patches /etc/kubernetes/patches"), "kubeadm upgrade node runs"},
		{"a phase of one", runs("kubeadm upgrade node phase kubelet-config"), "kubeadm upgrade node runs"},
		{"a manifest written anew", runs("kubeadm init phase control-plane apiserver --config x.yaml"), "kubeadm init runs"},
		{"a join", runs("kubeadm join 192.0.2.11:6443 --control-plane"), "kubeadm join runs"},
		{"a reset", runs("kubeadm reset -f"), "kubeadm reset runs"},
		{"new certificates", runs("kubeadm certs renew all"), "kubeadm certs renew runs"},
		{"a look at certificates", runs("kubeadm certs check-expiration"), ""},
		{"a look at what could be had", runs("kubeadm upgrade plan"), ""},
		{"a look at what would change", runs("kubeadm upgrade diff v1.37.3"), ""},
		{"a trial", runs("kubeadm upgrade apply v1.37.3 --dry-run"), ""},
		{"a list of images", runs("kubeadm config images list"), ""},
		{"a token that is called after a command", runs("kubeadm token create --description upgrade apply"), ""},
		{"a program without arguments", runs(""), ""},
		{"an upgrade that cannot be seen", dir("kubeadm-upgraded-manifests123", 3*time.Minute), "wrote to " + tmp + "kubeadm-upgraded-manifests123 3m ago"},
		{"an upgrade that failed long ago", dir("kubeadm-upgraded-manifests123", 16*time.Minute), ""},
		{"an upgrade in a far future", dir("kubeadm-upgraded-manifests123", -time.Hour), ""},
		{"what an upgrade keeps when it has ended", dir("kubeadm-backup-manifests-2026-12-01-11-59-00", time.Minute), ""},
		{"what a trial leaves", dir("kubeadm-upgrade-dryrun55", time.Minute), ""},
		{"a directory inside", dir("kubeadm-upgraded-manifests123/x", time.Minute), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			f := n.Facts(t)
			areas := testAreas()
			made := buildWith(t, n, f, areas, "profiling")
			row.arrange(f)
			p := buildWith(t, n, f, areas, "profiling")
			c, ok := underway(p)
			if !ok || (c.State == harden.Met) != (row.says == "") || !strings.Contains(c.Message.String(), row.says) {
				t.Fatalf("%+v", c)
			}
			if blocking := p.Blocking(); (len(blocking) > 0) != (row.says != "") || row.says != "" && len(c.Evidence) != 1 {
				t.Errorf("it blocks by %+v, seen %+v", blocking, c.Evidence)
			}
			// Again right before it is applied, whatever was seen when it was planned.
			unmet, err := harden.Recheck(made, f, areas)
			if err != nil || (len(unmet) == 1 && unmet[0].ID == "no-kubeadm-run") != (row.says != "") {
				t.Errorf("looked at again: %+v %v", unmet, err)
			}
		})
	}
}

func buildWith(t *testing.T, n *hardentest.Node, f *harden.Facts, areas []harden.Area, controls ...string) harden.Plan {
	t.Helper()
	var choices []harden.Choice
	for _, c := range controls {
		choices = append(choices, harden.Choice{Control: c})
	}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return plans.Node
}

// Whether kubeadm runs may not be known: that is said, and forbids nothing.
func TestKubeadmThatCannotBeLookedForIsUnknown(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	f := n.Facts(t)
	f.Missing[harden.NeedKubeadmRuns] = harden.Msg("processes cannot be listed")
	p := buildWith(t, n, f, testAreas(), "profiling")
	if c, ok := underway(p); !ok || c.State != harden.PreconditionUnknown || c.Blocks || c.Message.String() != "processes cannot be listed" {
		t.Errorf("%+v", c)
	}
}

// What kubeadm has no part in may be changed beside it, and what brings back what was may always be done.
func TestKubeadmAtWorkIsNoMatterOf(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	f := n.Facts(t)
	f.KubeadmRuns = []harden.ProcessFact{{PID: 4711, Args: []string{"kubeadm", "upgrade", "apply"}}}
	f.Cluster, f.Missing = &harden.ClusterFacts{}, nil
	policy := failing("policy-of-pods", harden.RiskNode, harden.PutObject(
		harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny"}, []byte("kind: NetworkPolicy\n")))
	plans, err := harden.Build(harden.BuildInput{
		Facts: f, Areas: []harden.Area{{ID: "test", Controls: []harden.Control{policy}}}, Choices: []harden.Choice{{Control: "policy-of-pods"}}, Read: n.State,
		Preview: func(_ harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
			return harden.ObjectPreview{After: harden.State{Exists: true, Data: yaml}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := underway(plans.Cluster); ok || plans.Cluster.Empty() {
		t.Errorf("an object that is none of kubeadm's: %+v", c)
	}

	p := build(t, n, "profiling")
	n.Apply(p)
	after := n.Facts(t)
	after.KubeadmRuns = f.KubeadmRuns
	undo, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: after, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := underway(undo); ok || undo.Empty() {
		t.Errorf("an undo: %+v", c)
	}
}
