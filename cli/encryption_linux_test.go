package cli

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// TestKeysAreNeverShown makes an encryption key, and looks for it in every voice. The sandbox has no API that could write
// Secrets anew, so that it goes no further than what can be taken back, and says why.
func TestKeysAreNeverShown(t *testing.T) {
	const id = "apiserver-encryption-at-rest"
	ctx := t.Context()
	a := &app{areas: catalog.Areas()}
	e, _, _ := demoEngine(t, a)
	plansOf := func() []harden.Plan {
		t.Helper()
		f, err := e.Facts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f, err = e.SlowFacts(ctx, f); err != nil {
			t.Fatal(err)
		}
		plans, err := e.Plan(ctx, f, []harden.Choice{{Control: id, Accept: true, Named: true}})
		if err != nil || plans[0].Empty() {
			t.Fatalf("%v: %v", err, plans[0].Skipped)
		}
		for i := range plans {
			plans[i] = plans[i].Accept(plans[i].Unrehearsed()...)
		}
		return plans
	}
	var said bytes.Buffer
	a.Out, a.Err = &said, &said
	show := func(plans []harden.Plan) {
		for _, people := range []bool{true, false} {
			if err := printPlans(&said, plans, people); err != nil {
				t.Fatal(err)
			}
		}
		said.WriteString(printed(t, viewPlans(plans)))
	}
	plans := plansOf()
	var key []byte
	for _, s := range plans[0].Steps() {
		for _, ask := range s.Asks {
			if ask.Intent.Kind == harden.IntentNewKey {
				key = ask.Intent.Data
			}
		}
	}
	if len(key) != harden.EncryptionKeySize || bytes.Equal(key, make([]byte, len(key))) {
		t.Fatalf("a key of %d bytes was made", len(key))
	}
	show(plans)
	for _, p := range plans {
		if res := e.Apply(ctx, p, a.tell); res.Outcome != harden.OutcomeApplied {
			t.Fatalf("%s: %s", res.Outcome, res.Message)
		}
	}
	history, err := e.History(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range history {
		for _, format := range []string{"json", "table"} {
			if err := a.oneTransaction(ctx, e, history, tx.ID, format); err != nil {
				t.Fatal(err)
			}
		}
	}
	second := plansOf()
	show(second)
	valid := schemas(t)
	valid("plan", "plan", printed(t, viewPlans(second)))
	valid("planfile", "plan --out", printed(t, planFile{"harden/v1", "PlanFile", []string{"--all"}, second}))
	res := e.Check(ctx, second[0])
	if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "there is no API by which objects could be written anew") {
		t.Errorf("in the sandbox: %s: %s", res.Outcome, res.Message)
	}
	// Somebody's edit of the file is no reason to show it.
	s := harden.Drift{Target: harden.EncryptionFile, Secret: true}
	a.printDrift(s)
	for _, tx := range history {
		undo, err := e.Undo(ctx, tx.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		show(undo)
		if res := e.Apply(ctx, undo[0], a.tell); res.Outcome != harden.OutcomeApplied {
			t.Errorf("undone in the sandbox: %s: %s", res.Outcome, res.Message)
		}
	}
	text := said.String()
	if !strings.Contains(text, "secret content, it becomes sha256 ") || !strings.Contains(text, "beyond a point of no simple return") {
		t.Error("the fingerprint, or the point of no return, is not shown")
	}
	if strings.Contains(text, base64.StdEncoding.EncodeToString(key)) || strings.Contains(text, string(key)) {
		t.Error("the key is shown")
	}
}
