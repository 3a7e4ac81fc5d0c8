package harden_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	apiserverManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	kubeletConfig     = "/var/lib/kubelet/config.yaml"
)

// failing makes a control that always fails, with one remedy that asks for the intents.
func failing(id string, risk harden.Risk, intents ...harden.Intent) harden.Control {
	return harden.Control{
		ID: id, Title: id, Needs: []harden.Need{harden.NeedAPIServer},
		Assess: func(*harden.Facts) harden.Verdict { return harden.Failed(harden.Msg("it fails")) },
		Remedies: []harden.Remedy{{ID: "fix", Risk: risk, Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
			return intents, nil
		}}},
	}
}

func testAreas() []harden.Area {
	return []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("profiling", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")),
		failing("quota", harden.RiskNode, harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"ResourceQuota"}, nil)),
		failing("limits", harden.RiskNode, harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"LimitRanger"}, nil)),
		failing("policy", harden.RiskNode,
			harden.MakeDir("/etc/kubernetes/policies", 0o755),
			harden.WriteFile("/etc/kubernetes/policies/audit-policy.yaml", []byte("rules: []\n"), 0o600, harden.APIServer),
			harden.MountPath(harden.APIServer, patches.Mount{Name: "policies", HostPath: "/etc/kubernetes/policies", MountPath: "/etc/kubernetes/policies", ReadOnly: true, Type: "Directory"}),
			harden.SetFlag(harden.APIServer, "audit-policy-file", "/etc/kubernetes/policies/audit-policy.yaml")),
		failing("kubelet", harden.RiskNode, harden.SetField(kubeletConfig, "podPidsLimit", 4096, harden.Kubelet), harden.SetMode(kubeletConfig, 0o600)),
		failing("workloads", harden.RiskWorkloads, harden.SetFlag(harden.APIServer, "extend", "false")),
		failing("opposite", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "true")),
	}}}
}

func build(t *testing.T, n *hardentest.Node, controls ...string) harden.Plan {
	t.Helper()
	var choices []harden.Choice
	for _, c := range controls {
		choices = append(choices, harden.Choice{Control: c})
	}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: testAreas(), Choices: choices, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if !plans.Cluster.Empty() || !plans.Etcd.Empty() {
		t.Fatal("another plan than the node's is not empty")
	}
	return plans.Node
}

func undo(t *testing.T, n *hardentest.Node, done harden.Plan, control string, later ...harden.Done) (harden.Plan, error) {
	t.Helper()
	return harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx1", Plan: done}, Later: later, Controls: only(control), Facts: n.Facts(t), Read: n.State})
}

// only is what an undo is limited to; "" for everything.
func only(control string) []string {
	if control == "" {
		return nil
	}
	return []string{control}
}

// A Kubernetes that is newer than what remedies were tried with holds every remedy back until it is accepted by name.
func TestNewerVersionsAreHeldBackUntilAccepted(t *testing.T) {
	newer := harden.Version{Major: 1, Minor: harden.NewestSupported.Minor + 1}
	control := failing("kubelet-and-server", harden.RiskNode, harden.SetField(kubeletConfig, "podPidsLimit", 4096, harden.Kubelet))
	control.Needs = []harden.Need{harden.NeedKubelet}
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("profiling", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")), control}}}
	for _, row := range []struct {
		name            string
		server, kubelet harden.Version // zero: not known
		held            []string
	}{
		{"both newer", newer, newer, []string{"profiling", "kubelet-and-server"}},
		{"the kubelet not upgraded yet", newer, harden.NewestSupported, []string{"profiling"}},
		{"the kubelet's version not known", newer, harden.Version{}, []string{"profiling", "kubelet-and-server"}},
		{"none newer", harden.NewestSupported, harden.NewestSupported, nil},
		{"nothing known", harden.Version{}, harden.Version{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			f := n.Facts(t)
			f.Component(harden.APIServer).Version, f.Kubelet.Version = row.server, row.kubelet
			if _, said := harden.Untried(f); said != (row.held != nil) {
				t.Errorf("it is said that the version is newer: %v", said)
			}
			for _, accept := range []bool{false, true} {
				var choices []harden.Choice
				for _, c := range areas[0].Controls {
					choices = append(choices, harden.Choice{Control: c.ID, Accept: accept})
				}
				plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State})
				if err != nil {
					t.Fatal(err)
				}
				var held, unknown []string
				for _, s := range plans.Node.Skipped {
					held = append(held, s.Control)
					if !strings.Contains(s.String(), "is newer than v1.37.0, the newest one that it was tried with); accept it with --accept "+s.Control) {
						t.Errorf("%s is left out because %s", s.Control, s.Reason)
					}
				}
				for _, c := range plans.Node.Preflight {
					if c.State == harden.PreconditionUnknown {
						unknown = append(unknown, c.Control)
					}
				}
				want := row.held
				if accept {
					want = nil
				}
				if !slices.Equal(held, want) || !slices.Equal(unknown, row.held) {
					t.Errorf("accepted %v: held back %q, want %q; said of %q", accept, held, want, unknown)
				}
				if accept && len(plans.Node.Choices) != 2 {
					t.Errorf("accepted, and the plan has the choices %v", plans.Node.Choices)
				}
			}
		})
	}
}

// A second file that defines the pod, or a process that runs otherwise, blocks plans on whichever component it is (promise 3).
func TestRivalsAndDriftBlockEveryComponent(t *testing.T) {
	for _, c := range harden.Components {
		if !c.StaticPod() {
			continue
		}
		t.Run(string(c.ID), func(t *testing.T) {
			control := failing("flag", harden.RiskNode, harden.SetFlag(c.ID, "v", "1"))
			control.Needs = []harden.Need{harden.Need(c.ID)}
			var hints []string
			blocking := func(n *hardentest.Node, change func(*harden.Facts)) string {
				hints = nil
				f := n.Facts(t)
				change(f)
				plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{{ID: "test", Controls: []harden.Control{control}}}, Choices: []harden.Choice{{Control: "flag"}}, Read: n.State})
				if err != nil {
					t.Fatal(err)
				}
				var out []string
				for _, p := range []harden.Plan{plans.Node, plans.Etcd} {
					for _, check := range p.Blocking() {
						out, hints = append(out, string(check.Component)+" "+check.ID), append(hints, check.Hints...)
					}
				}
				return strings.Join(out, ", ")
			}
			n := hardentest.Fixture(t, "1.37")
			if got := blocking(n, func(*harden.Facts) {}); got != "" {
				t.Errorf("blocked by %s", got)
			}
			drifted := func(f *harden.Facts) {
				f.Component(c.ID).Process = &harden.ProcessFact{PID: 7, Args: []string{string(c.ID), "--other"}}
			}
			if got, want := blocking(n, drifted), string(c.ID)+" file-is-running"; got != want {
				t.Errorf("drifted: blocked by %q, want %q", got, want)
			}
			manifest := harden.StaticPodDir + "/" + c.Manifest
			refers := hardentest.Fixture(t, "1.37")
			refers.Edit(t, manifest, "    image: ", "    - --other=$(OTHER)\n    image: ")
			if got, want := blocking(refers, func(*harden.Facts) {}), string(c.ID)+" arguments-written-out"; got != want {
				t.Errorf("with an argument from the environment: blocked by %q, want %q", got, want)
			}
			n.Write(manifest+".bak", string(n.Files[manifest].Data), 0o600)
			if got, want := blocking(n, func(*harden.Facts) {}), string(c.ID)+" one-manifest"; got != want {
				t.Errorf("with a rival: blocked by %q, want %q", got, want)
			}
			if want := "mv -n -- '" + manifest + ".bak' '/etc/kubernetes/" + c.Manifest + ".bak'"; !slices.Equal(hints, []string{want}) {
				t.Errorf("hints %q, want %q", hints, want)
			}
		})
	}
}

func TestOneEffectPerComponentHoweverManyControls(t *testing.T) {
	for _, minor := range hardentest.Minors {
		n := hardentest.Fixture(t, minor)
		p := build(t, n, "profiling", "quota", "limits", "policy", "kubelet")
		var ids []string
		for _, s := range p.Steps() {
			ids = append(ids, s.ID)
		}
		want := []string{"/etc/kubernetes/policies", "/etc/kubernetes/policies/audit-policy.yaml", apiserverManifest, kubeletConfig}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: steps %v, want %v", minor, ids, want)
		}
		if len(p.Stages) != 1 || len(p.Stages[0].Effects) != 2 || len(p.Stages[0].Gates) != 2 {
			t.Fatalf("%s: %d stages, effects %+v", minor, len(p.Stages), p.Stages[0].Effects)
		}
		g := p.Stages[0].Gates[0]
		if g.Component != harden.APIServer || !slices.Contains(g.Args, "--profiling=false") || !slices.Contains(g.Args, "--enable-admission-plugins=NodeRestriction,ResourceQuota,LimitRanger") {
			t.Errorf("%s: gate %+v", minor, g)
		}
		if len(g.Probes) != 3 || g.Probes[0].Port != 6443 || g.Probes[0].Scheme != "HTTPS" || g.Probes[0].Host != "192.0.2.11" {
			t.Errorf("%s: probes %+v", minor, g.Probes)
		}
	}
}

func TestLinesAreAttributedToAllControlsThatAskedForThem(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling", "quota", "limits")
	s := p.Steps()[0]
	lines := strings.Split(string(s.After.Data), "\n")
	got := map[string]string{}
	for _, m := range s.Marks {
		if m.New > 0 {
			got[strings.TrimSpace(lines[m.New-1])] = strings.Join(m.Controls, ",")
		}
	}
	want := map[string]string{
		"- --profiling=false": "profiling",
		"- --enable-admission-plugins=NodeRestriction,ResourceQuota,LimitRanger": "quota,limits",
	}
	if !maps.Equal(got, want) {
		t.Errorf("marks: %v", got)
	}
}

// Etcd has a transaction of its own, after the node's; a control cannot ask for etcd and something else.
func TestEtcdIsPlannedApart(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	in := harden.BuildInput{Facts: n.Facts(t), Read: n.State, Areas: []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("profiling", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")),
		failing("suites", harden.RiskNode,
			harden.WriteFile("/etc/kubernetes/etcd/extra.yaml", []byte("a: b\n"), 0o600, ""),
			harden.SetFlag(harden.Etcd, "tls-min-version", "TLS1.2")),
		failing("both", harden.RiskNode, harden.SetFlag(harden.Etcd, "auto-tls", "false"), harden.SetFlag(harden.APIServer, "etcd-cafile", "/ca.crt")),
	}}}}
	in.Choices = []harden.Choice{{Control: "profiling"}, {Control: "suites"}}
	plans, err := harden.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	inOrder := plans.InOrder()
	if len(inOrder) != 3 || !inOrder[2].Empty() {
		t.Fatalf("%d plans", len(inOrder))
	}
	for i, want := range []struct{ control, last string }{{"profiling", apiserverManifest}, {"suites", "/etc/kubernetes/manifests/etcd.yaml"}} {
		p := inOrder[i]
		steps := p.Steps()
		if p.Scope != harden.ScopeNode || !slices.Equal(p.Controls(), []string{want.control}) || steps[len(steps)-1].ID != want.last ||
			len(p.Choices) != 1 || len(p.Stages[0].Effects) != 1 || len(p.Stages[0].Gates) != 1 {
			t.Errorf("plan %d: %+v", i, p)
		}
		if err := harden.CheckPlan(p, in.Facts); err != nil {
			t.Error(err)
		}
	}
	joined := inOrder[0]
	joined.Stages = []harden.Stage{joined.Stages[0]}
	joined.Stages[0].Effects = append(joined.Stages[0].Effects, inOrder[1].Stages[0].Effects...)
	joined.Stages[0].Gates = append(joined.Stages[0].Gates, inOrder[1].Stages[0].Gates...)
	if err := harden.CheckPlan(joined, in.Facts); err == nil || !strings.Contains(err.Error(), "transaction of its own") {
		t.Errorf("one plan for both: %v", err)
	}
	in.Areas = append(in.Areas, harden.Area{ID: "files", Controls: []harden.Control{
		failing("mode", harden.RiskNode, harden.SetMode("/etc/kubernetes/manifests/etcd.yaml", 0o400)),
	}})
	in.Choices = []harden.Choice{{Control: "mode"}}
	if alone, err := harden.Build(in); err != nil || len(alone.Node.Steps()) != 1 || len(alone.Node.Stages[0].Effects) != 0 {
		t.Errorf("a mode alone is the node's, and restarts nothing: %+v, %v", alone, err)
	}
	in.Choices = []harden.Choice{{Control: "profiling"}, {Control: "suites"}, {Control: "mode"}}
	plans, err = harden.Build(in)
	if err != nil || len(plans.Node.Steps()) != 1 || len(plans.Etcd.Choices) != 2 {
		t.Fatalf("a mode beside a flag goes with it: %+v, %v", plans, err)
	}
	for _, p := range plans.InOrder() {
		if err := harden.CheckPlan(p, in.Facts); err != nil {
			t.Error(err)
		}
	}
	in.Choices = []harden.Choice{{Control: "both"}}
	if _, err := harden.Build(in); err == nil || !strings.Contains(err.Error(), "both: it asks for a change of etcd together") {
		t.Errorf("one control for both: %v", err)
	}
}

func TestConflictNamesBothControls(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	_, err := harden.Build(harden.BuildInput{
		Facts: n.Facts(t), Areas: testAreas(), Read: n.State,
		Choices: []harden.Choice{{Control: "profiling"}, {Control: "opposite"}},
	})
	var conflict *harden.ConflictError
	if !errors.As(err, &conflict) || conflict.First != "profiling" || conflict.Second != "opposite" {
		t.Errorf("got %v", err)
	}
}

func TestAllLeavesOutWhatCanHurtWorkloads(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	choices, skipped, err := harden.Select(n.Facts(t), testAreas(), harden.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || skipped[0].Control != "workloads" || !strings.Contains(skipped[0].String(), "--control workloads") {
		t.Errorf("skipped: %+v", skipped)
	}
	if len(choices) != len(testAreas()[0].Controls)-1 {
		t.Errorf("choices: %+v", choices)
	}
}

// TestNoRemedyIsNoMatterOfTheVersion: a control without any was said to have none for this version.
func TestNoRemedyIsNoMatterOfTheVersion(t *testing.T) {
	byHand := failing("by-hand", harden.RiskNode)
	byHand.Remedies = nil
	newer := failing("newer", harden.RiskNode)
	newer.Remedies[0].Versions = harden.Since(99)
	f := hardentest.Fixture(t, "1.37").Facts(t)
	_, skipped, err := harden.Select(f, []harden.Area{{ID: "test", Controls: []harden.Control{byHand, newer}}}, harden.Selection{All: true})
	if err != nil || len(skipped) != 2 {
		t.Fatalf("%v, %v", skipped, err)
	}
	if byHand, newer := skipped[0].Reason.String(), skipped[1].Reason.String(); strings.Contains(byHand, "version") || !strings.Contains(newer, "for this version") {
		t.Errorf("%q, %q", byHand, newer)
	}
}

func TestUndoReturnsEveryByte(t *testing.T) {
	for _, minor := range hardentest.Minors {
		n := hardentest.Fixture(t, minor)
		before := maps.Clone(n.Files)
		p := build(t, n, "profiling", "quota", "limits", "policy", "kubelet")
		n.Apply(p)
		back, err := undo(t, n, p, "")
		if err != nil {
			t.Fatal(err)
		}
		n.Apply(back)
		if !maps.EqualFunc(n.Files, before, harden.State.Equal) {
			t.Errorf("%s: files are not as before", minor)
		}
		if again, err := undo(t, n, p, ""); err != nil || !again.Empty() {
			t.Errorf("%s: undoing twice: %v, %+v", minor, err, again.Steps())
		}
	}
}

func TestUndoOfOneControlKeepsTheOthers(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling", "quota", "limits", "policy", "kubelet")
	n.Apply(p)
	back, err := undo(t, n, p, "quota")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	want := hardentest.Fixture(t, "1.37")
	want.Apply(build(t, want, "profiling", "limits", "policy", "kubelet"))
	if !maps.EqualFunc(n.Files, want.Files, harden.State.Equal) {
		t.Errorf("got\n%s", n.Files[apiserverManifest].Data)
	}
}

func TestUndoKeepsAnImageThatWasUpgradedInBetween(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling", "policy")
	n.Apply(p)
	n.Edit(t, apiserverManifest, "kube-apiserver:v1.37.2", "kube-apiserver:v1.37.3")
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	want := hardentest.Fixture(t, "1.37")
	want.Edit(t, apiserverManifest, "kube-apiserver:v1.37.2", "kube-apiserver:v1.37.3")
	if got := n.Files[apiserverManifest]; !got.Equal(want.Files[apiserverManifest]) {
		t.Errorf("got\n%s", got.Data)
	}
}

func TestUndoBelowANewerTransactionOnTheSameLinesNamesIt(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	first := build(t, n, "quota")
	n.Apply(first)
	second := build(t, n, "limits")
	n.Apply(second)
	_, err := undo(t, n, first, "", harden.Done{ID: "tx2", Plan: second})
	var conflict *harden.UndoConflictError
	if !errors.As(err, &conflict) || conflict.Later != "tx2" || conflict.Target != apiserverManifest {
		t.Errorf("got %v", err)
	}
}

func TestARivalManifestBlocksThePlan(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/kubernetes/manifests/kube-apiserver.yaml.bak", string(n.Files[apiserverManifest].Data), 0o600)
	p := build(t, n, "profiling")
	if b := p.Blocking(); len(b) != 1 || !strings.Contains(b[0].Message.String(), "kube-apiserver.yaml.bak") {
		t.Errorf("blocking: %+v", b)
	}
}

func TestAChangedFileAloneStillRestartsThePodThatReadsIt(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Apply(build(t, n, "policy"))
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("rewrite", harden.RiskNode, harden.WriteFile("/etc/kubernetes/policies/audit-policy.yaml", []byte("rules: [{level: Metadata}]\n"), 0o600, harden.APIServer)),
	}}}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{{Control: "rewrite"}}, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	p := plans.Node
	last := p.Steps()[len(p.Steps())-1]
	if last.ID != apiserverManifest || !strings.Contains(string(last.After.Data), harden.FilesAnnotation) || len(p.Stages[0].Effects) != 1 {
		t.Errorf("steps: %+v", p.Steps())
	}
}

func TestNothingIsChangedOnOtherDistributions(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Files["/etc/rancher/k3s"] = harden.State{Exists: true, Dir: true}
	p := build(t, n, "profiling")
	if !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), "k3s") {
		t.Errorf("plan: %+v", p)
	}
}

func TestMissingParentsAreStepsOfTheirOwn(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("sysctl", harden.RiskNode, harden.Sysctl("/etc/sysctl.d/deep/90-kubelet.conf", "vm.panic_on_oom", "0")),
	}}}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{{Control: "sysctl"}}, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range plans.Node.Steps() {
		ids = append(ids, s.ID)
	}
	if want := []string{"/etc/sysctl.d", "/etc/sysctl.d/deep", "/etc/sysctl.d/deep/90-kubelet.conf"}; !slices.Equal(ids, want) {
		t.Errorf("steps: %v", ids)
	}
}
