//go:build linux

package main

import (
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
		{"is not run", result{scenario: s, verdict: notRun, why: []string{"no cluster"}}, []string{"NOT RUN", "2nd try: no cluster",
			"e2e: 0 passed, 1 failed, 0 skipped"}},
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
