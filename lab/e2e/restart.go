//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

var restartScenarios = []scenario{{
	name:   "02-restart",
	alone:  true,
	proves: "one restart of each component for all changes together; the outage; whether leases are kept",
	run:    plainRestart,
}}

func plainRestart(t *T) {
	before := t.wholePicture()
	leases := t.leases()
	m := t.measure()
	alone := t.must(0, "apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s")
	t.figure("API server alone", "%s", seconds(alone.took))
	m.report("alone: ", map[string]int{apiServer: 1})
	t.leasesKept("alone: ", leases)
	t.must(0, "rollback", "--yes")
	t.healthy("after the first undo")
	t.same(before, "after the first undo")

	t.step("all that is chosen without a name")
	leases, m = t.leases(), t.measure()
	applied := t.must(0, "apply", "--all", "--yes", "--soak", "5s", "--reason", "one restart")
	t.figure("apply", "%s", seconds(applied.took))
	m.report("", map[string]int{apiServer: 1, kubelet: 1})
	t.leasesKept("", leases)
	t.healthy("after apply")
	t.step("again: a plan of the same choices is empty")
	m = t.measure()
	t.must(0, "apply", "--all", "--yes")
	if restarts := m.lives.stop(isLive); len(restarts) > 0 {
		t.errorf("applying the same again restarted %s", counted(restarts))
	}
	m.poll.stop()

	m = t.measure()
	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	m.report("undo: ", map[string]int{apiServer: 1, kubelet: 1})
	t.healthy("after the undo")
	t.same(before, "after the undo")

	t.step("a change in every component but etcd")
	m = t.measure()
	all := t.harm(0, "apply", "--control", "harmful-every-component", "--yes", "--soak", "5s")
	t.figure("three components", "%s", seconds(all.took))
	m.report("three: ", map[string]int{apiServer: 1, controllerManager: 1, scheduler: 1})
	t.harm(0, "rollback", "--yes")
	t.healthy("after the last undo")
	t.same(before, "after the last undo")
	t.clean("at the end")
}

// measurement is what is counted and polled while something happens.
type measurement struct {
	t     *T
	lives *lives
	poll  *poller
}

func (t *T) measure() measurement {
	m := measurement{t, t.watchLives(), t.poller(readyz(t.node))}
	time.Sleep(300 * time.Millisecond) // the poller's first answers
	return m
}

// report puts into the table what was seen, and wants so many restarts, and none of a component that is not named.
func (m measurement) report(prefix string, want map[string]int) {
	seen, restarts := m.poll.stop()[readyz(m.t.node)], m.lives.stop(isLive)
	m.t.figure(prefix+"outage", "%s", seconds(seen.outage))
	longest := longestOutage
	if want[etcd] > 0 {
		longest = longestWithEtcd
	}
	if seen.outage > longest {
		m.t.errorf("%sthe API was away for %s, longer than is said to whoever applies", prefix, seconds(seen.outage))
	}
	m.t.figure(prefix+"failed requests", "%d of %d", seen.failed, seen.asked)
	m.t.figure(prefix+"restarts", "%s", counted(restarts))
	m.t.figure(prefix+"to swap", "%s", strings.Join(m.t.swapped(slices.Sorted(maps.Keys(want))), ", "))
	m.t.only(excused(want, restarts, seen.outage), restarts, cmp.Or(strings.TrimSuffix(prefix, ": "), "apply"))
}

// swapped is how long each component took, in the newest transaction that restarted it, from its change to a new instance that runs as
// planned.
func (t *T) swapped(components []string) (out []string) {
	begun, ended := map[string]time.Time{}, map[string]time.Time{}
	for _, lines := range t.journals() {
		begins, ends := restarted(lines)
		for c, at := range ends {
			begun[c], ended[c] = begins[c], at
		}
	}
	for _, c := range components {
		if ended[c].IsZero() {
			t.errorf("no journal tells when %s was swapped", c)
			continue
		}
		out = append(out, short.ReplaceAllString(c, "")+" "+seconds(ended[c].Sub(begun[c])))
	}
	return out
}

// restarted is when a journal has each component change, and when it has it run as planned.
func restarted(lines []journalLine) (begun, ended map[string]time.Time) {
	begun, ended = map[string]time.Time{}, map[string]time.Time{}
	for _, l := range lines {
		var about struct{ Component, Message string }
		switch {
		case json.Unmarshal(l.Data, &about) != nil || about.Component == "":
		case l.Kind == "effect":
			begun[about.Component] = l.Time
		case l.Kind == "event" && strings.Contains(about.Message, "runs as planned"):
			ended[about.Component] = l.Time
		}
	}
	return begun, ended
}

// longestOutage is what the review says of a plain restart, "about a minute"; a short one takes some seconds.
const longestOutage = time.Minute

// longestWithEtcd is what the review says of etcd's restart with one member, "one to two minutes": before the kubelet starts it again it
// wants its mirror pod deleted, twice at times, and each try hangs for 34 seconds at an API server whose etcd is gone.
const longestWithEtcd = 2*time.Minute + 15*time.Second

// leaseKept is how long an API may be away before those that live by a lease may lose it, and exit: they give up 10 seconds after
// they have last renewed it, which they do every 2 seconds.
const leaseKept = 8 * time.Second

// excused are the restarts that are wanted, with those of a lease that was lost: one, where the API was away for long enough.
func excused(want, restarts map[string]int, outage time.Duration) map[string]int {
	out := map[string]int{}
	maps.Copy(out, want)
	for _, c := range []string{controllerManager, scheduler} {
		if outage >= leaseKept && want[c] != anyTimes && restarts[c] == want[c]+1 {
			out[c] = restarts[c]
		}
	}
	return out
}

func (t *T) leases() map[string]lease {
	return map[string]lease{controllerManager: t.lease(controllerManager), scheduler: t.lease(scheduler)}
}

// leasesKept puts into the table whether the leaders are the ones that they were.
func (t *T) leasesKept(prefix string, before map[string]lease) {
	for _, name := range []string{controllerManager, scheduler} {
		kept := "kept"
		if t.lease(name) != before[name] {
			kept = "lost"
		}
		t.figure(prefix+short.ReplaceAllString(name, "")+"'s lease", "%s", kept)
	}
}
