package tui

import (
	"context"
	"slices"
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

func (m *Model) openHistory() tea.Cmd {
	return m.start(jobHistory, "reading the history", func(ctx context.Context) func(*Model) tea.Cmd {
		items, err := m.engine.History(ctx)
		return m.orWarn(err, func(m *Model) tea.Cmd {
			if _, ok := m.top().(*historyScreen); ok {
				m.pop()
			}
			s := &historyScreen{items: items}
			s.list.cursor = m.lastDone(items)
			m.push(s)
			return nil
		})
	})
}

// lastDone is where the newest run of this walk is in the history, at the part that takes the others of it along when it is
// undone: what kubeadm keeps goes with what it keeps, and not the other way round.
func (m *Model) lastDone(items []harden.TransactionSummary) int {
	if len(m.summary.Applied) == 0 {
		return 0
	}
	run := m.summary.Applied[len(m.summary.Applied)-1].Run
	return max(slices.IndexFunc(items, func(it harden.TransactionSummary) bool {
		return undoable(it) && !it.Keeps && slices.ContainsFunc(m.summary.Applied, func(a Applied) bool {
			return a.Run == run && a.Result.Transaction == it.ID
		})
	}), 0)
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
		return m.undoOrSay(s.items[s.list.cursor], "")
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
	m.wayBack(below, it)
	below.text(0, what(it))
	bottom := below.head(h/2, Keys.Open.Help().Key)
	out := []string{paint(t.Faint, "   "+t.fit("transaction", id)+"  "+t.fit("when", 16)+"  "+t.fit("state", 14)+"  what")}
	from, to := s.list.window(len(s.items), h-1-len(bottom))
	for i := from; i < to; i++ {
		it := s.items[i]
		cursor := "  "
		name := t.fit(t.inert(it.ID), id)
		if i == s.list.cursor {
			cursor, name = t.glyphs.Cursor+" ", paint(t.Selected, name)
		}
		state := it.State().String()
		out = append(out, cursor+" "+name+"  "+t.fit(m.clock(it.Started), 16)+"  "+t.fit(t.inert(state), 14)+"  "+t.cut(t.inert(what(it)), w-3-id-2-16-2-14-2))
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

// what a transaction was about, in few words: where it acted comes first.
func what(it harden.TransactionSummary) string {
	return it.Where().String() + ": " + strings.Join(it.Controls, ", ")
}

// wayBack is how a transaction is undone, and where its backup is.
func (m *Model) wayBack(d *doc, it harden.TransactionSummary) {
	if it.Damage != "" {
		d.item(paint(d.t.Bad, "! "), 2, "Damaged: "+it.Damage)
	}
	d.pair("backup", 8, it.Script)
	label := "undo"
	if it.Undoes != "" {
		label = "redo"
		d.pair("undid", 8, it.Undoes)
	}
	switch {
	case it.Outcome != harden.OutcomeApplied && it.Outcome != harden.OutcomeWaiting:
	case len(it.UndoneBy) > 0:
		d.pair(label, 8, "done, by "+strings.Join(it.UndoneBy, ", "))
	case it.ByHand:
		d.pair(label, 8, "by hand only, by what is named as its backup; where a saved original is damaged, it says which")
	default:
		d.pair(label, 8, m.undoWay(it.ID))
	}
}

// undoOrSay opens the undo of a transaction, or says why there is none.
func (m *Model) undoOrSay(it harden.TransactionSummary, control string) tea.Cmd {
	switch {
	case len(it.UndoneBy) > 0:
		m.warn("it is undone already")
	case it.ByHand:
		m.warn("it can be undone by hand only: " + it.Script)
	case !undoable(it):
		m.warn("nothing is to be undone: it is " + it.State().String())
	default:
		return m.openUndo(it.ID, control)
	}
	return nil
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
