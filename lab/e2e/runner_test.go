//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestASecondTryTellsWhyTheFirstOneFailed(t *testing.T) {
	s := scenario{name: "99-flaky"}
	first := result{scenario: s, verdict: failed, why: []string{"the node is not Ready"}, logs: "logs/99-flaky"}
	for _, row := range []struct {
		name  string
		again result
		want  []string
	}{
		{"passes", result{scenario: s, verdict: passed, took: time.Second}, []string{"pass (2nd try)", "1st try: the node is not Ready",
			"kept: logs/99-flaky\n", "1 scenarios passed (1 of them at the second try), 0 failed", "e2e: 1 passed, 0 failed, 0 skipped"}},
		{"fails", result{scenario: s, verdict: failed, why: []string{"the node is gone"}, logs: "logs/99-flaky-2nd-try"}, []string{"FAIL",
			"1st try: the node is not Ready", "2nd try: the node is gone", "kept: logs/99-flaky-2nd-try\n", "e2e: 0 passed, 1 failed, 0 skipped"}},
		{"is not run", result{scenario: s, verdict: notRun, why: []string{"no cluster"}}, []string{"FAIL", "1 FAIL: 99-flaky\n", "2nd try: no cluster",
			"kept: logs/99-flaky\n", "e2e: 0 passed, 1 failed, 0 skipped"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			first := first
			first.why = []string{first.why[0]}
			var table strings.Builder
			printTable(&table, []result{first.after(row.again)}, time.Minute)
			for _, want := range row.want {
				if !strings.Contains(table.String(), want) {
					t.Errorf("the table lacks %q:\n%s", want, table.String())
				}
			}
		})
	}
}

func TestWhatHasFailedOncePassesOnlyByPassing(t *testing.T) {
	for _, row := range []struct{ first, again, want verdict }{
		{failed, passed, passedAgain}, {failed, failed, failed}, {failed, notRun, failed},
		{notRun, passed, passedAgain}, {notRun, failed, failed}, {notRun, notRun, notRun},
	} {
		if got := (result{verdict: row.first}).after(result{verdict: row.again}).verdict; got != row.want {
			t.Errorf("%s, then %s: %s, wanted %s", row.first, row.again, got, row.want)
		}
	}
}

func TestTheExitCodeIsNoPassUnlessSomethingPassed(t *testing.T) {
	for _, row := range []struct {
		name     string
		had      bool // a cluster
		verdicts []verdict
		want     int
	}{
		{"all pass", true, []verdict{passed, passedAgain, leftOut}, 0},
		{"one fails", true, []verdict{passed, failed, notBegun}, 1},
		{"no time was left for some", true, []verdict{passed, notBegun}, 0},
		{"no time was left for any", true, []verdict{notBegun, notBegun}, 1},
		{"no time was left for any, without a cluster", false, []verdict{notBegun}, 1},
		{"nothing was asked for", false, []verdict{leftOut}, 1},
		{"no cluster was ever to be had", false, []verdict{notRun, notRun, leftOut}, exitNotRun},
		{"no cluster, and then no time", false, []verdict{notRun, notBegun}, exitNotRun},
		{"one cluster was to be had, another was not", true, []verdict{passed, notRun}, 1},
		{"one cluster was to be had, and nothing ran in it", true, []verdict{notRun}, 1},
		{"a build failed and there is no cluster", false, []verdict{failed, notRun}, 1},
	} {
		var results []result
		for _, v := range row.verdicts {
			results = append(results, result{verdict: v})
		}
		if got := exitCode(settled(results, row.had)); got != row.want {
			t.Errorf("%s: exit code %d, wanted %d", row.name, got, row.want)
		}
	}
}

func TestOnlyAClusterThatDoesNotStartIsAnExcuse(t *testing.T) {
	over, stop := context.WithCancel(t.Context())
	stop()
	for _, row := range []struct {
		name string
		ctx  context.Context
		err  error
		want verdict
	}{
		{"it does not start", t.Context(), noCluster{errors.New("no cgroups")}, notRun},
		{"the product cannot be copied into it", t.Context(), errors.New("copying kubectl-harden"), failed},
		{"the time is over", over, noCluster{errors.New("context deadline exceeded")}, failed},
	} {
		if got := withoutCluster(row.ctx, row.err); got != row.want {
			t.Errorf("%s: %s, wanted %s", row.name, got, row.want)
		}
	}
}

func TestNoTimeAndNoProductAreFailures(t *testing.T) {
	over, stop := context.WithCancel(t.Context())
	stop()
	long, short := &runner{started: time.Now().Add(-time.Hour)}, &runner{started: time.Now()}
	long.beginWithin, short.beginWithin = time.Minute, time.Minute
	for _, row := range []struct {
		name     string
		r        *runner
		ctx      context.Context
		buildErr error
		want     verdict
	}{
		{"it can be tried", short, t.Context(), nil, ""},
		{"the product cannot be built", short, t.Context(), errors.New("building ./cli/harmful"), failed},
		{"the time for all is over", long, over, nil, failed},
		{"the time to begin is over", long, t.Context(), nil, notBegun},
	} {
		got, told := row.r.untried(row.ctx, scenario{name: "99-late"}, row.buildErr)
		if got.verdict != row.want || told != (row.want != "") {
			t.Errorf("%s: %q, wanted %q", row.name, got.verdict, row.want)
		}
	}
}

// What .ci/run names has to be there, and of the usual set: else it would run less than it says.
func TestTheScenariosOfCIExist(t *testing.T) {
	names := map[string]bool{}
	for _, s := range scenarios() {
		if names[s.name] || s.name == "" || s.proves == "" || s.run == nil {
			t.Errorf("scenario %q is there twice, or lacks something", s.name)
		}
		names[s.name] = s.long == ""
	}
	text, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^scenarios='\^\((.*)\)'$`).FindSubmatch(text)
	if m == nil {
		t.Fatal(".ci/run names no scenarios")
	}
	for _, want := range strings.Split(string(m[1]), "|") {
		found := 0
		for name, usual := range names {
			if strings.HasPrefix(name, want) && usual {
				found++
			}
		}
		if found != 1 {
			t.Errorf(".ci/run names %s, by which %d of the usual scenarios begin", want, found)
		}
	}
}

func TestAClusterOfAnotherVersionIsNotTakenForTheOneThatIsMeant(t *testing.T) {
	for _, row := range []struct {
		version, meant string
		want           bool
	}{
		{"v1.37.2", "1.37", true},
		{"v1.37.2", "v1.37.2", true},
		{"v1.37.2", "1.36", false},
		{"v1.37.2", "v1.37.20", false},
		{"v1.37.20", "v1.37.2", false},
		{"v1.37.2", "1.3", false},
	} {
		if got := isVersion(row.version, row.meant); got != row.want {
			t.Errorf("%s is %s: %t, wanted %t", row.version, row.meant, got, row.want)
		}
	}
}
