package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// resultScreen says what became of a run.
type resultScreen struct {
	ran    []Applied
	left   int // plans that were not begun
	events []harden.Event
	scroll scroller
}

// where says what one of several plans acts on; "" where there is but one.
func (r *run) where(i int) string {
	switch p := r.plans[i]; {
	case len(r.plans) < 2:
		return ""
	case p.Keeps():
		return "In what kubeadm keeps for upgrades: "
	case p.Scope == harden.ScopeCluster:
		return "In the cluster: "
	}
	return "On this node: "
}

func (s *resultScreen) title(*Model) (string, string) { return "Result", "" }

func (s *resultScreen) actions(*Model) []action {
	return []action{act(Keys.Submit, "back to the areas"), act(Keys.History, "history, undo")}
}

func (s *resultScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	if !s.scroll.key(k, m.height-5) && is(k, Keys.Submit, Keys.Back) {
		m.home()
	}
	return nil
}

// outcome in a sentence, of an undo or of any other plan.
func outcome(o harden.Outcome, undo bool) string {
	switch {
	case undo && o == harden.OutcomeApplied:
		return "Undone."
	case undo && o == harden.OutcomeRolledBack:
		return "Not undone: it did not get through, and everything is as it was before the undo."
	}
	switch o {
	case harden.OutcomeApplied:
		return "Applied."
	case harden.OutcomeWaiting:
		return "Applied, and waiting: it is undone by itself unless it is confirmed in time."
	case harden.OutcomeRolledBack:
		return "Rolled back: everything is as it was before."
	case harden.OutcomeMixed:
		return "Mixed: the undo failed too. Run restore.sh, which undoes it by hand."
	case harden.OutcomeOwed:
		return "Files are as they were before; objects are still owed: run recover when the API answers."
	case harden.OutcomeUnsettled:
		return "Interrupted: run recover to settle it."
	case harden.OutcomeRefused:
		return "Refused: nothing was changed."
	}
	return string(o)
}

func (t *Theme) outcomeSign(o harden.Outcome) string {
	switch o {
	case harden.OutcomeApplied:
		return paint(t.Good, t.glyphs.Pass)
	case harden.OutcomeWaiting, harden.OutcomeRolledBack, harden.OutcomeRefused:
		return paint(t.Warn, "!")
	}
	return paint(t.Bad, t.glyphs.Fail)
}

func (s *resultScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 120))
	for _, p := range s.ran {
		d.raw("")
		d.item(m.theme.outcomeSign(p.Result.Outcome)+" ", 2, p.where+outcome(p.Result.Outcome, p.Undoes != ""))
		if !p.Result.Message.IsZero() {
			d.text(2, p.Result.Message.String())
		}
		for _, k := range p.Left {
			d.item("  "+paint(m.theme.Bad, "! "), 4, "Not undone: "+k.Reason.String())
		}
		describeResult(d, m.opts, p)
	}
	if s.left > 0 {
		d.raw("")
		d.text(0, plural(s.left, "plan was", "plans were")+" not begun.")
	}
	d.heading("What happened")
	for _, e := range s.events {
		m.eventLines(d, e)
	}
	return d.window(&s.scroll, h)
}

// describeResult is the transaction, its backup and the undo, label by label.
func describeResult(d *doc, o Options, a Applied) {
	r := a.Result
	if r.Transaction != "" {
		d.pair("transaction", 13, r.Transaction)
	}
	if r.Script != "" {
		d.pair("backup", 13, r.Script)
	}
	for _, t := range r.Targets {
		d.pair(string(t.Is), 13, targetLine(t))
	}
	for _, way := range a.ways(o) {
		d.pair(way.label, 13, way.command)
	}
	if o.Sandbox && r.Outcome == harden.OutcomeApplied && a.with == "" {
		d.pair("undo", 13, d.t.hint("H, then u", "history"))
	}
}

// way is a command that goes on from a result, or words where there is none.
type way struct{ label, command string }

// ways on from a result: what stays can be undone, what waits confirmed too.
func (a Applied) ways(o Options) []way {
	var out []way
	add := func(label, command string) {
		if command != "" && !slices.ContainsFunc(out, func(w way) bool { return w.command == command }) {
			out = append(out, way{label, command})
		}
	}
	again := "undo"
	if a.Undoes != "" {
		again = "redo"
	}
	if tx := shell(a.Result.Transaction); a.Result.Transaction != "" {
		switch {
		case a.Result.Outcome == harden.OutcomeWaiting:
			add("confirm", o.shell("confirm "+tx))
			add("undo", o.shell("rollback "+tx))
		case a.Result.Outcome == harden.OutcomeApplied && a.with != "":
			add(again, "goes with "+a.with)
		case a.Result.Outcome == harden.OutcomeApplied:
			add(again, o.shell("rollback "+tx))
		}
	}
	for _, hint := range a.Result.Hints {
		add("hint", hint)
	}
	return out
}

// targetLine is a target of an undo that failed, with what is known of it.
func targetLine(t harden.TargetState) string {
	if t.Why.IsZero() {
		return t.Target
	}
	return t.Target + " (" + t.Why.String() + ")"
}
