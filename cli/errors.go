package cli

import (
	"errors"
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Exit codes: a contract (design.md 4).
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

// hintedError is an error with commands that can be pasted.
type hintedError struct {
	err   error
	hints []string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// usageError is a command line that cannot be taken.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// codeError ends the program with a code; what is to be said has been said.
type codeError struct{ code int }

func (e *codeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode is the contract's code for an error.
func exitCode(err error) int {
	var code *codeError
	var usage *usageError
	var name *harden.UnknownNameError
	var option *harden.OptionError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &usage), errors.As(err, &name), errors.As(err, &option):
		return exitUsage
	case errors.Is(err, backups.ErrLocked):
		return exitLocked
	}
	return exitError
}

// outcomeCode is the contract's code for what became of a plan.
func outcomeCode(o harden.Outcome) int {
	switch o {
	case harden.OutcomeApplied:
		return exitDone
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

// hints are the commands to paste that an error carries or implies.
func hints(err error) []string {
	var hinted *hintedError
	var name *harden.UnknownNameError
	var conflict *harden.UndoConflictError
	switch {
	case errors.As(err, &hinted):
		return hinted.hints
	case errors.As(err, &name):
		if near := name.Nearest(); len(near) > 0 {
			return []string{"did you mean " + strings.Join(near, ", ") + "?"}
		}
		return []string{"kubectl-harden assess"}
	case errors.As(err, &conflict) && conflict.Later != "":
		return []string{"kubectl-harden rollback " + conflict.Later}
	case errors.Is(err, backups.ErrLocked):
		return []string{"kubectl-harden status"}
	case errors.Is(err, backups.ErrUnknown):
		return []string{"kubectl-harden history"}
	}
	return nil
}
