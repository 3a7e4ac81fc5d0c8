package cli

import (
	"errors"
	"sync"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// TestTwoBeginAtOnce: an apply that looked for what is unsettled just when another one began took its transaction for an interrupted
// one, and asked for recover, while that one ran and held the lock.
func TestTwoBeginAtOnce(t *testing.T) {
	e, _, _ := demoEngine(t, &app{areas: catalog.Areas()})
	f, err := e.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plans, err := e.Plan(t.Context(), f, []harden.Choice{{Control: "apiserver-profiling", Named: true}})
	if err != nil {
		t.Fatal(err)
	}
	var other *backups.Session
	var tx *backups.Tx
	begin := sync.OnceFunc(func() {
		other, err = e.store.Lock(backups.Holder{PID: 1, Who: "ops", Command: "apply", Since: e.clock.Now()})
		if err == nil {
			tx, err = other.Begin(backups.Meta{}, nil, nil, backups.Script{})
		}
		if err != nil {
			t.Error(err)
		}
	})
	was := observedAt
	t.Cleanup(func() { observedAt = was })
	// The facts are read after the first look, and before the second one.
	observedAt = func(now time.Time) time.Time { begin(); return was(now) }
	if res := e.Check(t.Context(), plans[0]); res.Outcome != harden.OutcomeLocked {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if err := errors.Join(tx.Close(backups.Aborted), other.Unlock()); err != nil {
		t.Fatal(err)
	}
	if res := e.Check(t.Context(), plans[0]); res.Outcome != harden.OutcomeApplied {
		t.Errorf("when it has ended: %s: %s", res.Outcome, res.Message)
	}
}
