package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// progressScreen follows a run.
type progressScreen struct {
	run      *run
	events   []harden.Event
	scroll   scroller
	follow   bool
	stopping bool
}

func (s *progressScreen) log() []harden.Event {
	if s == nil {
		return nil
	}
	return s.events
}

func (s *progressScreen) title(m *Model) (string, string) {
	what := "Applying"
	if s.run.undoes != "" {
		what = "Undoing " + m.theme.inert(s.run.undoes)
	}
	if s.stopping {
		what = "Stopping: it is undone at the next safe point"
	}
	return what, seconds(m.opts.Now().Sub(s.run.started))
}

func (s *progressScreen) actions(*Model) []action {
	return []action{act(Keys.Up, "older"), act(Keys.Down, "newer")}
}

func (s *progressScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case s.scroll.key(k, m.height-6):
		s.follow = false
	case is(k, Keys.Back):
		return m.stop()
	}
	return nil
}

func (s *progressScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, w)
	for _, e := range s.events {
		m.eventLines(d, e)
	}
	state := newDoc(m.theme, w)
	state.raw("")
	state.styled(0, m.theme.Strong, s.now(m))
	if script := s.script(); script != "" {
		state.pair("Backup", 8, script)
	} else {
		state.pair("Backup", 8, "nothing was changed yet")
	}
	room := h - len(state.lines)
	if s.follow {
		s.scroll.top = len(d.lines)
	}
	from, to := s.scroll.window(len(d.lines), room)
	if to == len(d.lines) {
		s.follow = true
	}
	out := append([]string{}, d.lines[from:to]...)
	for len(out) < room {
		out = append(out, "")
	}
	return append(out, state.lines...)
}

// script is the restore.sh of the transaction that was begun last; "" before there is one.
func (s *progressScreen) script() string {
	for _, e := range slices.Backward(s.events) {
		if e.Kind == harden.EventBegun {
			return e.Target
		}
	}
	return ""
}

// now says what is awaited, since when, and how long that may take.
func (s *progressScreen) now(m *Model) string {
	if e, ok := awaited(s.events); ok {
		return awaiting(m, e)
	}
	return "Working, for " + seconds(m.opts.Now().Sub(s.run.started))
}

// awaiting says since when something is awaited, and for how long at most.
func awaiting(m *Model, e harden.Event) string {
	said := "Waiting " + seconds(m.opts.Now().Sub(e.Time))
	if e.Timeout > 0 {
		said += " of at most " + seconds(e.Timeout)
	}
	return said + " for: " + e.Message.String()
}

// awaited is the last thing that is waited for, unless it has come.
func awaited(events []harden.Event) (harden.Event, bool) {
	for i := len(events) - 1; i >= 0; i-- {
		switch e := events[i]; e.Kind {
		case harden.EventAwaiting, harden.EventSoaking:
			return e, true
		case harden.EventPassed, harden.EventFailed, harden.EventUndoing, harden.EventFinished, harden.EventReverted, harden.EventWritten:
			return harden.Event{}, false
		}
	}
	return harden.Event{}, false
}

// event is a painted lead of some cells, with time, sign and word, and what it is about.
func (m *Model) event(e harden.Event) (lead string, n int, text string) {
	t := m.theme
	style, glyph := t.Faint, " "
	switch e.Kind {
	case harden.EventPassed, harden.EventWritten, harden.EventReverted:
		style, glyph = t.Good, t.glyphs.Pass
	case harden.EventFailed, harden.EventOwed:
		style, glyph = t.Bad, t.glyphs.Fail
	case harden.EventUndoing, harden.EventArmed, harden.EventWaiting:
		style, glyph = t.Warn, "!"
	case harden.EventAwaiting, harden.EventSoaking:
		glyph = "."
	}
	at := e.Time.In(m.opts.Now().Location()).Format(time.TimeOnly)
	lead = paint(t.Faint, at) + "  " + paint(style, glyph+" "+pad(string(e.Kind), 8)) + "  "
	text = e.Message.String()
	if !strings.Contains(text, e.Target) {
		text = e.Target + ": " + text
	}
	if e.Kind == harden.EventFinished && e.Outcome != "" {
		text += " (" + string(e.Outcome) + ")"
	}
	if (e.Kind == harden.EventAwaiting || e.Kind == harden.EventSoaking) && e.Timeout > 0 {
		text += fmt.Sprintf("  (at most %s)", seconds(e.Timeout))
	}
	return lead, 8 + 2 + 10 + 2, text
}

func (m *Model) eventLines(d *doc, e harden.Event) {
	lead, n, text := m.event(e)
	d.item(lead, n, text)
}

// stopScreen asks whether a change that is being made is to be stopped. To go on is the default.
type stopScreen struct{ opened time.Time }

func (s *stopScreen) since() time.Time { return s.opened }

func (s *stopScreen) title(*Model) (string, string) { return "A change is being made", "" }

func (s *stopScreen) actions(m *Model) []action {
	if p := m.following(); p != nil && p.stopping {
		return []action{act(Keys.Cancel, "back to it (default)"), act(Keys.StopApply, "leave this screen")}
	}
	return []action{act(Keys.Cancel, "go on (default)"), act(Keys.StopApply, "stop and undo")}
}

func (s *stopScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.StopApply):
		return s.decide(m)
	case is(k, Keys.Back, Keys.Submit):
		m.pop()
	default:
		m.warn(s.answers(m))
	}
	return nil
}

// decide stops the run; where that was decided before, it leaves the screen, and the rest is reported in lines. A second ctrl+c
// is never too soon: it can be meant for nothing else.
func (s *stopScreen) decide(m *Model) tea.Cmd {
	p := m.following()
	if p == nil || p.stopping {
		m.interrupted = true
		return tea.Quit
	}
	p.stopping, p.follow = true, true
	m.run.stop()
	m.pop()
	m.warn("stopping: what was done is undone at the next safe point")
	return nil
}

// following is the screen that follows the run.
func (m *Model) following() *progressScreen {
	for _, s := range m.stack {
		if p, ok := s.(*progressScreen); ok {
			return p
		}
	}
	return nil
}

// answers are what can be answered.
func (s *stopScreen) answers(m *Model) string {
	if p := m.following(); p != nil && p.stopping {
		return "S or ctrl+c leaves this screen, esc goes back to it"
	}
	return "S or ctrl+c stops and undoes, esc goes on"
}

func (s *stopScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 100))
	p := m.following()
	d.raw("")
	if p != nil && p.stopping {
		d.text(0, "It is being undone already. S, or ctrl+c again, leaves this screen; the undo goes on and is reported in lines.")
	} else {
		d.text(0, "esc goes on: the change is finished and proven.")
		d.text(0, "S, or ctrl+c again, stops: what was written is undone at the next safe point, and that is proven too.")
	}
	if p == nil {
		return d.head(h, larger)
	}
	if p.script() != "" {
		d.raw("")
		d.text(0, "By hand, should this end in any other way: "+p.script())
	}
	d.raw("")
	d.text(0, p.now(m))
	var written []string
	reverted := map[string]bool{}
	for _, e := range p.events {
		switch e.Kind {
		case harden.EventWritten:
			written = append(written, e.Target)
			delete(reverted, e.Target)
		case harden.EventReverted:
			reverted[e.Target] = true
		}
	}
	if len(written) == 0 {
		d.text(2, "No target was written yet.")
	}
	for _, target := range slices.Backward(written) {
		if reverted[target] {
			d.text(2, "taken back: "+target)
		} else {
			d.text(2, "written: "+target)
		}
	}
	return d.head(h, larger)
}
