package tui

import (
	"context"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// keeping is a plan of what kubeadm keeps of controls.
func keeping(run string, controls ...string) harden.Plan {
	step := harden.Step{ID: harden.KubeadmConfig.String(), Kind: harden.StepObject, Object: &harden.KubeadmConfig, Before: harden.State{Exists: true, Data: []byte("a: 1\n")}, After: harden.State{Exists: true, Data: []byte("a: 2\n")}}
	p := harden.Plan{Scope: harden.ScopeCluster, Run: run}
	for _, c := range controls {
		step.Asks = append(step.Asks, harden.Ask{Control: c})
		p.Choices = append(p.Choices, harden.Choice{Control: c})
	}
	p.Stages = []harden.Stage{{Steps: []harden.Step{step}}}
	return p
}

// After a run that kubeadm keeps too, "H, then u" of the result page undid what kubeadm keeps, and the node stayed changed.
func TestUndoFromTheResultPageBeginsAtTheNode(t *testing.T) {
	e := newFake(t)
	w := begun(t, e, Options{Sandbox: true, Width: 100})
	plans, err := e.Plan(context.Background(), w.m.facts, []harden.Choice{{Control: "apiserver-profiling"}})
	if err != nil {
		t.Fatal(err)
	}
	plans[0].Run = "abcd"
	w.m.push(w.m.newReview("", []harden.Plan{plans[0], keeping("abcd", "apiserver-profiling")}))
	w.keys("d", "A").settle().keys("'cp1", "enter")
	const node, kept = "20261123-120000-0001", "20261123-120000-0002"
	w.want("On this node: Applied.", "In what kubeadm keeps for upgrades: Applied.", "undo         H, then u", "undo         goes with "+node)
	e.history = append([]harden.TransactionSummary{
		{ID: kept, Started: start, Outcome: harden.OutcomeApplied, Scope: harden.ScopeCluster, Keeps: true, Controls: []string{"apiserver-profiling"}},
		{ID: node, Started: start, Outcome: harden.OutcomeApplied, Scope: harden.ScopeNode, Controls: []string{"apiserver-profiling"}},
	}, e.history...)
	w.keys("H", "u").want("Undo of " + node)
	w.keys("esc", "k", "u").want("Undo of " + kept)
}

func TestAnUndoOfWhatKubeadmKeepsSaysThatTheNodeStays(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	p := keeping("abcd", "apiserver-profiling")
	p.Undoes = "20261123-120000-0002"
	w.m.push(w.m.newReview(p.Undoes, []harden.Plan{p}))
	w.want("the node itself stays as it is")
	node, err := w.e.Undo(context.Background(), "20261123-120000-0001", "")
	if err != nil {
		t.Fatal(err)
	}
	w.m.push(w.m.newReview("20261123-120000-0001", append(node, p)))
	w.wantNot("the node itself stays as it is")
}

// q left at once, and what had been chosen was gone.
func TestQuitAsksOnceWhereChoicesWouldBeLost(t *testing.T) {
	begin := func() *walk { return begun(t, newFake(t), Options{}) }
	w := begin()
	w.keys("enter", "j", "j", "j", "space", "q").want("1 choice that was neither applied nor saved", "q again quits")
	if w.quit {
		t.Fatal("it has quit")
	}
	w.keys("j").wantNot("q again quits").keys("q").want("q again quits").keys("q")
	if !w.quit {
		t.Error("a second q does not quit")
	}
	w = begin()
	w.keys("enter", "j", "j", "j", "space", "s", "enter").want("choices written").keys("q")
	if !w.quit {
		t.Error("what is saved is not lost")
	}
	w = begin()
	w.keys("enter", "j", "j", "j", "space", "space", "q")
	if !w.quit {
		t.Error("nothing is chosen any more")
	}
	w = begin()
	w.keys("enter", "j", "j", "j", "space", "ctrl+c")
	if !w.quit {
		t.Error("ctrl+c asks")
	}
}

// The help said "done" of enter and "quit" of q wherever it was opened.
func TestHelpSaysWhatAKeyDoesHere(t *testing.T) {
	e := newFake(t)
	e.gate = make(chan struct{}, 100)
	w := begun(t, e, Options{})
	w.apply(2)
	w.keys("?").want("stop (asks first)", "older").keys("esc")
	w.m.run.stop()
	w = begun(t, newFake(t), Options{})
	w.keys("*", "p", "d", "A").settle().keys("'cp1", "enter").want("Applied.").keys("?").want("back to the areas")
}
