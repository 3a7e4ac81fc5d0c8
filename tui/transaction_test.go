package tui

import (
	"fmt"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// After a large apply the controls filled the pane, and the backup's path was cut off with blank rows above it; in the detail
// nothing more could be seen, as enter opened the undo.
func TestWhereTheBackupIsAfterALargeApply(t *testing.T) {
	e := newFake(t)
	for i := range 80 {
		e.history[0].Controls = append(e.history[0].Controls, fmt.Sprintf("apiserver-control-%02d", i))
		e.history[0].Targets = append(e.history[0].Targets, fmt.Sprintf("/etc/kubernetes/file-%02d", i))
	}
	w := begun(t, e, Options{Width: 80, Height: 24})
	backup, undo := e.history[0].Script, "rollback "+e.history[0].ID
	w.keys("H").want(backup, undo, "(more: enter)")
	w.keys("enter").want(backup, undo, "the whole transaction", "more: down)").wantNot("(more: enter)")
	w.keys("enter").want("Transaction ", backup)
	w.keys("G").want(backup, "finished").wantNot("more: down)")
	w.keys("u").want("put the cursor on what is to be undone")
}

func TestHistoryDoesNotOfferWhatIsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*harden.TransactionSummary)
		want string
	}{
		"undone":       {func(it *harden.TransactionSummary) { it.UndoneBy = []string{"20261123-1"} }, "it is undone already"},
		"by hand":      {func(it *harden.TransactionSummary) { it.Damage, it.ByHand = "checksum", true }, "it can be undone by hand only"},
		"restored":     {func(it *harden.TransactionSummary) { it.Restored = true }, "undone by hand"},
		"part of it":   {func(it *harden.TransactionSummary) { it.UndoneControls = it.Controls[:1] }, "partly undone"},
		"in kubeadm's": {func(it *harden.TransactionSummary) { it.Keeps = true }, "kubeadm: "},
	} {
		t.Run(name, func(t *testing.T) {
			e := newFake(t)
			c.set(&e.history[0])
			w := begun(t, e, Options{})
			w.keys("H")
			if name == "undone" || name == "by hand" {
				w.keys("u")
			}
			w.want(c.want)
			if w.keys("enter"); name == "part of it" {
				w.want(e.history[0].Controls[0] + " (undone)").wantNot("only " + e.history[0].Controls[0])
			}
		})
	}
}

// A settled transaction whose record was damaged was to be found in the history alone.
func TestTheFirstScreenSaysWhatIsDamaged(t *testing.T) {
	e := newFake(t)
	e.history[0].Damage = "journal.jsonl: line 1: damaged"
	w := begun(t, e, Options{})
	w.want("damaged: transaction "+e.history[0].ID, "H says what can be done")
	w.keys("H").want("Damaged: journal.jsonl", "damaged")
}
