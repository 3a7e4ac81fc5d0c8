package harden_test

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// The kubelet reads every file of the directory: kube-apiserver.yml was written live, and nothing was expected of it.
func TestManifestUnderAnotherNameRestartsItsComponent(t *testing.T) {
	const other = "/etc/kubernetes/manifests/kube-apiserver.yml"
	n := hardentest.Fixture(t, "1.37")
	n.Files[other] = n.Files[apiserverManifest]
	delete(n.Files, apiserverManifest)
	p := build(t, n, "profiling", "policy")
	st := p.Stages[0]
	last := st.Steps[len(st.Steps)-1]
	if last.Path != other || last.Component != harden.APIServer {
		t.Errorf("the last step is %s of %q, want %s of the API server", last.Path, last.Component, other)
	}
	if _, ok := st.Effect(harden.APIServer); !ok {
		t.Error("it is said to restart nothing")
	}
	if g, ok := st.Gate(harden.APIServer); !ok || len(g.Args) == 0 || len(g.Probes) == 0 {
		t.Errorf("its gate is %+v", g)
	}
	if err := harden.CheckPlan(throughFile(t, p), n.Facts(t)); err != nil {
		t.Error(err)
	}
	back, err := st.Undo()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := back.Gate(harden.APIServer); !ok {
		t.Error("its undo has no gate")
	}
	f := n.Facts(t)
	f.Identity.Offline = false
	if r := harden.Rehearsals(st, f, false); len(r) != 1 || r[0].Component != harden.APIServer {
		t.Errorf("rehearsed are %+v", r)
	}
}

// The gate asked the address that the change takes away, and its undo the one that the change gives.
func TestKubeletGateAsksTheAddressThatItWillHave(t *testing.T) {
	const old = "192.0.2.11"
	setting := failing("healthz", harden.RiskNode, harden.SetField(kubeletConfig, "healthzBindAddress", "127.0.0.1", harden.Kubelet))
	for _, row := range []struct {
		name        string
		file, flags string
		asks, back  string
	}{
		{"in the file", old, "", "127.0.0.1", old},
		{"a flag over it", "127.0.0.2", "--healthz-bind-address=" + old, old, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			n.Edit(t, kubeletConfig, "healthzBindAddress: 127.0.0.1", "healthzBindAddress: "+row.file)
			if row.flags != "" {
				n.Write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS="+row.flags+"\n", 0o644)
			}
			plans, err := harden.Build(harden.BuildInput{
				Facts: n.Facts(t), Areas: []harden.Area{{Controls: []harden.Control{setting}}}, Choices: []harden.Choice{{Control: "healthz"}}, Read: n.State,
			})
			if err != nil {
				t.Fatal(err)
			}
			st := plans.Node.Stages[0]
			undo, err := st.Undo()
			if err != nil {
				t.Fatal(err)
			}
			if row.back == "" {
				row.back = row.asks
			}
			for what, x := range map[string]struct {
				stage harden.Stage
				want  string
			}{"gate": {st, row.asks}, "gate of its undo": {undo, row.back}} {
				if g, _ := x.stage.Gate(harden.Kubelet); len(g.Probes) != 1 || g.Probes[0].Host != x.want {
					t.Errorf("the %s asks %+v, want %s", what, g.Probes, x.want)
				}
			}
			if err := harden.CheckPlan(throughFile(t, plans.Node), n.Facts(t)); err != nil {
				t.Error(err)
			}
			n.Apply(plans.Node)
			later, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: plans.Node}, Facts: n.Facts(t), Read: n.State})
			if err != nil {
				t.Fatal(err)
			}
			if g, _ := later.Stages[0].Gate(harden.Kubelet); len(g.Probes) != 1 || g.Probes[0].Host != row.back {
				t.Errorf("the gate of a later undo asks %+v, want %s", g.Probes, row.back)
			}
		})
	}
}

func TestNodeAddressIsTheOneThatTheKubeletTakes(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*harden.Facts)
		want   string
	}{
		{"advertised", func(*harden.Facts) {}, "192.0.2.11"},
		{"of the Node", func(f *harden.Facts) {
			f.Identity.Node = "cp1"
			f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{
				{Name: "w1", Addresses: []string{"192.0.2.9"}}, {Name: "cp1", Addresses: []string{"cp1.example", "192.0.2.13"}},
			}}
		}, "192.0.2.13"},
		{"given", func(f *harden.Facts) { f.Kubelet.Args = append(f.Kubelet.Args, "--node-ip=192.0.2.12,2001:db8::2") }, "192.0.2.12"},
		{"only of a family", func(f *harden.Facts) { f.Kubelet.Args = append(f.Kubelet.Args, "--node-ip=::") }, "192.0.2.11"},
		{"unknown", func(f *harden.Facts) { f.Components = nil }, ""},
	} {
		f := hardentest.Fixture(t, "1.37").Facts(t)
		row.change(f)
		if got := f.NodeAddress(); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
