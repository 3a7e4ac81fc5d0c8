package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// historyScreen lists the transactions, newest first.
type historyScreen struct {
	items []harden.TransactionSummary
	list  list
}

// transactionScreen is one transaction: what can be undone of it, and its journal.
type transactionScreen struct {
	item   harden.TransactionSummary
	events []harden.Event
	list   list
}

func (m *Model) openHistory() tea.Cmd {
	return m.start(jobHistory, "reading the history", func(ctx context.Context) func(*Model) tea.Cmd {
		items, err := m.engine.History(ctx)
		return m.orWarn(err, func(m *Model) tea.Cmd {
			if _, ok := m.top().(*historyScreen); ok {
				m.pop()
			}
			m.push(&historyScreen{items: items})
			return nil
		})
	})
}

func (s *historyScreen) title(*Model) (string, string) {
	return "History", plural(len(s.items), "transaction", "transactions")
}

func (s *historyScreen) actions(*Model) []action {
	if len(s.items) == 0 {
		return []action{act(Keys.Back, "back")}
	}
	return []action{act(Keys.Open, "look"), act(Keys.Undo, "undo (shows the diff)"), act(Keys.Back, "back")}
}

func (s *historyScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case s.list.key(k, len(s.items), m.height-5):
	case is(k, Keys.Open) && len(s.items) > 0:
		return m.openTransaction(s.items[s.list.cursor])
	case is(k, Keys.Undo) && len(s.items) > 0:
		return m.openUndo(s.items[s.list.cursor].ID, "")
	case is(k, Keys.Back):
		m.pop()
	}
	return nil
}

// undoWay says how a transaction is undone.
func (m *Model) undoWay(id string) string {
	command := m.opts.shell("rollback " + shell(id))
	switch key := m.theme.hint("u", ""); {
	case command == "":
		return key
	case key != "":
		return key + ", or " + command
	}
	return command
}

func (s *historyScreen) view(m *Model, w, h int) []string {
	if len(s.items) == 0 {
		return []string{"", "Nothing was applied on this node yet.", "", "Each applied plan shows up here, with its backup and its undo."}
	}
	t := m.theme
	id := len("transaction")
	for _, it := range s.items {
		id = min(max(id, cells(t.inert(it.ID))), w/2)
	}
	below := newDoc(t, w)
	below.raw("")
	it := s.items[clamp(s.list.cursor, 0, len(s.items)-1)]
	below.text(0, what(it))
	below.pair("backup", 8, it.Script)
	below.pair("undo", 8, m.undoWay(it.ID))
	bottom := below.head(h/2, larger)
	out := []string{paint(t.Faint, "   "+t.fit("transaction", id)+"  "+t.fit("when", 16)+"  "+t.fit("outcome", 13)+"  what")}
	from, to := s.list.window(len(s.items), h-1-len(bottom))
	for i := from; i < to; i++ {
		it := s.items[i]
		cursor := "  "
		name := t.fit(t.inert(it.ID), id)
		if i == s.list.cursor {
			cursor, name = t.glyphs.Cursor+" ", paint(t.Selected, name)
		}
		state := string(it.Outcome)
		if len(it.UndoneBy) > 0 {
			state = "undone"
		}
		if it.Damage != "" {
			state = "damaged"
		}
		out = append(out, cursor+" "+name+"  "+t.fit(m.clock(it.Started), 16)+"  "+t.fit(t.inert(state), 13)+"  "+t.cut(t.inert(what(it)), w-3-id-2-16-2-13-2))
	}
	for len(out) < h-len(bottom) {
		out = append(out, "")
	}
	return append(out, bottom...)
}

// clock is a moment in the operator's time zone.
func (m *Model) clock(at time.Time) string {
	if at.IsZero() {
		return "unknown"
	}
	return at.In(m.opts.Now().Location()).Format("2006-01-02 15:04")
}

// what a transaction was about, in few words.
func what(it harden.TransactionSummary) string {
	if it.Undoes != "" {
		return "undid " + it.Undoes
	}
	return strings.Join(it.Controls, ", ")
}

func (m *Model) openTransaction(it harden.TransactionSummary) tea.Cmd {
	return m.start(jobHistory, "reading the journal", func(ctx context.Context) func(*Model) tea.Cmd {
		events, err := m.engine.Events(ctx, it.ID)
		return func(m *Model) tea.Cmd {
			if err != nil {
				m.warn(err.Error())
			}
			m.push(&transactionScreen{item: it, events: events})
			return nil
		}
	})
}

// openUndo plans the undo and shows it as a plan.
func (m *Model) openUndo(id, control string) tea.Cmd {
	return m.start(jobPlan, "planning the undo", func(ctx context.Context) func(*Model) tea.Cmd {
		plans, err := m.engine.Undo(ctx, id, control)
		return m.orWarn(err, func(m *Model) tea.Cmd {
			name := id
			if control != "" {
				name = control + " in " + id
			}
			m.push(m.newReview(name, plans))
			return nil
		})
	})
}

func (s *transactionScreen) title(m *Model) (string, string) {
	return "Transaction " + m.theme.inert(s.item.ID), string(s.item.Outcome)
}

func (s *transactionScreen) actions(*Model) []action {
	return []action{act(Keys.Undo, "undo what the cursor is on (shows the diff)"), act(Keys.Back, "back")}
}

// rows are what can be undone: everything, or one control.
func (s *transactionScreen) rows() int { return 1 + len(s.item.Controls) }

func (s *transactionScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case s.list.key(k, s.rows()+len(s.events), m.height/2):
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Undo, Keys.Submit):
		switch at := s.list.cursor; {
		case at == 0:
			return m.openUndo(s.item.ID, "")
		case at < s.rows():
			return m.openUndo(s.item.ID, s.item.Controls[at-1])
		}
		m.warn("put the cursor on what is to be undone")
	}
	return nil
}

func (s *transactionScreen) view(m *Model, w, h int) []string {
	t := m.theme
	d := newDoc(t, w)
	it := s.item
	if it.Damage != "" {
		d.item(paint(t.Bad, "! "), 2, "The journal cannot be read: "+it.Damage)
	}
	who := m.clock(it.Started) + "  by " + it.Who + "  (" + string(it.Scope) + ")"
	d.pair("when", 8, who)
	if it.Reason != "" {
		d.pair("why", 8, it.Reason)
	}
	d.pair("targets", 8, strings.Join(it.Targets, ", "))
	d.pair("backup", 8, it.Script)
	d.pair("undo", 8, m.undoWay(it.ID))
	if it.Undoes != "" {
		d.pair("undid", 8, it.Undoes)
	}
	if len(it.UndoneBy) > 0 {
		d.pair("undone by", 8, strings.Join(it.UndoneBy, ", "))
	}
	head := d.head(max(h/2, 3), larger)
	rows := newDoc(t, w)
	row := func(i int, text string) {
		text = t.cut(t.inert(text), w-6)
		cursor := "  "
		if i == s.list.cursor {
			cursor, text = t.glyphs.Cursor+" ", paint(t.Selected, text)
		}
		rows.raw("  " + cursor + text)
	}
	row(0, "the whole transaction")
	for i, c := range it.Controls {
		row(i+1, "only "+c)
	}
	for i, e := range s.events {
		cursor := "  "
		if s.rows()+i == s.list.cursor {
			cursor = t.glyphs.Cursor + " "
		}
		lead, n, text := m.event(e)
		rows.raw(cursor + lead + t.cut(t.inert(text), w-2-n))
	}
	out := append(head, "", paint(t.Strong, fmt.Sprintf("Undo (u), and the journal (%d lines)", len(s.events))))
	from, to := s.list.window(len(rows.lines), h-len(out))
	return append(out, rows.lines[from:to]...)
}
