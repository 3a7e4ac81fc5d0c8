package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// wide is a review with every kind of consequence, and more targets than a small terminal has lines.
func wide(w *walk) *reviewScreen {
	node := harden.Plan{
		Scope: harden.ScopeNode, Switch: &harden.Switch{Within: 10 * time.Minute}, Accepted: []harden.ComponentID{harden.Etcd},
		Preflight: []harden.Check{{Precondition: harden.Precondition{ID: "room", Title: harden.Msg("there is room for the logs"), State: harden.PreconditionUnknown}}},
	}
	st := harden.Stage{Effects: []harden.Effect{
		{Kind: harden.EffectStaticPod, Component: harden.APIServer}, {Kind: harden.EffectStaticPod, Component: harden.Scheduler},
		{Kind: harden.EffectUnit, Component: harden.Kubelet}, {Kind: harden.EffectSysctl, Sysctls: map[string]string{"kernel.panic": "10", "vm.overcommit_memory": "1"}},
	}}
	for i := range 30 {
		p := fmt.Sprintf("/etc/kubernetes/file-%02d", i)
		st.Steps = append(st.Steps, harden.Step{ID: p, Kind: harden.StepFile, Path: p, After: harden.State{Exists: true, Data: []byte("x\n")}})
	}
	node.Stages = []harden.Stage{st}
	var cluster harden.Plan
	for _, a := range w.m.areas {
		for _, c := range a.Controls {
			for _, r := range c.Remedies {
				if r.Risk == harden.RiskWorkloads {
					cluster.Choices = append(cluster.Choices, harden.Choice{Control: c.ID, Remedy: r.ID})
				}
			}
		}
	}
	return w.m.newReview("", []harden.Plan{node, cluster})
}

// At 80x24 the restarts of most components, what was not known, the backup and the risk of cutting workloads off were not to be seen.
func TestConfirmationNamesEveryConsequenceOnASmallTerminal(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 80, Height: 24})
	w.m.push(&confirmScreen{review: wide(w), node: "cp1"})
	w.want("it can lock you out", "workloads: they or their users may be cut off",
		"kube-apiserver, kube-scheduler and kubelet restart on this node, each once", "2 kernel settings are loaded: kernel.panic = 10",
		"accepted on your word: etcd", "there is room for the logs", "backup", "30 targets are written:", "(more: down)", "down read on", "Type the node's name")
	w.wantNot("(more: enter)", "file-29")
	frame := w.frame()
	if strings.Index(frame, "lock you out") > strings.Index(frame, "restart on") || strings.Index(frame, "cut off") > strings.Index(frame, "restart on") {
		t.Errorf("what can hurt does not come first:\n%s", frame)
	}
	for range 4 {
		w.keys("pgdown")
	}
	w.want("file-29", "Type the node's name").wantNot("(more", "lock you out")
	w.keys("up", "'kj").want("> kj") // letters are typed
	if len(w.e.applied) > 0 {
		t.Error("it was applied")
	}
}
