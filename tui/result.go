package tui

import (
	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// resultScreen says what became of a run.
type resultScreen struct {
	run     *run
	results []harden.Result
	events  []harden.Event
	scroll  scroller
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

// outcome in a sentence.
func outcome(o harden.Outcome) string {
	switch o {
	case harden.OutcomeApplied:
		return "Applied."
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
	case harden.OutcomeRolledBack, harden.OutcomeRefused:
		return paint(t.Warn, "!")
	}
	return paint(t.Bad, t.glyphs.Fail)
}

func (s *resultScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 120))
	for i, r := range s.results {
		d.raw("")
		d.item(m.theme.outcomeSign(r.Outcome)+" ", 2, outcome(r.Outcome))
		if !r.Message.IsZero() {
			d.text(2, r.Message.String())
		}
		describeResult(d, m.opts.Command, s.run.plans[i].Undoes, r)
	}
	if left := len(s.run.plans) - len(s.results); left > 0 {
		d.raw("")
		d.text(0, plural(left, "plan was", "plans were")+" not begun.")
	}
	d.heading("What happened")
	for _, e := range s.events {
		m.eventLines(d, e)
	}
	return d.window(&s.scroll, h)
}

// describeResult is the transaction, its backup and the undo, label by label.
func describeResult(d *doc, base, undoes string, r harden.Result) {
	if r.Transaction != "" {
		d.pair("transaction", 13, r.Transaction)
	}
	if r.Script != "" {
		d.pair("backup", 13, r.Script)
	}
	for _, t := range r.Targets {
		d.pair(string(t.Is), 13, targetLine(t))
	}
	back := rollback(base, r)
	if back != "" {
		label := "undo"
		if undoes != "" {
			label = "redo"
		}
		d.pair(label, 13, back)
	}
	for _, hint := range r.Hints {
		if hint != back {
			d.pair("hint", 13, hint)
		}
	}
}

// targetLine is a target of an undo that failed, with what is known of it.
func targetLine(t harden.TargetState) string {
	if t.Why.IsZero() {
		return t.Target
	}
	return t.Target + " (" + t.Why.String() + ")"
}

// rollback is the command that undoes a result.
func rollback(base string, r harden.Result) string {
	if r.Transaction == "" || r.Outcome != harden.OutcomeApplied {
		return ""
	}
	return base + " rollback " + shell(r.Transaction)
}
