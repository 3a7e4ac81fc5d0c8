package tui

import (
	"context"
	"io"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Engine is what the walk needs from the world. Methods with a context may block; they are called from commands only, and
// must return soon after their context ends.
type Engine interface {
	// Areas in walking order. It is called once and must not block.
	Areas() []harden.Area
	// Facts reads what is near and fast. Groups that come later are in Missing.
	Facts(context.Context) (*harden.Facts, error)
	// SlowFacts returns a copy of the facts with what takes longer (the cluster, other processes). With an error the facts, if
	// not nil, still count.
	SlowFacts(context.Context, *harden.Facts) (*harden.Facts, error)
	// Assess is pure.
	Assess(*harden.Facts) []harden.Finding
	// Plan makes the plans of the choices, the node's first. Empty plans may be left out, unless they say what was skipped.
	Plan(context.Context, *harden.Facts, []harden.Choice) ([]harden.Plan, error)
	// Apply runs a plan and reports each event of its journal, from one goroutine. When the context ends it undoes at the next
	// safe point and returns what became of it.
	Apply(context.Context, harden.Plan, Confirmation, func(harden.Event)) harden.Result
	// Standing is what stands open besides this walk: a run of another process, a transaction that waits for confirm or was
	// interrupted; nil for nothing.
	Standing(context.Context) (*Standing, error)
	// Confirm keeps a transaction that waits, and disarms its switch.
	Confirm(ctx context.Context, id string) harden.Result
	// History is the transactions, newest first.
	History(context.Context) ([]harden.TransactionSummary, error)
	// Events is the journal of a transaction.
	Events(ctx context.Context, id string) ([]harden.Event, error)
	// Undo makes the plans that undo a transaction, or one control of it; they are applied like others.
	Undo(ctx context.Context, id, control string) ([]harden.Plan, error)
	// ScriptPath is where restore.sh of this plan would be. It must not block.
	ScriptPath(harden.Plan) string
	// SaveChoices writes a choices file, SaveDiff a unified diff. Existing files are not overwritten.
	SaveChoices(path string, choices []harden.Choice) error
	SaveDiff(path string, diff []byte) error
}

// Confirmation is what the operator agreed to.
type Confirmation struct {
	// Node is the name as it was typed.
	Node string
	// Unknown are the ids of the preflight checks that were not known when the plan was confirmed, and were shown.
	Unknown []string
	// Shown are the digests of the contents whose diff was shown, by step id.
	Shown map[string]string
}

// Options say how the walk looks and what it is about.
type Options struct {
	In  io.Reader
	Out io.Writer
	Env []string // for the terminal library: TERM and the like

	Color bool
	ASCII bool
	Mouse bool

	Sandbox bool // a banner says that nothing here is real
	// SandboxKept says that the sandbox's root stays when the walk ends.
	SandboxKept bool
	ReadOnly    bool   // apply is not offered
	DryRun      bool   // apply is rehearsed and writes nothing
	Cluster     string // context or cluster, for the header; empty: none
	Command     string // how this program is called, with where it acts: "sudo kubectl-harden --root /mnt"; of a sandbox, on a node
	Walk        string // how this walk is called; empty: as Command
	Demo        string // how the sandbox is called

	// Preselect is what the walk begins with; nil: nothing.
	Preselect Preselection
	// ChoicesFile and DiffFile are proposed when saving.
	ChoicesFile, DiffFile string

	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Width and Height are used until the terminal says its size.
	Width, Height int
}

// shell is a command of this program that does something about what the walk did; "" of a sandbox, which only the walk can
// reach.
func (o Options) shell(words string) string {
	if o.Sandbox {
		return ""
	}
	return o.Command + " " + words
}

func (o Options) defaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Command == "" {
		o.Command = "sudo kubectl-harden"
	}
	if o.Walk == "" {
		o.Walk = o.Command
	}
	if o.Demo == "" {
		o.Demo = "kubectl-harden demo"
	}
	if o.ChoicesFile == "" {
		o.ChoicesFile = "harden-choices.json"
	}
	if o.DiffFile == "" {
		o.DiffFile = "harden.diff"
	}
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Height <= 0 {
		o.Height = 24
	}
	return o
}
