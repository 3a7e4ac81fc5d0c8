package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/tui"
)

// onFinished calls then when a line of progress tells of the end of a transaction.
type onFinished struct {
	bytes.Buffer
	then func()
}

func (w *onFinished) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "finished") {
		w.then()
	}
	return w.Buffer.Write(p)
}

// The API goes away after the node's plan was applied: the words and the exit code tell of both plans.
func TestSecondPlanRefused(t *testing.T) {
	ctx := t.Context()
	progress := &onFinished{}
	var out bytes.Buffer
	a := &app{areas: catalog.Areas(), Streams: Streams{Out: &out, Err: progress}, where: whereFlags{root: "/", stateDir: defaultStateDir}}
	a.sel.yes = true
	e, node, _ := demoEngine(t, a)
	f, err := e.Facts(ctx)
	if err == nil {
		f, err = e.SlowFacts(ctx, f)
	}
	if err != nil {
		t.Fatal(err)
	}
	choices := []harden.Choice{{Control: "apiserver-profiling"}, {Control: "networkpolicy-default-deny-ingress", Accept: true}}
	plans, err := e.Plan(ctx, f, choices)
	if err != nil {
		t.Fatal(err)
	}
	connect := e.m.connect
	progress.then = func() {
		e.m.connect = func(context.Context) (api, error) { return nil, errors.New("the API is away") }
	}
	done, err := a.confirmAndApply(ctx, e, plans, "apply")
	err = a.stays(done, err)
	if code := exitCode(err); code != exitSkipped {
		t.Errorf("exit code %d: %v", code, err)
	}
	history, err := e.History(ctx)
	if err != nil || len(history) != 1 || history[0].Outcome != harden.OutcomeApplied {
		t.Fatalf("%v: history %+v", err, history)
	}
	id := history[0].ID
	inOrder(t, progress.String(), "error: the API is away\n", "transaction "+id+" was done before that and stays: applied, every gate has passed\n",
		"hint: kubectl-harden rollback "+id+"\n")

	// The walk ends with the same code.
	sum := tui.Summary{Applied: []tui.Applied{
		{Run: "1", Result: harden.Result{Outcome: harden.OutcomeMixed}},
		{Run: "2", Result: harden.Result{Outcome: harden.OutcomeApplied}}, {Run: "2", Result: harden.Result{Outcome: harden.OutcomeRolledBack}},
	}}
	for from, want := range map[int]int{0: exitMixed, 1: exitSkipped, 2: exitUndone} {
		if code := exitCode(a.walked(tui.Summary{Applied: sum.Applied[from:]})); code != want {
			t.Errorf("the walk from plan %d: exit code %d, want %d", from, code, want)
		}
	}

	// An undo of both, the second of which fails, tells of both too.
	e.m.connect, progress.then = connect, func() {}
	if plans, err = e.Plan(ctx, f, choices[1:]); err == nil {
		done, err = a.confirmAndApply(ctx, e, plans, "apply")
	}
	if err != nil || len(done) != 1 {
		t.Fatal(done, err)
	}
	progress.Reset()
	progress.then = func() {
		e.m.connect = func(context.Context) (api, error) { return nil, errors.New("the API is away") }
		_ = node.Files().Chmod("/etc/kubernetes/manifests", 0o777)
	}
	if code := exitCode(a.undoAll(ctx, e, []string{done[0].Transaction, id}, "")); code != exitSkipped {
		t.Errorf("exit code %d", code)
	}
	inOrder(t, progress.String(), "error: ", "can be changed by others than root", " was done before that and stays: undone, every gate has passed\n")
}
