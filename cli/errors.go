package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Exit codes: a contract.
const (
	exitDone      = 0
	exitError     = 1
	exitUsage     = 2
	exitFindings  = 3
	exitUndone    = 4
	exitUnsettled = 5
	exitLocked    = 6
	exitMixed     = 7
	exitRefused   = 8
	exitConfirm   = 9
	exitSkipped   = 10
)

// exitCodes are the contract in words, for --help.
var exitCodes = []struct {
	code  int
	means string
}{
	{exitDone, "done, or nothing to do"},
	{exitError, "error"},
	{exitUsage, "the command line cannot be taken"},
	{exitFindings, "--fail-on is met"},
	{exitUndone, "a gate failed, or the run was interrupted: everything is as before"},
	{exitUnsettled, "a transaction needs recover, or objects are owed"},
	{exitLocked, "another run holds the lock"},
	{exitMixed, "the undo failed too: restore.sh is named"},
	{exitRefused, "refused before anything was changed"},
	{exitConfirm, "applied, waiting for confirm: it is undone by itself unless that comes in time"},
	{exitSkipped, "applied, but some of what was named was skipped, refused or rolled back"},
}

// hintedError is an error with hints. Commands in them begin with the program's own name and a command: where and how is
// added when they are printed.
type hintedError struct {
	err   error
	hints []string
	// whole is a command that needs nothing added.
	whole string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// usageError is a command line that cannot be taken.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// refusedError is a change that is not begun.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// damagedError is a transaction that is not what was written, with the way out that does not need the rest of it.
type damagedError struct {
	err    error
	script string
}

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// codeError ends the program with a code; what is to be said has been said.
type codeError struct{ code int }

func (e *codeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode is the contract's code for an error.
func exitCode(err error) int {
	var code *codeError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return code.code
	case errors.As(err, new(*usageError)), errors.As(err, new(*harden.UnknownNameError)), errors.As(err, new(*harden.OptionError)):
		return exitUsage
	case errors.As(err, new(*refusedError)):
		return exitRefused
	case errors.Is(err, backups.ErrLocked):
		return exitLocked
	case errors.As(err, new(*damagedError)):
		return exitUnsettled
	}
	return exitError
}

// outcomeCode is the contract's code for what became of a plan.
func outcomeCode(o harden.Outcome) int {
	switch o {
	case harden.OutcomeApplied:
		return exitDone
	case harden.OutcomeWaiting:
		return exitConfirm
	case harden.OutcomeRolledBack:
		return exitUndone
	case harden.OutcomeOwed, harden.OutcomeUnsettled:
		return exitUnsettled
	case harden.OutcomeLocked:
		return exitLocked
	case harden.OutcomeMixed:
		return exitMixed
	case harden.OutcomeRefused:
		return exitRefused
	}
	return exitError
}

// hints are the commands to paste that an error carries or implies, or what is to be done by hand.
func (a *app) hints(err error) []string {
	var hinted *hintedError
	var unknown *harden.UnknownNameError
	var option *harden.OptionError
	var conflict *harden.UndoConflictError
	switch {
	case errors.As(err, &hinted):
		return hinted.hints
	case errors.As(err, &unknown):
		if near := nearest(unknown); len(near) > 0 {
			return []string{"did you mean " + strings.Join(near, ", ") + "?"}
		}
		if unknown.What != "control" {
			return []string{"known are " + strings.Join(unknown.Known, ", ")}
		}
		return []string{program + " assess"}
	case errors.As(err, &option):
		return a.optionHint(option)
	case errors.As(err, &conflict) && conflict.Later != "":
		return []string{program + " rollback " + conflict.Later}
	case errors.Is(err, backups.ErrLocked):
		return []string{program + " status"}
	case errors.Is(err, backups.ErrUnknown):
		return []string{program + " history"}
	case patches.Hint(err) != "":
		return []string{patches.Hint(err)}
	}
	return nil
}

// wholeHint is a complete command that an error carries or implies.
func (a *app) wholeHint(err error) string {
	var hinted *hintedError
	if errors.As(err, &hinted) && hinted.whole != "" {
		return hinted.whole
	}
	var damaged *damagedError
	if errors.As(err, &damaged) {
		return a.where.byHand(damaged.script)
	}
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() > 0 {
		return a.againBy("sudo ")
	}
	return ""
}

// optionHint lists what can be set.
func (a *app) optionHint(e *harden.OptionError) []string {
	_, control, _ := harden.FindControl(a.areas, e.Control)
	var out []string
	for _, r := range control.Remedies {
		var options []string
		for _, o := range r.Options {
			options = append(options, o.Name+" ("+string(o.Kind)+", "+orNothing(o.Default)+")")
		}
		if len(options) > 0 {
			out = append(out, "options of remedy "+r.ID+", with their defaults: "+strings.Join(options, ", "))
		}
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// plainly says in words what the operator did to end a run.
func plainly(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted; nothing was changed")
	}
	return err
}
