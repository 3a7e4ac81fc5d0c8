package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

func (a *app) applyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply [PLANFILE]", Short: "Apply the remedies, with backup, gates and automatic undo", Args: atMost(1),
		Example: `  sudo kubectl-harden apply --all --yes --reason "CIS baseline"
  sudo kubectl-harden apply plan.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.open("apply")
			if err != nil {
				return err
			}
			if a.sel.soak < 0 {
				return usagef("--soak cannot be negative: %s", a.sel.soak)
			}
			e.soak = a.sel.soak
			plans, err := a.plansToApply(cmd.Context(), e, args)
			if err == nil && a.sel.handover {
				err = e.setHandover(cmd.Context(), plans)
			}
			if err != nil {
				return err
			}
			done, err := a.confirmAndApply(cmd.Context(), e, plans, "apply")
			return a.stays(done, err)
		},
	}
	a.sel.add(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&a.sel.yes, "yes", false, "apply without asking, after printing the diff")
	f.BoolVar(&a.sel.dryRun, "dry-run", false, "print the diff and check the plan; change nothing")
	f.StringVar(&a.sel.reason, "reason", "", "why, for the history")
	f.DurationVar(&a.sel.soak, "soak", defaultSoak, "how long health is watched after the last gate")
	f.BoolVar(&a.sel.handover, "handover", false, "lead new connections to a second API server while the only one restarts, where a trial shows that they arrive")
	return cmd
}

func (a *app) plansToApply(ctx context.Context, e *engine, args []string) ([]harden.Plan, error) {
	if len(args) == 0 {
		return a.plans(ctx, e)
	}
	if a.sel.given() {
		return nil, usagef("a plan file says already what is applied: leave the selection out")
	}
	if err := a.sel.checkWithin(); err != nil {
		return nil, err
	}
	p, err := readPlans(args[0], a.areas)
	e.within, e.selected = a.sel.confirmWithin, p.again(a.areas)
	for i := range p.Plans {
		e.setSwitch(ctx, &p.Plans[i])
	}
	return p.Plans, err
}

// confirmAndApply prints the diff, checks that nothing speaks against it, asks unless --yes, and applies plan after plan. It
// gives what was done, also when a later plan fails.
func (a *app) confirmAndApply(ctx context.Context, e *engine, plans []harden.Plan, verb string) (done []harden.Result, err error) {
	if err := printPlans(a.Out, plans, true); err != nil {
		return nil, err
	}
	// What waits is ended by its undo, though nothing of it be left.
	work := slices.DeleteFunc(slices.Clone(plans), func(p harden.Plan) bool { return p.Empty() && !e.undoesWaiting(p) })
	if len(work) == 0 {
		// That there is nothing to do must not hide what an earlier run has left half done.
		if res, open := e.Pending(); open && e.m.cannotWrite == nil {
			return nil, a.report(res)
		}
		return nil, a.afterwards(plans)
	}
	for _, p := range work {
		if res := e.Check(ctx, p); res.Outcome != harden.OutcomeApplied {
			return nil, a.report(res)
		}
	}
	if a.sel.dryRun {
		fmt.Fprintln(a.Err, "dry run: nothing was changed")
		return nil, a.afterwards(plans)
	}
	if e.m.cannotWrite != nil {
		return nil, e.m.cannotWrite
	}
	if !a.sel.yes {
		if err := a.ask(ctx, work[0].Target.Node, verb); err != nil {
			return nil, err
		}
	}
	for i, p := range work {
		res := e.Apply(ctx, p, a.tell)
		if err := a.report(res); err != nil {
			if rest := len(work) - i - 1; rest > 0 && res.Outcome == harden.OutcomeWaiting {
				fmt.Fprintf(a.Err, "error: left for later: %d more plans; run the same command again once this one is confirmed\n", rest)
			}
			return done, err
		}
		done = append(done, res)
	}
	return done, a.afterwards(plans)
}

// stays says, after a failure, what was done before it and is not undone by it. The exit code tells of both: what has to be
// settled comes first, else it is that only a part was done.
func (a *app) stays(done []harden.Result, err error) error {
	if err == nil || len(done) == 0 || exitCode(err) == exitSkipped {
		return err
	}
	a.complain(err)
	for _, res := range done {
		fmt.Fprintf(a.Err, "transaction %s was done before that and stays: %s\n", oneLine(res.Transaction), sentence(res.Message.String()))
		a.printHints(res.Hints)
	}
	return &codeError{partly(exitCode(err))}
}

// partly is the exit code where a plan ended with last and others had been applied before it, which stay.
func partly(last int) int {
	switch last {
	case exitDone, exitUnsettled, exitMixed, exitConfirm:
		return last
	}
	return exitSkipped
}

// afterwards says what was left out; leaving out what was named is worth an exit code.
func (a *app) afterwards(plans []harden.Plan) error { return a.leftOut(plans, true) }

// leftOut says what targets do not take as they are, with what to do about it; where nothing else is planned, everything was
// refused. With named it also says what was asked for and left out for another reason.
func (a *app) leftOut(plans []harden.Plan, named bool) error {
	planned := slices.ContainsFunc(plans, func(p harden.Plan) bool { return !p.Empty() })
	code, lost := exitDone, exitSkipped // where something that was asked for is missing
	if !planned {
		lost = exitRefused
	}
	for _, skips := range alike(plans) {
		s, label := skips[0], "error"
		switch {
		case s.Refused && !planned:
			code = lost
		case s.Named && named:
			code = max(code, lost)
		case s.Refused:
			label = "warning"
		default:
			continue
		}
		var controls, hints []string
		for _, s := range skips {
			controls, hints = append(controls, s.Control), append(hints, s.Hints...)
		}
		fmt.Fprintf(a.Err, "%s: left out: %s: %s\n", label, oneLine(strings.Join(controls, ", ")), sentence(s.String()))
		slices.Sort(hints)
		a.printHints(slices.Compact(hints))
	}
	if named && len(a.unread) > 0 {
		code = max(code, lost)
		for _, id := range a.unread {
			fmt.Fprintf(a.Err, "error: left out: all of %s, which cannot be read\n", id)
		}
	}
	if code != exitDone {
		return &codeError{code}
	}
	return nil
}

// alike are the skips of plans, those together that were refused for the same reason.
func alike(plans []harden.Plan) [][]harden.Skip {
	var out [][]harden.Skip
	for _, p := range plans {
		for _, s := range p.Skipped {
			same := func(o []harden.Skip) bool {
				return s.Refused && o[0].Refused && o[0].Named == s.Named && o[0].String() == s.String()
			}
			if i := slices.IndexFunc(out, same); i >= 0 {
				out[i] = append(out[i], s)
			} else {
				out = append(out, []harden.Skip{s})
			}
		}
	}
	return out
}

// ask wants the node's name typed: what is about to happen happens to this node, not to the one of another window.
func (a *app) ask(ctx context.Context, node, verb string) error {
	if !terminal(a.In) {
		return &hintedError{err: usagef("there is no terminal to ask at; the diff above is what would be written"), whole: a.again("--yes")}
	}
	if node == "" {
		return &hintedError{err: usagef("the node's name is not known, so it cannot be asked for"), whole: a.again("--yes")}
	}
	fmt.Fprintf(a.Err, "Type the node's name (%s) to %s, anything else to leave: ", oneLine(node), verb)
	line, err := readLine(ctx, a.In)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(a.Err)
		return errors.New("interrupted; nothing was changed")
	case err != nil && err != io.EOF:
		return fmt.Errorf("reading the answer: %w", err)
	case strings.TrimSpace(line) != node:
		return fmt.Errorf("that is not %s; nothing was changed", node)
	}
	return nil
}

// readLine leaves the reader waiting when the operator interrupts: the program ends then.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case g := <-got:
		return g.line, g.err
	}
}

// tell prints progress as it goes into the journal.
func (a *app) tell(ev harden.Event) {
	text := ev.Message.String()
	if ev.Timeout > 0 {
		text += fmt.Sprintf(" (at most %s)", ev.Timeout.Round(time.Second))
	}
	fmt.Fprintf(a.Err, "%s  %-10s %s\n", ev.Time.Format("15:04:05"), ev.Kind, oneLine(text))
}

// report says what became of a plan and turns it into an exit code.
func (a *app) report(res harden.Result) error {
	code := outcomeCode(res.Outcome)
	text := res.Message.String()
	if res.Transaction != "" {
		text += " (transaction " + res.Transaction + ")"
	}
	if code == exitDone || code == exitConfirm {
		fmt.Fprintln(a.Out, sentence(text))
		for _, h := range res.Hints {
			label := "undo"
			switch {
			case strings.HasPrefix(h, program+" confirm "):
				label = "confirm"
			case strings.HasPrefix(h, program+" status "):
				label = "clean up"
			}
			if h = a.where.pasteable(h); h != "" {
				fmt.Fprintf(a.Out, "%s: %s\n", label, oneLine(h))
			}
		}
	}
	switch code {
	case exitDone:
		return nil
	case exitConfirm:
		return &codeError{code}
	}
	fmt.Fprintf(a.Err, "error: %s\n", sentence(text))
	if res.Drift != nil {
		a.printDrift(*res.Drift)
	}
	for _, t := range res.Targets {
		fmt.Fprintf(a.Err, "%-12s %s\n", string(t.Is), oneLine(stateLine(t)))
	}
	a.printHints(res.Hints)
	switch {
	case res.Script == "" || a.where.sandbox:
	case code == exitMixed || code == exitUnsettled:
		a.printHints([]string{a.where.byHand(res.Script)})
	default: // everything is as before; whoever doubts it has a way of their own
		fmt.Fprintf(a.Err, "way out by hand: %s\n", oneLine(a.where.byHand(res.Script)))
	}
	return &codeError{code}
}

// stateLine is a target with what is known of it.
func stateLine(t harden.TargetState) string {
	if why := t.Why.String(); why != "" {
		return t.Target + " (" + why + ")"
	}
	return t.Target
}

// printDrift is the three-way picture: what changed under the plan, and what the plan would have written.
func (a *app) printDrift(d harden.Drift) {
	if d.Secret {
		return // its content is never shown
	}
	a.printDiff("changed since the plan was made", d.Target, d.Planned, d.Now)
	a.printDiff("what the plan would write", d.Target, d.Planned, d.After)
}

func (a *app) printDiff(title, target string, before, after harden.State) {
	name := strings.TrimPrefix(target, "/")
	d, err := patches.Diff(before.Data, after.Data, patches.DiffOptions{
		OldName: name, NewName: name, Created: !before.Exists, Deleted: !after.Exists, OldMode: before.Mode, NewMode: after.Mode,
	})
	if err != nil {
		fmt.Fprintf(a.Err, "%s: %s\n", title, oneLine(err.Error()))
		return
	}
	fmt.Fprintf(a.Err, "%s:\n%s", title, inert(string(d.Unified())))
}

// defaultSoak is how long health is watched after the last gate.
const defaultSoak = 30 * time.Second
