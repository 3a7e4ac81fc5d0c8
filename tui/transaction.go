package tui

import (
	"context"
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// transactionScreen is one transaction: where its backup is, what can be undone of it, what it was about, and its journal.
type transactionScreen struct {
	item   harden.TransactionSummary
	events []harden.Event
	list   list
}

// transactionRow is a line below the way back, which the cursor can stand on.
type transactionRow struct {
	text    string // painted and inert
	undo    bool   // u undoes something here
	control string // only this; empty: all of it
}

func (m *Model) openTransaction(it harden.TransactionSummary) tea.Cmd {
	return m.start(jobHistory, "reading the journal", func(ctx context.Context) func(*Model) tea.Cmd {
		events, err := m.engine.Events(ctx, it.ID)
		return func(m *Model) tea.Cmd {
			if err != nil {
				m.warn(err.Error())
			}
			m.push(&transactionScreen{item: it, events: events, list: list{cursor: 1}}) // not on the heading
			return nil
		}
	})
}

func (s *transactionScreen) title(m *Model) (string, string) {
	return "Transaction " + m.theme.inert(s.item.ID), m.theme.msg(s.item.State())
}

func (s *transactionScreen) actions(m *Model) []action {
	out := []action{act(Keys.Back, "back"), act(Keys.Down, "read on")}
	if at := s.at(m); at.undo {
		out = append([]action{act(Keys.Undo, "undo what the cursor is on (shows the diff)")}, out...)
	}
	return out
}

// undoable says that something of the transaction can still be undone from here.
func undoable(it harden.TransactionSummary) bool {
	return (it.Outcome == harden.OutcomeApplied || it.Outcome == harden.OutcomeWaiting) && len(it.UndoneBy) == 0 && !it.ByHand
}

// rows are what can be undone, then all that is known.
func (s *transactionScreen) rows(m *Model) []transactionRow {
	t, it := m.theme, s.item
	var out []transactionRow
	line := func(text string) { out = append(out, transactionRow{text: "  " + t.inert(text)}) }
	heading := func(text string) { out = append(out, transactionRow{text: paint(t.Strong, text)}) }
	if undoable(s.item) {
		heading("Undo" + t.hint(" (u)", ""))
		out = append(out, transactionRow{text: "  the whole transaction", undo: true})
	} else {
		heading(plural(len(it.Controls), "control", "controls"))
	}
	for _, c := range it.Controls {
		switch {
		case slices.Contains(it.UndoneControls, c):
			line(c + " (undone)")
		case undoable(s.item):
			out = append(out, transactionRow{text: "  only " + t.inert(c), undo: true, control: c})
		default:
			line(c)
		}
	}
	heading(plural(len(it.Targets), "target", "targets"))
	for _, target := range it.Targets {
		line(target)
	}
	heading(fmt.Sprintf("Journal (%d lines)", len(s.events)))
	for _, e := range s.events {
		lead, _, text := m.event(e)
		out = append(out, transactionRow{text: lead + t.inert(text)})
	}
	return out
}

// at is the row that the cursor is on.
func (s *transactionScreen) at(m *Model) transactionRow {
	rows := s.rows(m)
	return rows[clamp(s.list.cursor, 0, len(rows)-1)]
}

func (s *transactionScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case s.list.key(k, len(s.rows(m)), m.height/2):
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Undo):
		if at := s.at(m); at.undo || !undoable(s.item) {
			return m.undoOrSay(s.item, at.control)
		}
		m.warn("put the cursor on what is to be undone")
	}
	return nil
}

func (s *transactionScreen) view(m *Model, w, h int) []string {
	t := m.theme
	d := newDoc(t, w)
	it := s.item
	m.wayBack(d, it)
	who := it.Who
	if who == "" {
		who = "unknown"
	}
	d.pair("when", 8, m.clock(it.Started)+"  by "+who+"  ("+it.Where().String()+")")
	if it.Reason != "" {
		d.pair("why", 8, it.Reason)
	}
	out := append(d.head(max(h*2/3, 3), larger), "")
	rows := s.rows(m)
	return append(out, s.list.draw(t, len(rows), h-len(out), func(i int) string {
		text := t.cut(rows[i].text, w-2)
		if i == s.list.cursor {
			return t.glyphs.Cursor + " " + paint(t.Selected, ansi.Strip(text))
		}
		return "  " + text
	})...)
}
