package apply_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestShortRestart applies a change on a node whose kubelet backs off as the real one does, and measures how long no instance of
// the component was there that takes new connections.
func TestShortRestart(t *testing.T) {
	three := func(w *world) { w.members.nodes = []string{"cp1", "cp2", "cp3"} }
	leads := func(w *world, addresses ...string) {
		three(w)
		w.members.endpoints = func() ([]string, error) { return addresses, nil }
	}
	api, scheduler := []string{"anonymous"}, []string{"scheduler"}
	for _, r := range []struct {
		row
		component harden.ComponentID
		outage    [2]time.Duration // at least, at most
		ended     int
		shown     [2]int // at least, at most
	}{
		{row: row{name: "the only API server", controls: api}, outage: [2]time.Duration{0, 5 * time.Second}, ended: 1, shown: [2]int{1, 1}},
		{row: row{name: "the kubelet cleans up slowly", controls: api, arrange: func(w *world, _ func()) { w.node.late = 3500 * time.Millisecond }},
			outage: [2]time.Duration{0, 6500 * time.Millisecond}, ended: 1, shown: [2]int{1, 1}},
		{row: row{name: "when it has cleaned up cannot be seen", controls: api, arrange: func(w *world, _ func()) { w.node.blind = true }},
			outage: [2]time.Duration{0, 5 * time.Second}, ended: 1, shown: [2]int{1, 1}},
		{row: row{name: "that it cleans up slowly cannot be seen", controls: api, arrange: func(w *world, _ func()) {
			w.node.late, w.node.blind = 3500*time.Millisecond, true
		}}, outage: [2]time.Duration{0, 10 * time.Second}, ended: 1, shown: [2]int{2, 2}},
		{row: row{name: "the kubelet cleans up very slowly", controls: api, arrange: func(w *world, _ func()) { w.node.late = 20 * time.Second }},
			outage: [2]time.Duration{20 * time.Second, 35 * time.Second}, ended: 1, shown: [2]int{0, 0}},
		{row: row{name: "one of three that has left the endpoints", controls: api, arrange: func(w *world, _ func()) { leads(w, "cp2:6443", "cp3:6443") }},
			outage: [2]time.Duration{0, 5 * time.Second}, ended: 1, shown: [2]int{1, 1}},
		{row: row{name: "one of three that is still among the endpoints", controls: api, arrange: func(w *world, _ func()) { leads(w, "cp1:6443", "cp2:6443") }},
			outage: [2]time.Duration{30 * time.Second, 45 * time.Second}},
		{row: row{name: "one of three whose endpoints are empty", controls: api, arrange: func(w *world, _ func()) { leads(w) }},
			outage: [2]time.Duration{30 * time.Second, 45 * time.Second}},
		{row: row{name: "one of three, and nobody can be asked for the endpoints", controls: api, arrange: func(w *world, _ func()) {
			three(w)
			w.members.endpoints = func() ([]string, error) { return nil, errors.New("no route") }
		}}, outage: [2]time.Duration{30 * time.Second, 45 * time.Second}},
		{row: row{name: "whether it is the only one is not known", controls: api, arrange: func(w *world, _ func()) { w.members, w.etcd = nil, nil }},
			outage: [2]time.Duration{30 * time.Second, 45 * time.Second}},
		{row: row{name: "manifests cannot be presented", controls: api, arrange: func(w *world, _ func()) { w.node.noShow = errors.New("no exchange here") }},
			outage: [2]time.Duration{10 * time.Second, 13 * time.Second}, ended: 1},
		{row: row{name: "etcd", controls: []string{"etcd"}}, component: harden.Etcd, outage: [2]time.Duration{10 * time.Second, 13 * time.Second}},
		{row: row{name: "a scheduler", controls: scheduler}, component: harden.Scheduler, outage: [2]time.Duration{0, 5 * time.Second}, shown: [2]int{1, 1}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			w.node.backOff, w.node.grace = true, 30*time.Second
			p := w.plan(r.controls...)
			r.set(w, nil)
			if r.component == "" {
				r.component = harden.APIServer
			}
			from := w.outages(r.component)
			res := w.apply(p)
			if res.Outcome != harden.OutcomeApplied {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			got := from()
			if got < r.outage[0] || got > r.outage[1] {
				t.Errorf("out for %s, want %s to %s", got, r.outage[0], r.outage[1])
			}
			if w.node.ended != r.ended || w.node.shown < r.shown[0] || w.node.shown > r.shown[1] || w.node.hurt > 0 {
				t.Errorf("%d ended, %d presented, %d good ones hurt", w.node.ended, w.node.shown, w.node.hurt)
			}
		})
	}
}

// outages counts for how long a component has no instance that listens.
func (w *world) outages(c harden.ComponentID) func() time.Duration {
	var out time.Duration
	last := w.clock.now
	tick := w.clock.tick
	w.clock.tick = func() {
		p := w.node.pods[c]
		if p.running == nil || !p.quietAt.IsZero() && !w.clock.now.Before(p.quietAt) {
			out += w.clock.now.Sub(last)
		}
		last = w.clock.now
		tick()
	}
	return func() time.Duration { return out }
}

// The undo after a failed gate is short too, whether the new instance runs, or is dead.
func TestShortUndo(t *testing.T) {
	for name, arrange := range map[string]func(w *world){
		"it runs and is refused": func(w *world) { w.node.answer = answers("liveness", "--goaway-chance", answerOf(401)) },
		"it dies":                func(w *world) { w.node.dies = has("--goaway-chance") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.node.backOff, w.node.grace = true, 30*time.Second
			p := w.plan("anonymous")
			arrange(w)
			w.on("Rename", apiserverManifest, 2, func() {
				w.clock.at = append(w.clock.at, alarm{when: w.clock.now.Add(8 * time.Second), do: func() {
					if i := w.node.pods[harden.APIServer].running; i == nil || strings.Contains(strings.Join(i.Args, " "), "--goaway-chance") {
						t.Errorf("8 seconds after its file had come back it does not run as before: %v", i)
					}
				}})
			})
			res := w.apply(p)
			if res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 || w.node.hurt > 0 {
				t.Errorf("%s: %s: %q, %d hurt", res.Outcome, res.Message, w.changes(), w.node.hurt)
			}
		})
	}
}
