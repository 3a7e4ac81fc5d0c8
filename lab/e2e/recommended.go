//go:build linux

package main

import (
	"slices"
	"strings"
	"time"
)

var recommendedScenarios = []scenario{{
	name:   "18-recommended",
	proves: "each profile but the one of 16 is applied and undone: what it asks passes or is said to be left out, and what somebody has waived stays as it is",
	long:   "it takes a quarter of an hour: six profiles one after the other",
	run:    recommended,
}}

// otherProfiles are those that 16-everything does not apply. The older benchmarks' first levels are within their second ones.
var otherProfiles = []string{"cis-l1", "stig", "nsa", "seed", "cis-1.11-l2", "cis-1.10-l2"}

// waivedControl fails on a node as kubeadm makes it, is asked for by each of these profiles but nsa, and has a remedy that they take.
const waivedControl = "apiserver-profiling"

func recommended(t *T) {
	before, objects, were := t.picture(t.node), t.lasting(), t.verdicts()
	for _, profile := range otherProfiles {
		t.step("%s", profile)
		t.oneProfile(profile)
		t.must(0, "rollback", "--yes")
		t.healthy(profile + ", after the undo")
		t.same(before, profile+", after the undo")
	}

	t.step("%s, with one finding waived", otherProfiles[0])
	until := time.Now().Add(30 * 24 * time.Hour).Format(time.DateOnly)
	t.must(0, "waive", waivedControl, "--reason", "profiles are read until then", "--until", until)
	if is := t.oneProfile(otherProfiles[0])[waivedControl]; is != "waived" {
		t.errorf("%s is waived, and assess says %q", waivedControl, is)
	}
	if slices.Contains(t.instance(t.node, apiServer).Args, "--profiling=false") {
		t.errorf("%s is waived, and was applied", waivedControl)
	}
	t.must(0, "rollback", "--yes")
	t.must(0, "waive", waivedControl, "--remove")
	t.healthy("at the end")
	t.same(before, "at the end")
	t.sameObjects(objects, t.lasting, "at the end")
	if d := diffMaps(were, t.verdicts()); len(d) > 0 {
		t.errorf("verdicts are other ones than before:\n%s", strings.Join(d, "\n"))
	}
	t.clean("at the end")
}

// oneProfile applies a profile, with each component restarted once at most, and gives its verdicts. What it asks passes then, or is among
// what it has said to leave out, or is not known to fail.
func (t *T) oneProfile(profile string) map[string]string {
	left, asked := map[string]bool{}, t.verdictsOf(profile)
	for _, s := range t.leftOutBy(profile) {
		left[s.Control] = true
	}
	m := t.measure()
	applied := t.must(0, "apply", "--profile", profile, "--yes", "--soak", "5s")
	seen, restarts := m.poll.stop()[readyz(t.node)], m.lives.stop(isLive)
	t.figure(profile, "apply %s, outage %s, restarts %s", seconds(applied.took), seconds(seen.outage), counted(restarts))
	for c, n := range restarts {
		if allowed := excused(map[string]int{c: 1}, restarts, seen.outage)[c]; n > allowed {
			t.errorf("%s restarted %s %d times", profile, c, n)
		}
	}
	t.healthy(profile)
	now := t.verdictsOf(profile)
	better := 0
	for c, was := range asked {
		switch is := now[c]; {
		case is == "fail" && !left[c]:
			t.errorf("%s: %s fails, and it was not said that it is left out", profile, c)
		case was == "fail" && is == "pass":
			better++
		}
	}
	if better == 0 {
		t.errorf("%s: nothing is better by it", profile)
	}
	t.figure(profile+" makes pass", "%d of %d that failed", better, countOf(asked, "fail"))
	return now
}

func countOf(verdicts map[string]string, status string) int {
	n := 0
	for _, is := range verdicts {
		if is == status {
			n++
		}
	}
	return n
}
