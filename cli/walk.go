package cli

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/tui"
)

// walker is the engine as the terminal UI wants it.
type walker struct {
	*engine
	where whereFlags
}

func (w walker) Apply(ctx context.Context, p harden.Plan, c tui.Confirmation, events func(harden.Event)) harden.Result {
	if c.Node != p.Target.Node {
		return refused(fmt.Errorf("checking the confirmation: %q is not the name of this node", c.Node))
	}
	for _, s := range p.Steps() {
		if shown, ok := c.Shown[s.ID]; !ok || shown != s.After.Digest() {
			return refused(fmt.Errorf("checking the confirmation: %s: what would be written is not what was shown", s.ID))
		}
	}
	return w.where.forTheWalk(w.engine.Apply(ctx, p, events))
}

// SlowFacts adds what transactions have set, too.
func (w walker) SlowFacts(ctx context.Context, f *harden.Facts) (*harden.Facts, error) {
	return w.engine.SlowFacts(ctx, w.engine.withApplied(f))
}

// Plan makes the commands in it pasteable.
func (w walker) Plan(ctx context.Context, f *harden.Facts, choices []harden.Choice) ([]harden.Plan, error) {
	plans, err := w.engine.Plan(ctx, f, choices)
	for _, p := range plans {
		for i := range p.Skipped {
			p.Skipped[i].Hints = w.where.pasteables(p.Skipped[i].Hints)
		}
	}
	return plans, err
}

func (w walker) SaveChoices(path string, choices []harden.Choice) error {
	return writeChoices(path, choices)
}

func (w walker) SaveDiff(path string, diff []byte) error { return writeNew(path, diff, 0o600) }

// walk is the program without a command.
func (a *app) walk(ctx context.Context) error {
	e, err := a.open("walk")
	if err != nil {
		return err
	}
	return a.walkWith(ctx, e, false)
}

// walkWith walks through the engine's machine. kept says of a sandbox that its root stays.
func (a *app) walkWith(ctx context.Context, e *engine, kept bool) error {
	if e.soak = defaultSoak; e.m.sandbox {
		e.soak = 3 * time.Second
	}
	begin, err := a.preselect(ctx, e)
	if err != nil {
		return err
	}
	d := tui.Decide(tui.Terminal{
		Lookup: os.LookupEnv, InTTY: terminal(a.In), OutTTY: terminal(a.Out), Windows: runtime.GOOS == "windows",
		Plain: a.look.plain, Color: a.look.color, ASCII: a.look.ascii,
	})
	o := tui.Options{
		In: a.In, Out: a.stdout, Env: os.Environ(), Color: d.Color, ASCII: d.ASCII, Mouse: a.look.mouse,
		Sandbox: e.m.sandbox, SandboxKept: kept, ReadOnly: e.m.cannotWrite != nil, Cluster: e.m.context, Command: a.where.called(), Walk: a.called(e.m.sandbox), Demo: a.called(true), Preselect: begin,
	}
	run := tui.Run
	if d.Plain {
		run = tui.Plain
	}
	sum, err := run(ctx, walker{e, a.where}, o)
	fmt.Fprint(a.Out, sum.String())
	if err != nil {
		return err
	}
	return a.walked(sum)
}

// called is how to call this walk again.
func (a *app) called(sandbox bool) string {
	if sandbox {
		return name() + " demo"
	}
	return a.where.called()
}

// walked turns what was applied in the walk into the exit code of the last run, or says that one was left mixed.
func (a *app) walked(sum tui.Summary) error {
	last := exitDone
	for i, r := range sum.Applied {
		code := outcomeCode(r.Result.Outcome)
		if len(r.Left) > 0 && code == exitDone {
			code = exitUnsettled
		}
		switch {
		case last == exitMixed:
		case i > 0 && r.Run == sum.Applied[i-1].Run && last == exitDone:
			last = partly(code)
		default:
			last = code
		}
	}
	if last != exitDone {
		return &codeError{last}
	}
	return nil
}

// preselect is what the flags choose before the walk begins; nil: nothing. What is wrong with them is said before a screen is
// opened.
func (a *app) preselect(ctx context.Context, e *engine) (tui.Preselection, error) {
	if err := a.sel.checkWithin(); err != nil {
		return nil, err
	}
	e.within = a.sel.confirmWithin
	if !a.sel.given() {
		return nil, nil
	}
	sel, err := a.sel.selection()
	if err != nil {
		return nil, err
	}
	if ids := sel.AcceptedComponents(); len(ids) > 0 {
		return nil, usagef("--accept %s: the walk asks for that where it shows the plan; leave it out", ids[0])
	}
	f, err := e.Facts(ctx)
	if err != nil {
		return nil, err
	}
	choices, _, err := harden.Select(f, e.areas, sel)
	if err != nil {
		return nil, err
	}
	if err := acceptable(sel); err != nil {
		return nil, err
	}
	for _, c := range choices {
		if err := fillable(f, e.areas, c); err != nil {
			return nil, err
		}
	}
	return func(f *harden.Facts) ([]harden.Choice, []harden.Skip, error) { return harden.Select(f, e.areas, sel) }, nil
}

// fillable refuses options that the remedy does not take.
func fillable(f *harden.Facts, areas []harden.Area, c harden.Choice) error {
	_, control, _ := harden.FindControl(areas, c.Control)
	r, ok := control.Remedy(c.Remedy)
	if c.Remedy == "" {
		r, ok = harden.DefaultRemedy(f, control)
	}
	if !ok {
		return nil
	}
	_, err := r.Fill(c.Control, c.Options)
	return err
}
