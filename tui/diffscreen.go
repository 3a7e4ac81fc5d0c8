package tui

import (
	"context"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// diffScreen shows the exact difference of one control alone, or of a plan that is reviewed.
type diffScreen struct {
	what    string
	review  *reviewScreen // the plan; nil for a control alone
	skipped []harden.Skip
	held    []harden.Skip // what holds the control back although its diff is shown
	targets []target
	rows    *diffRows
	known   map[layout]*diffRows // of this width
	top     int                  // the first row that is shown,
	sub     int                  // from this line of it on
	at      int                  // the change that keys act on
	whole   bool
	again   bool // it was laid out otherwise: the change is to be looked for
	unified bool // although there is room for two sides
}

// openControlDiff plans the control alone and shows that.
func (m *Model) openControlDiff(c harden.Control) tea.Cmd {
	if why := m.choosable(c); why != "" {
		m.warn(why)
		return nil
	}
	choice := m.choice(c)
	choice.Named = true
	facts := m.facts
	return m.start(jobPlan, "planning "+c.ID, func(ctx context.Context) func(*Model) tea.Cmd {
		plans, held, err := m.preview(ctx, facts, choice)
		ts := targets(plans)
		return m.orWarn(err, func(m *Model) tea.Cmd {
			m.push(&diffScreen{what: "Diff of " + c.ID + " alone", targets: ts, skipped: skipped(plans), held: held})
			return nil
		})
	})
}

// preview plans a control alone to be looked at, also where something unknown holds it back.
func (m *Model) preview(ctx context.Context, f *harden.Facts, c harden.Choice) (plans []harden.Plan, held []harden.Skip, err error) {
	plans, err = m.engine.Plan(ctx, f, []harden.Choice{c})
	for _, s := range skipped(plans) {
		if s.Control == c.Control && s.Way == harden.ByAccept {
			held = append(held, s)
		}
	}
	if err != nil || len(held) == 0 {
		return plans, nil, err
	}
	c.Accept = true
	plans, err = m.engine.Plan(ctx, f, []harden.Choice{c})
	return plans, held, err
}

// left is why a choice is left out, and what is to be done about it here.
func (t *Theme) left(s harden.Skip) string {
	said := s.Control + ": " + s.Reason.String()
	switch s.Way {
	case harden.ByAccept:
		return said + "; " + t.hint("a on this control accepts that on your word", "accept unknown, on this control, takes that on your word")
	case harden.ByControl:
		return said + "; " + t.hint("space on this control takes it all the same", "on this control, choose takes it all the same")
	case harden.ByRemedy:
		return said + "; " + t.hint("o on this control takes it by name", "on this control, options takes it by name")
	}
	for _, h := range s.Hints {
		said += "; what to do: " + h
	}
	return said
}

// heldBack says that what is shown is not applied as it is.
func (t *Theme) heldBack(s harden.Skip) string {
	return "Not applied before it is accepted: " + t.left(s)
}

const noChange = "No change: everything is as this would make it."

func skipped(plans []harden.Plan) []harden.Skip {
	var out []harden.Skip
	for _, p := range plans {
		out = append(out, p.Skipped...)
	}
	return out
}

func (s *diffScreen) title(m *Model) (string, string) {
	right := ""
	if s.rows != nil && len(s.rows.starts) > 0 {
		right = fmt.Sprintf("change %d of %d", s.at+1, len(s.rows.starts))
	}
	left := m.theme.inert(s.what)
	if s.rows != nil && s.top > 0 && s.top < len(s.rows.rows) {
		left += ": " + m.theme.inert(s.targets[s.rows.rows[s.top].target].name)
	}
	return left, right
}

func (s *diffScreen) actions(m *Model) []action {
	var out []action
	if s.review != nil {
		out = s.review.applyAction(m)
	}
	if len(s.targets) > 0 {
		out = append(out, act(Keys.NextHunk, "next"), act(Keys.PrevHunk, "previous"), act(Keys.Expand, "whole file"))
		if m.width >= diffWidth {
			out = append(out, act(Keys.Split, "side by side"))
		}
		out = append(out, act(Keys.Write, "write"), act(Keys.Yank, "copy"))
	}
	return append(out, act(Keys.Back, "back"))
}

func (s *diffScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	if step, ok := scroll(k, m.height-5); ok {
		s.move(step)
		return nil
	}
	switch {
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Apply) && s.review != nil:
		return s.review.apply(m)
	case len(s.targets) == 0:
	case is(k, Keys.NextHunk):
		s.jump(1)
	case is(k, Keys.PrevHunk):
		s.jump(-1)
	case is(k, Keys.Expand):
		s.whole = !s.whole
		s.again = true
	case is(k, Keys.Split) && m.width < diffWidth:
		m.warn(fmt.Sprintf("side by side needs %d columns, and this terminal has %d", diffWidth, m.width))
	case is(k, Keys.Split):
		s.unified = !s.unified
	case is(k, Keys.Write):
		return s.openWrite(m)
	case is(k, Keys.Yank):
		return s.yank(m)
	default:
		m.nothingHere(k)
	}
	return nil
}

// jump goes to the next change, or the one before.
func (s *diffScreen) jump(by int) {
	if s.rows == nil || len(s.rows.starts) == 0 {
		return
	}
	s.at = clamp(s.at+by, 0, len(s.rows.starts)-1)
	s.top, s.sub = max(s.rows.starts[s.at]-2, 0), 0
}

// move scrolls by lines of the screen.
func (s *diffScreen) move(by int) {
	if s.rows == nil {
		return
	}
	rows := s.rows.rows
	switch by {
	case far:
		s.top, s.sub = len(rows)-1, far
		return
	case -far:
		s.top, s.sub = 0, 0
		return
	}
	for ; by > 0; by-- {
		if s.sub++; s.sub >= s.rows.height(rows[s.top]) {
			if s.top == len(rows)-1 {
				return
			}
			s.top, s.sub = s.top+1, 0
		}
	}
	for ; by < 0 && s.top+s.sub > 0; by++ {
		if s.sub--; s.sub < 0 {
			s.top--
			s.sub = s.rows.height(rows[s.top]) - 1
		}
	}
}

// settle keeps the last screen full.
func (s *diffScreen) settle(h int) {
	top, sub := len(s.rows.rows), 0
	for h > 0 && top > 0 {
		top--
		n := s.rows.height(s.rows.rows[top])
		sub = max(n-h, 0)
		h -= n
	}
	if s.top > top || s.top == top && s.sub > sub {
		s.top, s.sub = top, sub
	}
}

// lay lays the rows out anew when the width or the mode has changed.
func (s *diffScreen) lay(m *Model, w int) {
	want := layout{width: w, whole: s.whole, split: w >= diffWidth && !s.unified}
	if s.rows != nil && s.rows.lay == want {
		return
	}
	if s.known[want] == nil {
		if s.known == nil || s.rows != nil && s.rows.lay.width != w {
			s.known = map[layout]*diffRows{}
		}
		s.known[want] = layOut(m.theme, s.targets, s.lead(m.theme), want)
	}
	s.rows = s.known[want]
	s.top = clamp(s.top, 0, len(s.rows.rows)-1)
	s.at = clamp(s.at, 0, len(s.rows.starts)-1)
	if s.again {
		s.again, s.top, s.sub = false, 0, 0
		if s.at > 0 {
			s.jump(0)
		}
	}
}

// lead is what is said before the diff.
func (s *diffScreen) lead(t *Theme) []string {
	var out []string
	for _, k := range s.held {
		out = append(out, t.heldBack(k))
	}
	return out
}

func (s *diffScreen) view(m *Model, w, h int) []string {
	h = max(h, 1)
	if s.review != nil {
		s.review.seen = true
	}
	if len(s.targets) == 0 {
		d := newDoc(m.theme, w)
		d.raw("")
		if len(s.skipped) == 0 {
			d.text(0, noChange)
		}
		for i, k := range s.skipped {
			if i > 0 {
				d.raw("")
			}
			d.text(0, "Left out: "+m.theme.left(k))
		}
		return d.head(h, larger)
	}
	s.lay(m, w)
	s.settle(h)
	var out []string
	next := s.top
	for ; next < len(s.rows.rows) && len(out) < h; next++ {
		lines := s.rows.draw(s.rows.rows[next], s.at+1)
		if next == s.top {
			lines = lines[min(s.sub, len(lines)):]
		}
		out = append(out, lines...)
	}
	if next < len(s.rows.rows) || len(out) > h {
		out = append(out[:h-1], paint(m.theme.Faint, fmt.Sprintf("(%d more lines: down)", len(s.rows.rows)-next+1)))
	}
	return out
}

func (s *diffScreen) openWrite(m *Model) tea.Cmd {
	text := unified(s.targets)
	m.push(&promptScreen{
		what:  "Write the diff to a file",
		about: "It is a unified diff; git apply and patch -p1 take it in the root of the node.",
		input: newInput(m.opts.DiffFile),
		said:  "diff written to ",
		save:  func(_ context.Context, path string) error { return m.engine.SaveDiff(path, text) },
	})
	return nil
}

// yank copies the new lines of the change, without signs.
func (s *diffScreen) yank(m *Model) tea.Cmd {
	if s.rows == nil || len(s.rows.changes) == 0 {
		m.warn("there are no lines to copy")
		return nil
	}
	var b strings.Builder
	n := 0
	for _, l := range s.rows.changes[s.at] {
		if l.Op != patches.Remove {
			b.WriteString(Inert(l.Text, false) + "\n")
			n++
		}
	}
	m.say(fmt.Sprintf("copied %d lines of change %d as they will be (if the terminal allows it)", n, s.at+1))
	return tea.SetClipboard(b.String())
}
