//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

var rehearsalScenarios = []scenario{{
	name:   "03-refused",
	proves: "what would fail is refused in rehearsal: exit code 8, the live server untouched, all API objects the same",
	run:    refused,
}, {
	name:   "03-canary",
	proves: "kill -9 at every step of a rehearsal, and a power cut during a canary: nothing is left, all API objects the same",
	long:   "it takes 9 minutes: a kill at each step of a rehearsal",
	run:    canaryLives,
}}

// refusedControls would each take the API server away, or the kubelet's settings.
var refusedControls = []string{
	"harmful-unknown-flag", "harmful-empty-audit-policy", "harmful-missing-mount", "harmful-cipher-suites",
	"harmful-admission-plugin", "harmful-probes-refused", "harmful-kubelet-field", "harmful-kubelet-limits",
}

func refused(t *T) {
	t.kubectl("wait", "-n", "kube-system", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
	before, objects := t.picture(t.node), t.objects()
	server := t.instance(t.node, apiServer)
	m := t.measure()
	var longest time.Duration
	for _, c := range refusedControls {
		t.step("%s", c)
		out := t.command(t.node, harmfulPath, "apply", "--control", c, "--yes", "--soak", "0s")
		longest = max(longest, out.took)
		if out.code != 8 {
			t.errorf("%s: wanted exit code 8: %s", c, out)
		}
		now := t.instances(t.node, apiServer)
		if !slices.ContainsFunc(now, func(i instance) bool { return i.Container == server.Container }) {
			t.errorf("%s: the live API server was restarted", c)
			t.healthy(c)
			server = t.instance(t.node, apiServer)
		}
		t.sameFiles(before, c)
		t.clean(c)
	}
	t.figure("to refuse", "at most %s", seconds(longest))
	seen := m.poll.stop()[readyz(t.node)]
	t.figure("failed requests", "%d of %d", seen.failed, seen.asked)
	t.only(nil, m.lives.stop(isLive), "while all were refused")
	t.sameObjects(objects, t.objects, "at the end")
}

// rehearsed is a run whose canary has something to show: a log of its own, in a directory that the kubelet makes.
var rehearsed = []string{productPath, "apply", "--area", "audit", "--control", "apiserver-profiling", "--yes", "--soak", "0s"}

// canaryLives ends a rehearsal in every way. What it leaves is looked at before anything of the product has run again, where
// the machine has restarted, and else after recover.
func canaryLives(t *T) {
	before := t.picture(t.node)
	t.step("a whole run, to see its journal")
	if out := t.command(t.node, rehearsed[0], rehearsed[1:]...); out.code != 0 {
		t.fatalf("%s", out)
	}
	lines, first, last := t.canaryLines()
	t.figure("canary serves after", "%s", t.between(lines, "on port", "serves as planned"))
	t.figure("to rehearse", "%s", t.between(lines, "checks its planned flags", "is gone, and what was made"))
	t.must(0, "rollback", "--yes")
	t.same(before, "after the whole run and its undo")
	t.healthy("after the whole run and its undo")
	// The log of a server that served stays. That of a canary, and what was made for it, does not.
	t.shell("rm -r " + auditLogs)
	server, objects := t.instance(t.node, apiServer), t.objects()

	for n := first; n <= last; n++ {
		l := lines[n-1]
		when := fmt.Sprintf("killed after line %d: %s %s %s", n, l.Kind, l.Target, l.about())
		t.step("%s", when)
		var k killed
		t.agent(t.node, &k, append([]string{"killat", strconv.Itoa(n), "9"}, rehearsed...)...)
		t.detail("%+v", k)
		if len(k.PIDs) == 0 {
			t.errorf("%s: the run ended before that, at line %d: exit code %d\n%s", when, k.Lines, k.Code, k.Output)
		}
		t.must(0, "recover")
		t.same(before, when)
		t.clean(when)
		logs := t.auditLogs()
		switch now := t.instance(t.node, apiServer); {
		case now.Container == server.Container:
		case k.Lines > last:
			t.step("it was hit when the change itself had begun, and the live API server restarted")
			t.healthy(when)
			server, objects = now, t.objects()
		default:
			t.errorf("%s: the live API server was restarted", when)
			server = now
		}
		if k.Lines > last {
			t.shell("rm -rf " + auditLogs)
		} else if logs != "" {
			t.errorf("%s: left behind: %s", when, logs)
		}
	}
	t.figure("killed at", "%d lines", last-first+1)
	t.sameObjects(objects, t.objects, "killed at every line")
	before.objects = lasting(objects)

	for _, wait := range []time.Duration{0, 2 * time.Second, 6 * time.Second} {
		when := fmt.Sprintf("power cut %s after a canary's manifest was written", seconds(wait))
		t.step("%s", when)
		cmd, err := t.node.Command(t.ctx, rehearsed[0], rehearsed[1:]...)
		t.need(err)
		t.need(cmd.Start())
		t.within(time.Minute, "a canary's manifest is there", func() (bool, string) {
			return strings.Contains(t.shell("ls /etc/kubernetes/manifests"), "canary"), "it is not"
		})
		time.Sleep(wait)
		t.need(t.node.Kill(t.ctx))
		cmd.Wait()
		t.need(t.node.Boot(t.ctx))
		t.healthy(when)
		// Nobody has recovered yet.
		if files := t.shell("ls -A /etc/kubernetes/manifests"); strings.Contains(files, "canary") {
			t.errorf("%s: it came back with the machine: %s", when, files)
		}
		if found := t.instances(t.node, apiServer); len(found) != 1 {
			t.errorf("%s: %d API servers run", when, len(found))
		}
		t.must(0, "recover")
		t.same(before, when)
		t.clean(when)
		if logs := t.auditLogs(); logs != "" {
			t.errorf("%s: left behind: %s", when, logs)
		}
	}
}

// auditLogs is where the rehearsed change has the audit log written, in a directory that is not there before.
const auditLogs = "/var/log/kubernetes"

// auditLogs are what is there of them.
func (t *T) auditLogs() string { return t.shell("find " + auditLogs + " 2>/dev/null || true") }

// canaryLines is the journal that tells of a canary, and the numbers of its first and its last line that do.
func (t *T) canaryLines() (lines []journalLine, first, last int) {
	for _, lines = range t.journals() {
		first = slices.IndexFunc(lines, func(l journalLine) bool { return l.Kind == "canary" }) + 1
		last = slices.IndexFunc(lines, func(l journalLine) bool { return l.Kind == "canary gone" }) + 1
		if first > 0 && last > first {
			return lines, first, last
		}
	}
	t.fatalf("no journal tells of a canary")
	return nil, 0, 0
}

// between is the time from the first event that says one thing to the first that says another.
func (t *T) between(lines []journalLine, from, to string) string {
	at := func(text string) (time.Time, bool) {
		for _, l := range lines {
			var e struct {
				Time    time.Time
				Message string
			}
			if l.Kind == "event" && json.Unmarshal(l.Data, &e) == nil && strings.Contains(e.Message, text) {
				return e.Time, true
			}
		}
		return time.Time{}, false
	}
	begin, begun := at(from)
	end, ended := at(to)
	if !begun || !ended {
		t.errorf("the journal does not say %q and %q", from, to)
		return "not known"
	}
	return seconds(end.Sub(begin))
}
