package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// grace is how long a question takes no keys: they were meant for the screen before it.
const grace = 500 * time.Millisecond

// tooSoon is said of those keys.
const tooSoon = "left out: what is typed within half a second of a question may have been meant for the screen before it; pause, then type it again"

// deaf screens swallow keys for the time of grace.
type deaf interface{ since() time.Time }

func (m *Model) deaf() bool {
	s, ok := m.top().(deaf)
	if !ok || m.opts.Now().Sub(s.since()) >= grace {
		return false
	}
	if c, ok := s.(*confirmScreen); ok {
		c.quietSince = m.opts.Now() // a name that lost its first letters is no name: all of it is left out, until a pause
	}
	return true
}

// confirmScreen asks for the node's name before a plan is applied. Everything but that name cancels or asks again.
type confirmScreen struct {
	review *reviewScreen
	node   string
	input  input
	scroll scroller
	longer bool // than the screen
	x, y   int

	quietSince time.Time // when it was opened, or a key was left out
}

func (s *confirmScreen) verb() string {
	if s.review.undoes != "" {
		return "undo"
	}
	return "apply"
}

func (s *confirmScreen) title(m *Model) (string, string) {
	if s.review.undoes != "" {
		return "Undo on " + m.theme.inert(s.node) + "?", "nothing is changed yet"
	}
	return "Apply on " + m.theme.inert(s.node) + "?", "nothing is changed yet"
}

func (s *confirmScreen) actions(*Model) []action {
	out := []action{act(Keys.Cancel, "cancel"), act(Keys.Submit, s.verb()+", once the name is typed")}
	if s.longer {
		out = append(out, act(Keys.Down, "read on"))
	}
	return append(out, act(Keys.DeleteLine, "clear"))
}

func (s *confirmScreen) since() time.Time { return s.quietSince }

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
	case k.Text == "" && is(k, Keys.Up, Keys.Down, Keys.PageUp, Keys.PageDown) && !is(k, Keys.CharLeft, Keys.CharRight):
		s.scroll.key(k, m.height-9)
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
	s.consequences(m, d)
	lines := d.window(&s.scroll, max(h-5, 1))
	s.longer = len(d.lines) > len(lines)
	ask := "Type the node's name to " + s.verb() + ": " + m.theme.inert(s.node)
	text, x := s.input.render(m.theme, w-4)
	lines = append(lines, "", paint(d.t.Strong, d.t.cut(ask, w)))
	s.x, s.y = x+2, len(lines)
	return append(lines, "> "+text, "", paint(d.t.Faint, "An empty line or esc cancels."))
}
