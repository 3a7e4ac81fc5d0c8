package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// followScreen follows a transaction that is not a run of this walk, from its journal: one of another process, one that waits
// for confirm, or one that was interrupted.
type followScreen struct {
	standing Standing
	read     time.Time // when it was so
	events   []harden.Event
	trouble  string // why it could not be looked at
	over     bool   // nothing stands open any more
	known    bool   // the node was read again after that
	scroll   scroller
	follow   bool
	opened   time.Time
}

func (s *followScreen) since() time.Time { return s.opened }

// saw takes in what a look has found.
func (s *followScreen) saw(standing *Standing, events []harden.Event, err error, now time.Time) {
	s.trouble = ""
	if err != nil {
		s.trouble = err.Error()
		return
	}
	if standing == nil {
		s.over = true
	} else {
		s.standing, s.read = *standing, now
	}
	if len(events) > 0 {
		s.events = events
	}
}

// ended is how the journal says that it ended; "" where it does not say.
func (s *followScreen) ended() harden.Outcome {
	for i := len(s.events) - 1; i >= 0; i-- {
		if s.events[i].Kind == harden.EventFinished {
			return s.events[i].Outcome
		}
	}
	return ""
}

func (s *followScreen) title(m *Model) (string, string) {
	switch {
	case s.over:
		return "It is over", ""
	case s.standing.waits():
		return "Waiting for confirm", "undone in " + seconds(s.left(m))
	case s.standing.Running:
		return "Another run is under way", "this walk only looks on"
	}
	return "A transaction was interrupted", ""
}

// left is the time until the switch undoes, as of now.
func (s *followScreen) left(m *Model) time.Duration {
	if s.standing.Switch == nil {
		return 0
	}
	return s.standing.Switch.Left - m.opts.Now().Sub(s.read)
}

func (s *followScreen) actions(m *Model) []action {
	var out []action
	if !s.over && s.standing.waits() && !m.opts.ReadOnly {
		out = append(out, act(Keys.Confirm, "confirm: keep it"), act(Keys.Undo, "undo it now"))
	}
	return append(out, act(Keys.Back, "back"), act(Keys.Up, ""), act(Keys.Down, ""))
}

func (s *followScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Confirm):
		return s.confirm(m)
	case is(k, Keys.Undo) && !s.over && s.standing.waits():
		return m.openUndo(s.standing.Transaction, "")
	case s.scroll.key(k, m.height-6):
		s.follow = false
	}
	return nil
}

func (s *followScreen) confirm(m *Model) tea.Cmd {
	switch {
	case s.over || !s.standing.waits():
		m.warn("nothing here waits for confirm")
		return nil
	case m.opts.ReadOnly:
		m.warn("read only: nothing is confirmed")
		return nil
	}
	return m.confirm(s)
}

func (s *followScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 120))
	d.raw("")
	s.describe(m, d)
	if s.trouble != "" {
		d.item(paint(d.t.Bad, "! "), 2, s.trouble)
	}
	room := h - len(d.lines)
	if len(s.events) == 0 || room < 3 {
		return d.window(&s.scroll, h)
	}
	log := newDoc(m.theme, w)
	for _, e := range s.events {
		m.eventLines(log, e)
	}
	d.heading("What happened")
	room = h - len(d.lines)
	if s.follow {
		s.scroll.top = len(log.lines)
	}
	from, to := s.scroll.window(len(log.lines), room)
	s.follow = s.follow || to == len(log.lines)
	return append(d.lines, log.lines[from:to]...)
}

// describe says what stands open, what happens by itself, and what can be done.
func (s *followScreen) describe(m *Model, d *doc) {
	st := s.standing
	switch {
	case s.over:
		if o := s.ended(); o != "" {
			d.item(d.t.outcomeSign(o)+" ", 2, outcome(o, false))
		} else {
			d.text(0, "Nothing stands open any more.")
		}
	case st.waits():
		d.item(paint(d.t.Warn, "! "), 2, "Applied and proven, and undone by itself in "+seconds(s.left(m))+" unless you confirm it.")
		d.raw("")
		d.text(0, "Try now, from another terminal, that you still get in: by your usual login, and with your usual kubectl.")
		d.raw("")
		either := func(key, words, command string) string {
			if command == "" {
				return d.t.hint(key, words)
			}
			return d.t.hint(key+", or there: ", "") + command
		}
		d.pair("keep it", 9, either("C", "confirm", m.opts.shell("confirm "+shell(st.Transaction))))
		d.pair("undo it", 9, either("u", "history", m.opts.shell("rollback "+shell(st.Transaction))))
		if st.Switch.Reboot {
			d.pair("nothing", 9, "it is undone by itself, and by a reboot too")
		} else {
			d.pair("nothing", 9, "it is undone by itself; a reboot is not covered")
		}
	case st.Running:
		d.text(0, "By "+st.Holder+".")
		if st.Transaction == "" {
			d.text(0, "It has not begun a transaction yet.")
		} else if e, ok := awaited(s.events); ok {
			d.text(0, awaiting(m, e))
		}
	default:
		d.item(paint(d.t.Bad, "! "), 2, "Nobody is at it any more. Nothing else is applied before it is settled.")
		if sw := st.Switch; sw != nil && sw.Lost != "" {
			d.item(paint(d.t.Bad, "! "), 2, "Its dead man's switch undoes nothing: "+sw.Lost)
		} else if sw != nil && sw.Failed && s.left(m) <= 0 {
			d.text(0, "Its dead man's switch could not undo it wholly, and tries again after a reboot.")
		} else if sw != nil {
			d.text(0, "Its dead man's switch undoes it in "+seconds(s.left(m))+".")
		}
		for _, hint := range st.Hints {
			d.pair("run", 9, hint)
		}
	}
	if st.Transaction != "" {
		d.raw("")
		d.pair("transaction", 13, st.Transaction)
		d.pair("backup", 13, st.Script)
	}
}
