//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

var killScenarios = []scenario{
	{
		name:   "05-kill",
		proves: "kill -9 at the lines of the journal: recover settles it, and everything is as before",
		long:   "it takes most of an hour: a kill at each step of a transaction",
		run:    killAtLines,
	},
	{
		name:   "05-kill-cluster",
		proves: "the same of a run that changes objects only: at each line of its journal with -full, else at a third of the events and all others",
		run:    killClusterScope,
	},
	{
		name:   "05-power-cut",
		proves: "the node killed at random moments and booted: recover settles it",
		long:   "it takes a quarter of an hour",
		run:    powerCuts,
	},
}

// applyAll is the run that is killed.
var applyAll = []string{productPath, "apply", "--all", "--yes", "--soak", "3s"}

// journalLine is what is in a line of the journal, as far as a choice needs it.
type journalLine struct {
	Time         time.Time
	Kind, Target string
	Data         json.RawMessage
}

// journal is the newest one.
func (t *T) journal() []journalLine { return t.journalOf("tail -1") }

// firstJournal is the node's, in a cluster where one run has made all transactions: those of cluster scope come after it.
func (t *T) firstJournal() []journalLine { return t.journalOf("head -1") }

func (t *T) journalOf(choose string) []journalLine {
	return t.linesOf(t.shell("cd " + stateDir + "/transactions && cat $(ls | " + choose + ")/journal.jsonl"))
}

// journals are all of them, oldest first.
func (t *T) journals() (out [][]journalLine) {
	const end = "--\n"
	all := t.shell("cd " + stateDir + "/transactions && for tx in *; do cat $tx/journal.jsonl; echo --; done")
	for _, text := range strings.Split(strings.TrimSuffix(all, end), "\n"+end) {
		out = append(out, t.linesOf(text))
	}
	return out
}

func (t *T) linesOf(journal string) (lines []journalLine) {
	for line := range strings.Lines(journal) {
		var l journalLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.fatalf("reading the journal: %v: %s", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

// killAtLines kills after the journal's n-th line, for every n that counts.
func killAtLines(t *T) {
	before := t.wholePicture()
	t.step("a whole run, to see its journal")
	out := t.command(t.node, applyAll[0], applyAll[1:]...)
	if out.code != 0 {
		t.fatalf("%s", out)
	}
	lines := t.firstJournal()
	if !slices.ContainsFunc(lines, func(l journalLine) bool { return l.Kind == "done" && l.Target == manifest }) {
		t.fatalf("the journal does not tell of a written manifest: %v", kinds(lines))
	}
	t.must(0, "rollback", "--yes")
	t.same(before, "after the whole run and its undo")

	t.killAfterEach(applyAll, lines, t.chooseLines(lines), before)
	t.healthy("at the end")
}

// killClusterScope kills a run that changes objects only.
func killClusterScope(t *T) {
	web := t.deploy()
	const control = "networkpolicy-default-deny-ingress"
	change := []string{productPath, "apply", "--control", control, "--accept", control, "--yes", "--soak", "1s"}
	before := t.wholePicture()
	policies := len(t.policies())
	out := t.command(t.node, change[0], change[1:]...)
	if out.code != 0 {
		t.fatalf("%s", out)
	}
	if len(t.policies()) == policies {
		t.errorf("there are no new NetworkPolicies: %s", out)
	}
	lines := t.journal()
	t.must(0, "rollback", "--yes")
	t.same(before, "after the whole run and its undo")
	var chosen []int
	for n, l := range lines {
		if t.full || l.Kind != "event" || n%3 == 0 { // an event only tells of the line before
			chosen = append(chosen, n+1)
		}
	}
	t.killAfterEach(change, lines, chosen, before)
	t.checkTraffic("at the end", web, false)
}

// killAfterEach kills a run after the chosen lines of its journal, once for each.
func (t *T) killAfterEach(run []string, lines []journalLine, chosen []int, before picture) {
	t.figure("killed at", "%d of %d lines", len(chosen), len(lines))
	var settling []time.Duration
	undone, kept, later := 0, 0, 0
	restarts := slices.ContainsFunc(lines, func(l journalLine) bool { return l.Target == manifest })
	for _, n := range chosen {
		l := lines[n-1]
		t.step("killed after line %d: %s %s %s", n, l.Kind, l.Target, l.about())
		var k killed
		t.agent(t.node, &k, append([]string{"killat", strconv.Itoa(n), "9"}, run...)...)
		t.detail("%+v", k)
		if len(k.PIDs) == 0 {
			t.errorf("line %d: the run ended before it was killed, at line %d: exit code %d\n%s", n, k.Lines, k.Code, k.Output)
		}
		if k.Lines > n {
			later++ // it had written on before it was seen
		}
		start := time.Now()
		if t.settle(before, fmt.Sprintf("killed after line %d (%s %s)", n, l.Kind, l.Target)) {
			undone++
		} else {
			kept++
		}
		settling = append(settling, time.Since(start))
		if restarts {
			t.forgive()
		}
		if len(t.failures) > 3 {
			t.fatalf("enough")
		}
	}
	t.figure("killed some lines later", "%d", later)
	t.figure("undone by recover", "%d", undone)
	t.figure("finished already", "%d", kept)
	t.figure("settled in", "at most %s", seconds(slices.Max(settling)))
}

// about says what kind of event a line is.
func (l journalLine) about() string {
	var e struct {
		Kind      string
		Component string
		Message   json.RawMessage
	}
	json.Unmarshal(l.Data, &e)
	return strings.TrimSpace(e.Kind + " " + e.Component)
}

// settle runs recover, and undoes a run that had got to its end, and wants everything as before. It says whether recover has
// undone the run.
func (t *T) settle(before picture, when string) (undone bool) {
	out := t.harden("recover")
	if out.code != 0 {
		t.errorf("%s: recover: %s", when, out)
		return false
	}
	undone = strings.Contains(out.stdout, "is undone")
	if !undone {
		t.must(0, "rollback", "--yes")
	}
	t.must(0, "status")
	t.healthy(when)
	t.within(time.Minute, when+": as before", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	if before.objects != nil {
		t.sameObjects(before.objects, t.lasting, when)
	}
	t.clean(when)
	return undone
}

// chooseLines leaves out lines at which nothing else is at stake than at the line before: all of them take hours. Before the
// first component is touched a run is quick, and every third is taken; then all but those that only tell of progress.
func (t *T) chooseLines(lines []journalLine) []int {
	var chosen []int
	if t.full {
		for n := range lines {
			chosen = append(chosen, n+1)
		}
		return chosen
	}
	touched, last := false, ""
	for n, l := range lines {
		touched = touched || strings.HasPrefix(l.Target, "/etc/kubernetes/manifests/")
		what := l.Kind + " " + l.Target
		switch {
		case touched && l.Kind != "event" && what != last, !touched && n%3 == 0:
			chosen = append(chosen, n+1)
		}
		last = what
	}
	return chosen
}

// powerCuts kills the whole node at random moments of a run, and boots it.
func powerCuts(t *T) {
	random := rand.New(rand.NewPCG(t.seed, 5))
	cuts := 5
	if t.full {
		cuts = 10
	}
	before := t.wholePicture()
	start := time.Now()
	out := t.command(t.node, applyAll[0], applyAll[1:]...)
	if out.code != 0 {
		t.fatalf("%s", out)
	}
	whole := time.Since(start)
	t.must(0, "rollback", "--yes")
	t.same(before, "after the whole run and its undo")
	undone := 0
	for i := range cuts {
		after := time.Duration(random.Float64() * float64(whole))
		t.step("power cut %d: after %s of %s", i+1, seconds(after), seconds(whole))
		cmd, err := t.node.Command(t.ctx, applyAll[0], applyAll[1:]...)
		t.need(err)
		t.need(cmd.Start())
		time.Sleep(after)
		t.need(t.node.Kill(t.ctx))
		cmd.Wait()
		t.need(t.node.Boot(t.ctx))
		// At once: that nothing serves yet is what an operator finds too.
		if t.settle(before, fmt.Sprintf("power cut after %s (seed %d)", seconds(after), t.seed)) {
			undone++
		}
		if len(t.failures) > 0 {
			t.fatalf("enough: the next boot would take away what its journal says")
		}
	}
	t.figure("power cuts", "%d", cuts)
	t.figure("undone by recover", "%d", undone)
}
