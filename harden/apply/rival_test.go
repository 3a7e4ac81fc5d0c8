package apply_test

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// rivalled is a world whose kubelet obeys a copy of the API server's manifest, and a plan that removes it.
func rivalled(t *testing.T) (*world, harden.Plan) {
	w := newWorld(t)
	w.node.rival = apiserverManifest + ".bak"
	w.write(w.node.rival, strings.Replace(w.node.text(apiserverManifest), "    image: ", "    - --v=7\n    image: ", 1))
	w.reboot()
	w.before = w.snapshot()
	gone := harden.RemoveFile(w.node.rival)
	gone.Restarts = harden.APIServer
	w.areas[0].Controls = append(w.areas[0].Controls, control("rival", nil, gone))
	return w, w.plan("rival")
}

func (w *world) runsWith(arg string) bool {
	i := w.node.pods[harden.APIServer].running
	return i != nil && slices.Contains(i.Args, arg)
}

func TestRivalIsRemovedAndProven(t *testing.T) {
	w, p := rivalled(t)
	if !w.runsWith("--v=7") {
		t.Fatal("the kubelet does not obey the rival")
	}
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied || !w.planned(p) || w.runsWith("--v=7") {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if n := w.node.started[harden.APIServer]; n != 1 {
		t.Errorf("it restarted %d times", n)
	}
	if last := w.node.canary.last; last == "" || strings.Contains(last, "--v=7") {
		t.Errorf("rehearsed was %s", last)
	}
	if res := w.apply(w.undo(res.Transaction, "")); res.Outcome != harden.OutcomeApplied || !w.runsWith("--v=7") || len(w.changes()) > 0 {
		t.Errorf("its undo: %s: %s; left %q", res.Outcome, res.Message, w.changes())
	}
	if n := w.node.started[harden.APIServer]; n != 2 {
		t.Errorf("it restarted %d times with the undo", n)
	}
}

func TestRivalComesBackWhereItIsMissed(t *testing.T) {
	w, p := rivalled(t)
	w.node.dies = func(c harden.ComponentID, text string) bool {
		return c == harden.APIServer && !strings.Contains(text, "--v=7")
	}
	res := w.apply(p)
	if res.Outcome != harden.OutcomeRolledBack || !w.runsWith("--v=7") || len(w.changes()) > 0 {
		t.Errorf("%s: %s; left %q", res.Outcome, res.Message, w.changes())
	}
	for _, file := range []string{apiserverManifest, apiserverManifest + ".bak"} {
		w, p := rivalled(t)
		name := map[bool]string{true: "Remove", false: "Rename"}[file == w.node.rival]
		id := w.killApply(p, func() { w.die(name, file, 1) })
		if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || !w.runsWith("--v=7") || len(w.changes()) > 0 {
			t.Errorf("killed at %s: %s: %s; left %q", file, res.Outcome, res.Message, w.changes())
		}
	}
}
