package apply_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

var errDown = errors.New("API down")

func TestObjects(t *testing.T) {
	const was, foreign = "other, old\n", "somebody's\n"
	for _, row := range []struct {
		name    string
		arrange func(w *world, cancel func())
		outcome harden.Outcome
		says    string
		refuses bool
		// What the API holds in the end, where it is not as before or as planned; "-" for nothing.
		deny, other string
		calls       int // changes of objects, 0: any number
		// then is what recover makes of it with the API up again.
		then harden.Outcome
	}{
		{name: "nothing", outcome: harden.OutcomeApplied, calls: 2},
		{name: "no API", outcome: harden.OutcomeRefused, refuses: true, says: "it needs the cluster's API",
			arrange: func(w *world, _ func()) { w.applier.Cluster = nil }},
		{name: "the API is down", outcome: harden.OutcomeRefused, refuses: true, says: "API down",
			arrange: func(w *world, _ func()) { w.cluster.down = func() error { return errDown } }},
		{name: "changed since the plan", outcome: harden.OutcomeRefused, refuses: true, says: "it changed since the plan was made", other: foreign,
			arrange: func(w *world, _ func()) { w.cluster.set(other, foreign) }},
		{name: "touched since the plan", outcome: harden.OutcomeRefused, refuses: true, says: "it changed since the plan was made",
			arrange: func(w *world, _ func()) { w.cluster.set(other, was) }},
		{name: "another one of that name", outcome: harden.OutcomeRefused, refuses: true, says: "it changed since the plan was made",
			arrange: func(w *world, _ func()) { delete(w.cluster.objects, other); w.cluster.set(other, was) }},
		{name: "somebody makes it first", outcome: harden.OutcomeRolledBack, says: "it exists already", deny: foreign,
			arrange: func(w *world, _ func()) { w.first(denyAll, func() { w.cluster.set(denyAll, foreign) }) }},
		{name: "somebody makes the same first", outcome: harden.OutcomeRolledBack, says: "it exists already", deny: "deny all\n",
			arrange: func(w *world, _ func()) { w.first(denyAll, func() { w.cluster.set(denyAll, "deny all\n") }) }},
		{name: "somebody changes it first", outcome: harden.OutcomeRolledBack, says: "it has changed since", other: foreign,
			arrange: func(w *world, _ func()) { w.first(other, func() { w.cluster.set(other, foreign) }) }},
		{name: "the API refuses one", outcome: harden.OutcomeRolledBack, says: "forbidden",
			arrange: func(w *world, _ func()) {
				w.cluster.write = func(_ *cluster, ref harden.ObjectRef) error {
					if ref == other {
						return errors.New("forbidden")
					}
					return nil
				}
			}},
		{name: "an answer is lost", outcome: harden.OutcomeRolledBack, says: "timed out",
			arrange: func(w *world, _ func()) {
				w.cluster.after = func(c *cluster, ref harden.ObjectRef) error {
					if c.calls == 2 {
						return errors.New("timed out")
					}
					return nil
				}
			}},
		{name: "a write happens after it was given up", outcome: harden.OutcomeRolledBack, says: "deadline exceeded",
			arrange: func(w *world, _ func()) {
				w.cluster.write = func(c *cluster, ref harden.ObjectRef) error {
					if ref != denyAll {
						return nil
					}
					looked := 0
					c.write = nil
					c.down = func() error {
						if looked++; looked == 3 {
							c.down = nil
							c.set(denyAll, "deny all\n")
						}
						return nil
					}
					return errors.New("deadline exceeded")
				}
			}},
		{name: "the server keeps something else", outcome: harden.OutcomeRolledBack, says: "the server holds something else than was shown",
			arrange: func(w *world, _ func()) {
				w.cluster.after = func(c *cluster, ref harden.ObjectRef) error {
					if o := c.objects[ref]; ref == other && o.data == "other, new\n" {
						o.data += "# defaulted\n"
					}
					return nil
				}
			}},
		{name: "a webhook is cut off", outcome: harden.OutcomeRolledBack, says: "no longer: pods can be made in shop: no answer",
			arrange: func(w *world, _ func()) {
				w.cluster.works = func(c *cluster) map[string]string {
					works := map[string]string{"pods can be made in shop": "", "an API answers": "it never did"}
					if c.objects[denyAll] != nil {
						works["pods can be made in shop"] = "no answer"
					}
					return works
				}
			}},
		{name: "what is cut off shows late", outcome: harden.OutcomeRolledBack, says: "watching the cluster: no longer: Service shop/web has endpoints that are ready",
			arrange: func(w *world, _ func()) {
				var since time.Time
				w.applier.Soak = 30 * time.Second
				w.cluster.works = func(c *cluster) map[string]string {
					if c.objects[denyAll] != nil && since.IsZero() {
						since = c.now()
					}
					if !since.IsZero() && c.now().Sub(since) > 8*time.Second {
						return nil
					}
					return map[string]string{"Service shop/web has endpoints that are ready": ""}
				}
			}},
		{name: "what never worked", outcome: harden.OutcomeApplied, calls: 2,
			arrange: func(w *world, _ func()) {
				w.cluster.works = func(*cluster) map[string]string { return map[string]string{"an API answers": "it never did"} }
			}},
		{name: "interrupted between two", outcome: harden.OutcomeRolledBack, says: "interrupted",
			arrange: func(w *world, cancel func()) {
				w.cluster.after = func(*cluster, harden.ObjectRef) error { cancel(); return nil }
			}},
		{name: "the API goes away after the first", outcome: harden.OutcomeOwed, says: "files are as before, objects are owed", deny: "deny all\n",
			then: harden.OutcomeRolledBack, arrange: func(w *world, _ func()) {
				w.cluster.after = func(c *cluster, _ harden.ObjectRef) error {
					c.down = func() error { return errDown }
					return nil
				}
			}},
		{name: "the API goes away with the second", outcome: harden.OutcomeOwed, says: "objects are owed", deny: "deny all\n", other: "other, new\n",
			then: harden.OutcomeRolledBack, arrange: func(w *world, _ func()) {
				w.cluster.after = func(c *cluster, ref harden.ObjectRef) error {
					if c.calls == 2 {
						c.down = func() error { return errDown }
						return errDown
					}
					return nil
				}
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.cluster.set(other, was)
			p := w.plan("deny", "other")
			a := w.process()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if row.arrange != nil {
				row.arrange(w, cancel)
			}
			res := a.Apply(ctx, p)
			w.end()
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.says) {
				t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, row.outcome, row.says)
			}
			want := map[harden.ObjectRef]string{denyAll: "-", other: was}
			if row.outcome == harden.OutcomeApplied {
				want = map[harden.ObjectRef]string{denyAll: "deny all\n", other: "other, new\n"}
			}
			before := want
			if row.deny != "" {
				want[denyAll] = row.deny
			}
			if row.other != "" {
				want[other] = row.other
			}
			w.holds(want)
			if row.calls > 0 && w.cluster.calls != row.calls {
				t.Errorf("%d changes, want %d", w.cluster.calls, row.calls)
			}
			if row.refuses {
				if len(w.events) > 0 || w.cluster.calls > 0 || w.outcome() != "none" {
					t.Errorf("refused after %s and %d changes", w.kinds(), w.cluster.calls)
				}
				return
			}
			w.toldObjects(res)
			if row.then == "" {
				return
			}
			if res.Outcome == harden.OutcomeOwed {
				if w.outcome() != "" {
					t.Errorf("owed, and the transaction is closed as %q", w.outcome())
				}
				if again := w.recover(res.Transaction, false); again.Outcome != harden.OutcomeOwed {
					t.Errorf("recovered with the API down: %s: %s", again.Outcome, again.Message)
				}
				before = map[harden.ObjectRef]string{denyAll: "-", other: was}
			}
			w.cluster.down, w.cluster.after = nil, nil
			if res = w.recover(res.Transaction, false); res.Outcome != row.then {
				t.Errorf("recovered: %s: %s", res.Outcome, res.Message)
			}
			w.holds(before)
		})
	}
}

// Two nodes keep the same in kubeadm's configuration: the second finds it there.
func TestObjectsThatSomebodyHasMadeSoMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(other, "other, old\n")
	p := w.plan("other")
	w.cluster.set(other, "other, new\n")
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied || res.Transaction != "" || !strings.Contains(res.Message.String(), "nothing was written") {
		t.Errorf("%s: %s (transaction %q)", res.Outcome, res.Message, res.Transaction)
	}
	w.holds(map[harden.ObjectRef]string{other: "other, new\n"})

	w = newWorld(t)
	w.cluster.set(other, "other, old\n")
	p = w.plan("deny", "other")
	w.cluster.set(other, "other, new\n")
	if res = w.apply(p); res.Outcome != harden.OutcomeRefused {
		t.Errorf("with another object still to make: %s: %s", res.Outcome, res.Message)
	}
}

// first lets somebody be quicker than the next change of an object.
func (w *world) first(ref harden.ObjectRef, do func()) {
	w.cluster.write = func(_ *cluster, r harden.ObjectRef) error {
		if r == ref {
			do()
		}
		return nil
	}
}

func (w *world) holds(want map[harden.ObjectRef]string) {
	w.t.Helper()
	for ref, data := range want {
		got := "-"
		if o := w.cluster.objects[ref]; o != nil {
			got = o.data
		}
		if got != data {
			w.t.Errorf("%s holds %q, want %q", ref, got, data)
		}
	}
}

// toldObjects compares the events with the result.
func (w *world) toldObjects(res harden.Result) {
	w.t.Helper()
	var written, owed []string
	for _, e := range w.events {
		switch e.Kind {
		case harden.EventWritten:
			written = append(written, e.Target)
		case harden.EventReverted:
			written = slices.DeleteFunc(written, func(s string) bool { return s == e.Target })
		case harden.EventOwed:
			owed = append(owed, e.Target)
		}
	}
	if res.Outcome == harden.OutcomeRolledBack && len(written) > 0 || (res.Outcome == harden.OutcomeOwed) != (len(owed) > 0) {
		w.t.Errorf("%s: told %q as written and not reverted, %q as owed", res.Outcome, written, owed)
	}
	if last := w.events[len(w.events)-1]; last.Kind != harden.EventFinished || last.Outcome != res.Outcome {
		w.t.Errorf("the last event is %+v", last)
	}
}

// TestKilledObjects kills a cluster's plan between what the journal announces and what it acknowledges, and recovers both
// ways.
func TestKilledObjects(t *testing.T) {
	for _, row := range []struct {
		name   string
		at     int  // the change
		before bool // the change itself, else its acknowledgement
	}{
		{"before the first change", 1, true}, {"after the first change", 1, false},
		{"before the second change", 2, true}, {"after the second change", 2, false},
	} {
		for _, finish := range []bool{false, true} {
			w := newWorld(t)
			w.cluster.set(other, "other, old\n")
			p := w.plan("deny", "other")
			die := func(c *cluster, _ harden.ObjectRef) error {
				if c.calls == row.at {
					panic(killed{})
				}
				return nil
			}
			id := w.killApply(p, func() {
				if row.before {
					w.cluster.write = die
				} else {
					w.cluster.after = die
				}
			})
			w.cluster.write, w.cluster.after = nil, nil
			res := w.recover(id, finish)
			want, outcome := map[harden.ObjectRef]string{denyAll: "-", other: "other, old\n"}, harden.OutcomeRolledBack
			if finish {
				want, outcome = map[harden.ObjectRef]string{denyAll: "deny all\n", other: "other, new\n"}, harden.OutcomeApplied
			}
			if res.Outcome != outcome {
				t.Errorf("%s, finish %t: %s: %s", row.name, finish, res.Outcome, res.Message)
			}
			w.holds(want)
		}
	}
}

func TestUndoObjects(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(other, "other, old\n")
	res := w.apply(w.plan("deny", "other"))
	if res = w.apply(w.undo(res.Transaction, "")); res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	w.holds(map[harden.ObjectRef]string{denyAll: "-", other: "other, old\n"})

	// Undoing the undo fails half-way: what it deleted is made again, and deleted again.
	again := w.undo(res.Transaction, "")
	w.cluster.write = func(c *cluster, ref harden.ObjectRef) error {
		if ref == other {
			return errors.New("forbidden")
		}
		return nil
	}
	if res = w.apply(again); res.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.holds(map[harden.ObjectRef]string{denyAll: "-", other: "other, old\n"})
}
