package tui

import (
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Summary is what a walk leaves behind, for the command line to print and to make its exit code from.
type Summary struct {
	Node string
	// Findings as last seen.
	Findings []harden.Finding
	// Applied are the plans that were run, in order.
	Applied []Applied
	// ChoicesFile was written, if not empty.
	ChoicesFile string

	opts   Options
	noNode bool
	stale  bool // something was applied and the node was not read again since
}

// Applied is a plan that was run.
type Applied struct {
	Run    string // plans of one run were confirmed and applied together
	Undoes string
	Result harden.Result
	// Left is what belongs to an undo and could not be undone with it.
	Left []harden.Skip

	choices []harden.Choice
	where   string // which of several plans it was
	with    string // the transaction of the same run whose undo, or redo, takes this one along
}

// String is plain text of whole lines, safe for any terminal.
func (s Summary) String() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(Inert(fmt.Sprintf(format, args...), false) + "\n")
	}
	if s.noNode {
		line("This machine is no Kubernetes node.")
	} else if len(s.Findings) > 0 && !s.stale {
		t := harden.Count(s.Findings)
		var parts []string
		for _, st := range harden.Statuses {
			parts = append(parts, fmt.Sprintf("%d %s", t[st], word(st)))
		}
		line("%s: %s", s.Node, strings.Join(parts, ", "))
	}
	for _, a := range s.Applied {
		line("%s", a.where+outcome(a.Result.Outcome, a.Undoes != ""))
		if !a.Result.Message.IsZero() {
			line("  %s", a.Result.Message)
		}
		for _, k := range a.Left {
			line("  Not undone: %s", k.Reason)
		}
		if a.Result.Transaction != "" {
			line("  transaction  %s", a.Result.Transaction)
		}
		if a.Result.Script != "" && !s.opts.Sandbox {
			line("  backup       %s", a.Result.Script)
		}
		for _, t := range a.Result.Targets {
			line("  %-12s %s", string(t.Is), targetLine(t))
		}
		for _, way := range a.ways(s.opts) {
			if way.label == "hint" {
				line("hint: %s", way.command)
			} else {
				line("  %-12s %s", way.label, way.command)
			}
		}
	}
	switch {
	case len(s.Applied) == 0:
		line("Nothing was changed.")
	case s.opts.SandboxKept:
		line("All this was in the sandbox.")
	case s.opts.Sandbox:
		line("All this was in the sandbox, which is gone, and its backups with it.")
	}
	if s.ChoicesFile != "" {
		line("Choices are in %s", s.ChoicesFile)
	}
	return b.String()
}
