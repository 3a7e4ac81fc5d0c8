package apply_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestTheClockJumps sets it at every second of an apply. That may cost time, or the change: what is told to have become of it is
// what is there.
func TestTheClockJumps(t *testing.T) {
	changed := []string{apiserverManifest, kubeletConfig}
	for _, jump := range []time.Duration{time.Hour, -2 * time.Minute} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			t.Parallel()
			outcomes := map[harden.Outcome]int{}
			for at := time.Second; ; at += time.Second {
				w := newWorld(t)
				p := w.plan("profiling", "pids")
				jumped := false
				w.clock.in(at, func() { w.clock.now, jumped = w.clock.now.Add(jump), true })
				res := w.apply(p)
				if !jumped {
					break // it was over before
				}
				outcomes[res.Outcome]++
				want, recorded := []string(nil), "rolled back"
				if res.Outcome == harden.OutcomeApplied {
					want, recorded = changed, "committed"
				}
				if got := w.changes(); !slices.Equal(got, want) || w.outcome() != recorded {
					t.Fatalf("set after %s: told %s, recorded %s, changed %q: %+v", at, res.Outcome, w.outcome(), got, res)
				}
			}
			if outcomes[harden.OutcomeApplied] == 0 {
				t.Errorf("%v", outcomes)
			}
			t.Logf("%v", outcomes)
		})
	}
}
