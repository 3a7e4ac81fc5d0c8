package tui

import (
	"fmt"
	"path"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// grace is how long a question swallows keys that were meant for the screen before it.
const grace = 500 * time.Millisecond

// deaf screens swallow keys for the time of grace.
type deaf interface{ since() time.Time }

func (m *Model) deaf() bool {
	s, ok := m.top().(deaf)
	return ok && m.opts.Now().Sub(s.since()) < grace
}

// confirmScreen asks for the node's name before a plan is applied. Everything but that name cancels or asks again.
type confirmScreen struct {
	review *reviewScreen
	node   string
	opened time.Time
	input  input
	x, y   int
}

func (s *confirmScreen) title(m *Model) (string, string) {
	if s.review.undoes != "" {
		return "Undo on " + m.theme.inert(s.node) + "?", "nothing is changed yet"
	}
	return "Apply on " + m.theme.inert(s.node) + "?", "nothing is changed yet"
}

func (s *confirmScreen) actions(*Model) []action {
	return []action{act(Keys.Cancel, "cancel"), act(Keys.Submit, "apply, once the name is typed"), act(Keys.DeleteLine, "clear")}
}

func (s *confirmScreen) since() time.Time { return s.opened }

func (s *confirmScreen) line() *input { return &s.input }

func (s *confirmScreen) caret() (int, int) { return s.x, s.y }

func (s *confirmScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Cancel):
		m.pop()
		m.say("cancelled: nothing was changed")
	case is(k, Keys.Submit):
		typed := strings.TrimSpace(s.input.value())
		if typed == "" {
			m.pop()
			m.say("cancelled: nothing was changed")
			return nil
		}
		if typed != s.node {
			m.warn(fmt.Sprintf("%q is not the name of this node; nothing was changed", typed))
			return nil
		}
		return m.begin(s.review, confirmation(typed, s.review))
	default:
		s.input.key(k)
	}
	return nil
}

// confirmation of what was shown.
func confirmation(typed string, r *reviewScreen) Confirmation {
	c := Confirmation{Node: typed, Shown: map[string]string{}}
	for _, p := range r.plans {
		for _, check := range p.Preflight {
			if check.State == harden.PreconditionUnknown {
				c.Unknown = append(c.Unknown, check.ID)
			}
		}
	}
	for _, t := range r.targets {
		c.Shown[t.step.ID] = t.step.After.Digest()
	}
	return c
}

func (s *confirmScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 100))
	d.raw("")
	d.raw(paint(d.t.Strong, plural(len(s.review.targets), "target", "targets")+" will be written:"))
	for i, t := range s.review.targets {
		if i == 5 && len(s.review.targets) > 6 {
			d.text(2, fmt.Sprintf("and %d more", len(s.review.targets)-i))
			break
		}
		d.text(2, t.name)
	}
	for _, p := range s.review.plans {
		for _, stage := range p.Stages {
			for _, e := range stage.Effects {
				d.item("  "+paint(d.t.Warn, "! "), 4, m.effect(e, nil))
			}
		}
		if p.Switch != nil {
			d.item("  "+paint(d.t.Bad, "! "), 4, "it can lock you out: it is undone by itself unless you confirm it within "+harden.Spell(p.Switch.Within))
		}
		for _, c := range p.Preflight {
			if c.State == harden.PreconditionUnknown {
				d.item("  "+d.t.precondition(c.State)+"  ", 13, c.Title.String()+"  ("+c.ID+")")
			}
		}
	}
	if m.opts.DryRun {
		d.raw("")
		d.text(0, "Dry run: it is rehearsed, and nothing is written.")
	}
	for _, p := range s.review.scripts {
		d.raw("")
		d.text(0, "Backup, written first: "+path.Dir(p))
	}
	lines := d.head(max(h-5, 1))
	verb := "apply"
	if s.review.undoes != "" {
		verb = "undo"
	}
	ask := "Type the node's name to " + verb + ": " + m.theme.inert(s.node)
	text, x := s.input.render(m.theme, w-4)
	lines = append(lines, "", paint(d.t.Strong, d.t.cut(ask, w)))
	s.x, s.y = x+2, len(lines)
	return append(lines, "> "+text, "", paint(d.t.Faint, "An empty line or esc cancels."))
}
