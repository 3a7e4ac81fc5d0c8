package catalog

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

var rivalControls = map[harden.ComponentID]string{
	harden.APIServer: "apiserver-rival-manifest", harden.ControllerManager: "controllermanager-rival-manifest",
	harden.Scheduler: "scheduler-rival-manifest", harden.Etcd: "etcd-rival-manifest",
}

// liveFacts are a node's on which the component runs as the kubelet starts it, with room for a second one.
func liveFacts(t *testing.T, n *hardentest.Node, id harden.ComponentID) *harden.Facts {
	t.Helper()
	f := n.Facts(t)
	hardentest.RunPod(f, id, f.CollectedAt)
	f.Component(id).Process.Resident = 300 << 20
	f.Machine = &harden.MachineFact{MemAvailable: 4 << 30, Systemd: true}
	return f
}

func pathsOf(p harden.Plan) []string {
	var out []string
	for _, s := range p.Steps() {
		out = append(out, s.Path)
	}
	return out
}

// TestRivalIsRemovedByAPlan: a stray manifest that overrides the real one blocked every plan of its component, and none took it away.
func TestRivalIsRemovedByAPlan(t *testing.T) {
	for id, control := range rivalControls {
		t.Run(string(id), func(t *testing.T) {
			c, _ := harden.ComponentByID(id)
			own := path.Join(harden.StaticPodDir, c.Manifest)
			n := hardentest.Fixture(t, "1.37")
			n.Write(own+".bak", strings.Replace(string(n.Files[own].Data), "    image: ", "    - --v=7\n    image: ", 1), 0o600)
			f := liveFacts(t, n, id)
			plan := func(choices ...harden.Choice) harden.Plan {
				t.Helper()
				plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: Areas(), Choices: choices, Read: n.State, Now: f.CollectedAt, Tool: "test"})
				if err != nil {
					t.Fatal(err)
				}
				if id == harden.Etcd {
					return plans.Etcd
				}
				return plans.Node
			}
			p := plan(harden.Choice{Control: control, Named: true})
			if got := pathsOf(p); !slices.Equal(got, []string{own, own + ".bak"}) {
				t.Fatalf("steps %q, left out %+v", got, p.Skipped)
			}
			st := p.Stages[0]
			gate, _ := st.Gate(id)
			want := []harden.EffectKind{harden.EffectStaticPod}
			if id == harden.Etcd {
				want = []harden.EffectKind{harden.EffectSnapshot, harden.EffectStaticPod}
			}
			var kinds []harden.EffectKind
			for _, e := range st.Effects {
				kinds = append(kinds, e.Kind)
			}
			if _, restarts := st.Effect(id); !restarts || !slices.Equal(kinds, want) || slices.Contains(gate.Args, "--v=7") || len(gate.Args) == 0 {
				t.Errorf("effects %+v; the gate wants %q", st.Effects, gate.Args)
			}
			if blocking := p.Blocking(); len(blocking) > 0 {
				t.Errorf("blocked by %+v", blocking)
			}
			back, err := st.Undo()
			if was, _ := back.Gate(id); err != nil || !slices.Contains(was.Args, "--v=7") || back.Steps[0].Path != own+".bak" {
				t.Errorf("a failure brings back %q first, and wants %q: %v", back.Steps[0].Path, was.Args, err)
			}
			var read harden.Plan
			if data, err := json.Marshal(p); err != nil || json.Unmarshal(data, &read) != nil {
				t.Fatal(err)
			}
			if err := harden.CheckPlan(read, f); err != nil {
				t.Error(err)
			}
			if unmet, err := harden.Recheck(read, f, Areas()); err != nil || len(unmet) > 0 {
				t.Errorf("unmet %+v, %v", unmet, err)
			}

			_, skipped, err := harden.Select(f, Areas(), harden.Selection{All: true})
			if err != nil || !slices.ContainsFunc(skipped, func(s harden.Skip) bool { return s.Control == control && s.Way == harden.ByControl }) {
				t.Errorf("--all takes it, or does not say why not: %v", err)
			}
			other := map[harden.ComponentID]string{harden.APIServer: "apiserver-profiling", harden.ControllerManager: "controllermanager-profiling", harden.Scheduler: "scheduler-profiling"}[id]
			if other != "" {
				blocking := plan(harden.Choice{Control: control, Named: true}, harden.Choice{Control: other}).Blocking()
				if len(blocking) != 1 || blocking[0].ID != "one-manifest" || !strings.Contains(blocking[0].Message.String(), "plan the removal alone first") {
					t.Errorf("with %s: %+v", other, blocking)
				}
			}

			before := n.Files[own+".bak"]
			n.Apply(p)
			f = liveFacts(t, n, id)
			if _, there := n.Files[own+".bak"]; there || len(f.Component(id).Rivals) > 0 {
				t.Error("it is there still")
			}
			undo, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: f, Read: n.State, Now: f.CollectedAt})
			if err != nil || !slices.Equal(pathsOf(undo), []string{own + ".bak", own}) {
				t.Fatalf("undo: %q, %v", pathsOf(undo), err)
			}
			if was, _ := undo.Stages[0].Gate(id); !slices.Contains(was.Args, "--v=7") || !undo.Steps()[0].After.Equal(before) {
				t.Errorf("undo: the gate wants %q", was.Args)
			}
		})
	}
}

// A rival that the kubelet does not obey restarts nothing by going.
func TestRivalThatLosesRestartsNothing(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	own := harden.StaticPodDir + "/kube-apiserver.yaml"
	n.Write(harden.StaticPodDir+"/a.yaml", string(n.Files[own].Data), 0o600)
	f := liveFacts(t, n, harden.APIServer)
	plans, err := harden.Build(harden.BuildInput{
		Facts: f, Areas: Areas(), Choices: []harden.Choice{{Control: "apiserver-rival-manifest", Named: true}}, Read: n.State, Now: f.CollectedAt, Tool: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := pathsOf(plans.Node); !slices.Equal(got, []string{harden.StaticPodDir + "/a.yaml"}) || len(plans.Node.Stages[0].Effects) > 0 || len(plans.Node.Blocking()) > 0 {
		t.Errorf("steps %q, effects %+v, blocked by %+v", got, plans.Node.Stages[0].Effects, plans.Node.Blocking())
	}
}

// What stays has to be what is meant: an own manifest, of the image that runs.
func TestRivalOfAnotherImageOrNameIsNotJustRemoved(t *testing.T) {
	own := harden.StaticPodDir + "/kube-scheduler.yaml"
	for _, row := range []struct {
		name    string
		arrange func(n *hardentest.Node)
		says    string
		way     harden.Way
	}{
		{"another image", func(n *hardentest.Node) {
			n.Write(own+".old", strings.Replace(string(n.Files[own].Data), "image: ", "image: old/", 1), 0o600)
		}, own + " starts registry.k8s.io/kube-scheduler:", harden.ByAccept},
		{"no own one", func(n *hardentest.Node) {
			for _, name := range []string{"/a.yaml", "/b.yaml"} {
				n.Write(harden.StaticPodDir+name, string(n.Files[own].Data), 0o600)
			}
			delete(n.Files, own)
		}, "there is no kube-scheduler.yaml, and which of ", ""},
	} {
		n := hardentest.Fixture(t, "1.37")
		row.arrange(n)
		f := liveFacts(t, n, harden.Scheduler)
		plans, err := harden.Build(harden.BuildInput{
			Facts: f, Areas: Areas(), Choices: []harden.Choice{{Control: "scheduler-rival-manifest", Named: true}}, Read: n.State, Now: f.CollectedAt, Tool: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		left := plans.Node.Skipped
		if !plans.Node.Empty() || len(left) != 1 || left[0].Way != row.way || !strings.Contains(left[0].Reason.String(), row.says) {
			t.Errorf("%s: steps %q, left out %+v", row.name, pathsOf(plans.Node), left)
		}
	}
}
