package apply_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// courtesy is the lease by which runs wait for each other.
type courtesy struct {
	err      error
	held     func() harden.Lease // by whom else; nil or no holder: by nobody
	takeover harden.Lease        // whom the taker took for gone
	took     int
	released int
	left     string // by whom of this node it is held since that was killed
}

func (c *courtesy) Taken(context.Context) (harden.Lease, error) {
	if c.err != nil {
		return harden.Lease{}, c.err
	}
	if c.held != nil {
		return c.held(), nil
	}
	return harden.Lease{Holder: c.left}, nil
}

func (c *courtesy) GiveBack(_ context.Context, holder string) error {
	if holder == c.left {
		c.left = ""
	}
	return c.err
}

func (c *courtesy) Take(_ context.Context, _ string, over harden.Lease) (func(), harden.Lease, error) {
	if c.err != nil {
		return nil, harden.Lease{}, c.err
	}
	if l := (harden.Lease{Holder: c.left}); l.Holder != "" && !l.Same(over) {
		return nil, l, nil
	}
	if c.held != nil {
		if l := c.held(); l.Holder != "" && !l.Same(over) {
			return nil, l, nil
		}
	}
	c.took++
	c.takeover = over
	return func() { c.released++ }, harden.Lease{}, nil
}

func TestTurns(t *testing.T) {
	three := func(w *world) { w.members.nodes = []string{"cp1", "cp2", "cp3"} }
	theirs := func(w *world, until time.Duration, renewed bool) {
		three(w)
		end := w.clock.now.Add(until)
		w.turns.held = func() harden.Lease {
			l := harden.Lease{Holder: "cp2: process 7 of mei", Renewed: begin}
			if renewed {
				l.Renewed = w.clock.now
			}
			if w.clock.now.After(end) {
				return harden.Lease{}
			}
			return l
		}
	}
	for _, r := range []struct {
		row
		took int
		over string
	}{
		{row: row{name: "nobody else runs", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied, arrange: func(w *world, _ func()) { three(w) }}, took: 1},
		{row: row{name: "there is one control plane", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied}},
		{row: row{name: "only the kubelet restarts", controls: []string{"pids"}, outcome: harden.OutcomeApplied, arrange: func(w *world, _ func()) { three(w) }}},
		{row: row{name: "another run ends in time", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied,
			event:   "a run on another control plane ends: cp2: process 7 of mei",
			arrange: func(w *world, _ func()) { theirs(w, 3*time.Minute, true) }}, took: 1},
		{row: row{name: "another run's process has died", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied,
			arrange: func(w *world, _ func()) { theirs(w, time.Hour, false) }}, took: 1, over: "cp2: process 7 of mei"},
		{row: row{name: "another run goes on for ever", controls: []string{"anonymous"}, outcome: harden.OutcomeLocked,
			says: "for longer than 10m0s: cp2: process 7 of mei", hint: "kubectl get lease",
			arrange: func(w *world, _ func()) { theirs(w, time.Hour, true) }}},
		{row: row{name: "interrupted while it waits", controls: []string{"anonymous"}, outcome: harden.OutcomeRefused, says: "interrupted before anything was changed",
			arrange: func(w *world, cancel func()) { theirs(w, time.Hour, true); w.clock.in(time.Minute, cancel) }}},
		{row: row{name: "the lease cannot be asked for", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied,
			event:   "whether a run on another control plane is under way is not known: forbidden",
			arrange: func(w *world, _ func()) { three(w); w.turns.err = errors.New("forbidden") }}},
		{row: row{name: "a gate fails", controls: []string{"anonymous"}, outcome: harden.OutcomeRolledBack, arrange: func(w *world, _ func()) {
			three(w)
			w.node.dies = has("--goaway-chance")
		}}, took: 1},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.plan(r.controls...)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r.set(w, cancel)
			res := w.applyUntil(ctx, p)
			if res.Outcome != r.outcome || !strings.Contains(res.Message.String(), r.says) {
				t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, r.outcome, r.says)
			}
			if w.turns.took != r.took || w.turns.released != r.took || w.turns.takeover.Holder != r.over {
				t.Errorf("taken %d times, released %d times, from %q", w.turns.took, w.turns.released, w.turns.takeover.Holder)
			}
			said := false
			for _, e := range w.events {
				said = said || r.event != "" && strings.Contains(e.Message.String(), r.event)
			}
			if said != (r.event != "") {
				t.Errorf("no event says %q", r.event)
			}
			if r.took == 0 && r.outcome != harden.OutcomeApplied && (len(w.changes()) > 0 || w.outcome() != "none") {
				t.Errorf("it was begun: %q, %s", w.changes(), w.outcome())
			}
		})
	}
}

// TestTurnOfAKilledRunIsGivenBack: its lease stayed in the cluster, and the next run waited for it.
func TestTurnOfAKilledRunIsGivenBack(t *testing.T) {
	ours := apply.HolderOf("cp1", 7, "alice")
	for _, holder := range []string{ours, apply.HolderOf("cp11", 7, "mei"), apply.HolderOf("cp2", 7, "mei")} {
		w := newWorld(t)
		id := w.killApply(w.plan("anonymous"), func() { w.die("Rename", apiserverManifest, 1) })
		w.turns.left = holder
		if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack {
			t.Errorf("%s: %s", res.Outcome, res.Message)
		}
		if given := w.turns.left == ""; given != (holder == ours) {
			t.Errorf("of %s: given back: %v", holder, given)
		}
	}
	w := newWorld(t)
	w.members.nodes, w.turns.left = []string{"cp1", "cp2", "cp3"}, ours
	res := w.apply(w.plan("anonymous"))
	if res.Outcome != harden.OutcomeApplied || w.turns.took != 1 || w.turns.takeover.Holder != ours {
		t.Fatalf("%s: %s; taken %d times, from %q", res.Outcome, res.Message, w.turns.took, w.turns.takeover.Holder)
	}
	for _, e := range w.events {
		if e.Kind == harden.EventAwaiting && strings.Contains(e.Message.String(), "a run on another control plane") {
			t.Errorf("it waited for itself: %s", e.Message)
		}
	}
}

// An undo went on beside a run on another control plane, so that two API servers could be away at once. It waits a minute now, and
// goes on then, as nothing of others may keep anybody from going back. Recovery waits for nobody.
func TestUndoWaitsAMinuteForItsTurn(t *testing.T) {
	for _, row := range []struct {
		name  string
		held  time.Duration // by a run on another one, which renews its lease
		took  int
		waits time.Duration // at most
		event string
	}{
		{"nobody else is at work", 0, 1, time.Second, ""},
		{"another run ends", 20 * time.Second, 1, 30 * time.Second, "a run on another control plane ends"},
		{"another run goes on", time.Hour, 0, 2 * time.Minute, "the undo goes on beside it: cp2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			res := w.apply(w.plan("anonymous"))
			w.members.nodes = []string{"cp1", "cp2"}
			begun := w.clock.now
			w.turns.held = func() harden.Lease {
				if w.clock.now.Sub(begun) >= row.held {
					return harden.Lease{}
				}
				return harden.Lease{Holder: "cp2", Renewed: w.clock.now}
			}
			var written time.Duration
			w.on("Rename", apiserverManifest, 1, func() { written = w.clock.now.Sub(begun) })
			res = w.apply(w.undo(res.Transaction, ""))
			if res.Outcome != harden.OutcomeApplied || w.turns.took != row.took || written > row.waits || written < min(row.held, undoWait) {
				t.Errorf("%s: %s; taken %d times, written after %s", res.Outcome, res.Message, w.turns.took, written)
			}
			if said := w.said(harden.EventAwaiting) + w.said(harden.EventUnproven); !strings.Contains(said, row.event) {
				t.Errorf("nobody was told %q: %s", row.event, said)
			}
		})
	}
	w := newWorld(t)
	id := w.killApply(w.plan("anonymous"), func() { w.die("Rename", apiserverManifest, 1) })
	w.members.nodes, w.turns.err = []string{"cp1", "cp2"}, errors.New("no")
	if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

const undoWait = time.Minute
