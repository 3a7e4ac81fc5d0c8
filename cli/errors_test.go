package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{usagef("wrong"), 2},
		{&hintedError{err: usagef("wrong")}, 2},
		{&refusedError{&harden.UnknownNameError{}}, 2},
		{&refusedError{&harden.OptionError{}}, 2},
		{&codeError{exitFindings}, 3},
		{fmt.Errorf("locking: %w", &backups.LockedError{}), 6},
		{&hintedError{err: &refusedError{errors.New("no root")}}, 8},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%#v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestExitCodesOfOutcomes(t *testing.T) {
	for outcome, want := range map[harden.Outcome]int{
		harden.OutcomeApplied: 0, harden.OutcomeRolledBack: 4, harden.OutcomeUnsettled: 5, harden.OutcomeOwed: 5,
		harden.OutcomeLocked: 6, harden.OutcomeMixed: 7, harden.OutcomeRefused: 8, "": 1,
	} {
		if got := outcomeCode(outcome); got != want {
			t.Errorf("%q: %d, want %d", outcome, got, want)
		}
	}
}

// The contract is on the first page that an operator sees: each code once, in order.
func TestExitCodesInHelp(t *testing.T) {
	for i, c := range exitCodes {
		if c.code != i || c.means == "" {
			t.Errorf("exit code %d is at place %d", c.code, i)
		}
	}
}

// An undo that failed: what state each target is in, and restore.sh as a command.
func TestReportOfAMixedState(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{Streams: Streams{Out: &out, Err: &errs}, where: whereFlags{root: "/", stateDir: defaultStateDir}}
	err := a.report(harden.Result{
		Outcome: harden.OutcomeMixed, Transaction: "t1", Message: harden.Msg("a gate failed"), Script: "/tx/t1/restore.sh", Hints: []string{"kubectl-harden recover"},
		Targets: []harden.TargetState{
			{Target: "/etc/a", Is: harden.TargetPlanned}, {Target: "kube-apiserver", Is: harden.TargetUnknown, Why: harden.Msg("it \x1b[2J hides")},
		},
	})
	want := "error: a gate failed (transaction t1)\nas planned   /etc/a\nnot known    kube-apiserver (it ^[[2J hides)\n" +
		"hint: kubectl-harden recover\nhint: sh /tx/t1/restore.sh\n"
	if exitCode(err) != 7 || errs.String() != want || out.Len() > 0 {
		t.Errorf("%v: %q, want %q", err, errs.String(), want)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/var/lib": "/var/lib", "": "''", "two words": "'two words'", "it's": `'it'\''s'`, "a=b,c": "a=b,c", "$(x)": "'$(x)'", "~": "'~'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
