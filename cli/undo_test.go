package cli

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// keptDemo has applied controls in the demo: on the node, and in what kubeadm keeps.
func keptDemo(t *testing.T, controls ...string) (a *app, e *engine, node, kept string, errs *bytes.Buffer) {
	t.Helper()
	ctx := t.Context()
	errs = &bytes.Buffer{}
	a = &app{areas: catalog.Areas(), Streams: Streams{Out: &bytes.Buffer{}, Err: errs}, where: whereFlags{root: "/", stateDir: defaultStateDir}}
	a.sel.yes = true
	e, _, _ = demoEngine(t, a)
	var choices []harden.Choice
	for _, c := range controls {
		choices = append(choices, harden.Choice{Control: c})
	}
	plans, err := e.Plan(ctx, slowFacts(t, e), choices)
	if err == nil {
		_, err = a.confirmAndApply(ctx, e, plans, "apply")
	}
	if err != nil {
		t.Fatal(err)
	}
	history, err := e.History(ctx)
	if err != nil || len(history) != 2 {
		t.Fatal(history, err)
	}
	return a, e, history[1].ID, history[0].ID, errs
}

func slowFacts(t *testing.T, e *engine) *harden.Facts {
	t.Helper()
	f, err := e.Facts(t.Context())
	if err == nil {
		f, err = e.SlowFacts(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func verdictOf(t *testing.T, e *engine, control string) harden.Finding {
	t.Helper()
	found := e.Assess(slowFacts(t, e))
	return found[slices.IndexFunc(found, func(x harden.Finding) bool { return x.Control == control })]
}

// The undo of the node's transaction left kubeadm's configuration pointing at a policy that the undo had removed.
func TestUndoOfTheNodesPartTakesWhatKubeadmKeepsOfIt(t *testing.T) {
	for name, undo := range map[string]func(a *app, e *engine, id string) error{
		"in the walk": func(a *app, e *engine, id string) error {
			plans, err := e.Undo(t.Context(), id, "")
			if err == nil && (len(plans) != 2 || !plans[0].Keeps() || plans[0].Run != plans[1].Run) {
				t.Errorf("the plans are not kubeadm's and the node's, of one run: %+v", plans)
			}
			for _, p := range plans {
				if res := e.Apply(t.Context(), p, func(harden.Event) {}); res.Outcome != harden.OutcomeApplied {
					t.Errorf("%s: %s", res.Outcome, res.Message)
				}
			}
			return err
		},
		"by rollback TX": func(a *app, e *engine, id string) error { return a.undoAll(t.Context(), e, []string{id}, "") },
	} {
		t.Run(name, func(t *testing.T) {
			a, e, node, _, _ := keptDemo(t, "audit-policy", "apiserver-profiling")
			if err := undo(a, e, node); err != nil {
				t.Fatal(err)
			}
			history, err := e.History(t.Context())
			if err != nil || len(history) != 4 || len(history[2].UndoneBy) != 1 || len(history[3].UndoneBy) != 1 {
				t.Errorf("%v %+v", err, history)
			}
			if x := verdictOf(t, e, "upgrade-static-pods"); x.Status != harden.StatusPass {
				t.Errorf("%s %s %v", x.Status, x.Message, x.Evidence)
			}
			// What was undone together is done again together.
			if err := a.undoAll(t.Context(), e, []string{history[0].ID}, ""); err != nil {
				t.Fatal(err)
			}
			if k := slowFacts(t, e).Cluster.Kubeadm; len(k.ExtraArgs[harden.APIServer]) == 0 {
				t.Error("doing it again left kubeadm's configuration as it was")
			}
		})
	}
}

func TestUndoOfOneControlTakesWhatKubeadmKeepsOfIt(t *testing.T) {
	a, e, node, _, _ := keptDemo(t, "audit-policy", "apiserver-profiling")
	if err := a.undoAll(t.Context(), e, []string{node}, "apiserver-profiling"); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, arg := range slowFacts(t, e).Cluster.Kubeadm.ExtraArgs[harden.APIServer] {
		kept = append(kept, arg.Name)
	}
	if slices.Contains(kept, "profiling") || !slices.Contains(kept, "audit-policy-file") {
		t.Errorf("kubeadm keeps %v", kept)
	}
	if x := verdictOf(t, e, "upgrade-static-pods"); x.Status != harden.StatusPass {
		t.Errorf("%s %s %v", x.Status, x.Message, x.Evidence)
	}
}

// TestAnEditInTheWayOfTheNodesPart was found when kubeadm's part was undone already, so that the next upgrade would have taken the rest.
func TestAnEditInTheWayOfTheNodesPart(t *testing.T) {
	a, e, node, _, errs := keptDemo(t, "apiserver-profiling")
	const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	now, err := e.m.node.State(manifest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.m.files.Create("/etc/kubernetes/.edited", 0o600)
	if err == nil {
		_, err = f.Write([]byte(strings.Replace(string(now.Data), "--profiling=false", "--profiling=true", 1)))
		err = errors.Join(err, f.Close(), e.m.files.Rename("/etc/kubernetes/.edited", manifest))
	}
	if err != nil {
		t.Fatal(err)
	}
	if code := exitCode(a.undoAll(t.Context(), e, []string{node}, "")); code != exitRefused || !strings.Contains(errs.String(), "somebody changed the same lines since") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if history, err := e.History(t.Context()); err != nil || len(history) != 2 {
		t.Errorf("something was undone: %v %+v", err, history)
	}
	if k := slowFacts(t, e).Cluster.Kubeadm; len(k.ExtraArgs[harden.APIServer]) == 0 {
		t.Error("kubeadm's configuration is as before, and the node is not")
	}
}

// With the API away the node's part is undone, and what is left is said.
func TestUndoSaysWhatKubeadmStillKeeps(t *testing.T) {
	a, e, node, kept, errs := keptDemo(t, "audit-policy")
	connect := e.m.connect
	e.m.connect = func(context.Context) (api, error) { return nil, errors.New("the API is away") }
	plans, err := e.Undo(t.Context(), node, "")
	if err != nil || len(plans) != 1 || len(plans[0].Skipped) != 1 || !strings.Contains(plans[0].Skipped[0].Reason.String(), "undo transaction "+kept+" too") {
		t.Fatalf("%v %+v", err, plans)
	}
	errs.Reset()
	if code := exitCode(a.undoAll(t.Context(), e, []string{node}, "")); code != exitUnsettled {
		t.Errorf("exit code %d", code)
	}
	inOrder(t, errs.String(), "error: undoing: the API is away\n", "error: transaction "+kept+" stays: ", "hint: kubectl-harden rollback "+kept+"\n")
	e.m.connect = connect
	if x := verdictOf(t, e, "upgrade-static-pods"); x.Status != harden.StatusFail || !strings.Contains(x.Message.String(), "is not there") {
		t.Errorf("%s %s %v", x.Status, x.Message, x.Evidence)
	}
	if err := a.undoAll(t.Context(), e, []string{kept}, ""); err != nil {
		t.Fatal(err)
	}
	if x := verdictOf(t, e, "upgrade-static-pods"); x.Status != harden.StatusPass {
		t.Errorf("%s %s", x.Status, x.Message)
	}
}
