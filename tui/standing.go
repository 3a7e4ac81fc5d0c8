package tui

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Standing is what stands open on a node besides this walk.
type Standing struct {
	// Running says that another process holds the lock; Holder says who, and Transaction is empty before it has begun one.
	Running bool
	Holder  string
	// Transaction that runs, waits for confirm, or was interrupted; Script is its restore.sh.
	Transaction, Script string
	// Switch of the transaction, if one is armed.
	Switch *harden.ArmedSwitch
	// Hints are commands that settle it, where it was interrupted.
	Hints []string
}

// waits says that everything has passed and only confirm is awaited.
func (s *Standing) waits() bool {
	return s != nil && !s.Running && s.Switch != nil && s.Switch.Waiting && s.Switch.Lost == ""
}

// readStanding looks at what stands open. Its screen opens by itself only over the first one: nobody is to be interrupted.
func (m *Model) readStanding(open bool) tea.Cmd {
	return m.start(jobStanding, "looking for other runs", func(ctx context.Context) func(*Model) tea.Cmd {
		standing, err := m.engine.Standing(ctx)
		history, _ := m.engine.History(ctx) // where it cannot be read, its screen says so
		return m.orWarn(err, func(m *Model) tea.Cmd {
			m.standing, m.stoodAt, m.damaged = standing, m.opts.Now(), damaged(history)
			if standing == nil || !open || len(m.stack) > 1 {
				return nil
			}
			return m.openStanding()
		})
	})
}

func (m *Model) openStanding() tea.Cmd {
	s := &followScreen{standing: *m.standing, read: m.stoodAt, follow: true, opened: m.opts.Now()}
	m.push(s)
	return m.look(s)
}

// openWaiting goes on from a run of this walk that is left to the operator.
func (m *Model) openWaiting(res harden.Result, events []harden.Event) tea.Cmd {
	armed := &harden.ArmedSwitch{Transaction: res.Transaction, Waiting: true}
	for _, e := range events {
		if e.Kind == harden.EventWaiting {
			armed.Left = e.Timeout - m.opts.Now().Sub(e.Time)
		}
	}
	m.standing, m.stoodAt = &Standing{Transaction: res.Transaction, Script: res.Script, Switch: armed}, m.opts.Now()
	s := &followScreen{standing: *m.standing, read: m.stoodAt, follow: true, opened: m.opts.Now(), events: events}
	m.push(s)
	return m.look(s)
}

// lookAgain is for each second.
func (m *Model) lookAgain() tea.Cmd {
	if _, busy := m.jobs[jobStanding]; busy {
		return nil
	}
	if s := m.followed(); s != nil && !s.over {
		return m.look(s)
	}
	if m.standing.waits() {
		return m.readStanding(false)
	}
	return nil
}

// damaged are the settled transactions that cannot be read as they were written.
func damaged(history []harden.TransactionSummary) []string {
	var out []string
	for _, t := range history {
		if t.Damage != "" && t.Outcome != harden.OutcomeUnsettled && t.Outcome != harden.OutcomeMixed {
			out = append(out, t.ID)
		}
	}
	return out
}

// damageNote says on the first screen what is damaged; "" for nothing.
func (m *Model) damageNote() string {
	if len(m.damaged) == 0 || len(m.stack) > 1 {
		return ""
	}
	return "damaged: transaction " + strings.Join(m.damaged, ", ") + m.theme.hint(": H says what can be done", "")
}

// standingNote says in a line what stands open; "" for nothing.
func (m *Model) standingNote() string {
	st := m.standing
	switch {
	case st == nil || m.followed() != nil || m.run.live():
		return ""
	case st.waits():
		left := st.Switch.Left - m.opts.Now().Sub(m.stoodAt)
		return "transaction " + st.Transaction + " is undone in " + seconds(left) + " unless it is confirmed" + m.theme.hint(": C shows it", "")
	case st.Running:
		return "another run is under way, by " + st.Holder + m.theme.hint(": C follows it", "")
	}
	return "transaction " + st.Transaction + " was interrupted, and is to be settled first" + m.theme.hint(": C shows how", "")
}

// look reads the journal of the transaction that is followed, and whether it still stands.
func (m *Model) look(s *followScreen) tea.Cmd {
	was := s.standing
	return m.start(jobStanding, "", func(ctx context.Context) func(*Model) tea.Cmd {
		standing, err := m.engine.Standing(ctx)
		id := was.Transaction
		if standing != nil && standing.Transaction != "" {
			id = standing.Transaction
		}
		var events []harden.Event
		if err == nil && id != "" {
			events, err = m.engine.Events(ctx, id)
		}
		return func(m *Model) tea.Cmd {
			m.standing, m.stoodAt = standing, m.opts.Now()
			s.saw(standing, events, err, m.opts.Now())
			if s.over && !s.known {
				s.known = true
				m.overtaken(s)
				return m.readFacts()
			}
			return nil
		}
	})
}

// followed is the screen that follows what is not this walk's own run, if it is open.
func (m *Model) followed() *followScreen {
	for _, s := range m.stack {
		if f, ok := s.(*followScreen); ok {
			return f
		}
	}
	return nil
}

// confirm keeps the transaction that waits.
func (m *Model) confirm(s *followScreen) tea.Cmd {
	id := s.standing.Transaction
	return m.start(jobConfirm, "confirming", func(ctx context.Context) func(*Model) tea.Cmd {
		res := m.engine.Confirm(ctx, id)
		return func(m *Model) tea.Cmd {
			if res.Outcome != harden.OutcomeApplied {
				m.warn(res.Message.String())
				return m.look(s)
			}
			m.settled(id, res)
			m.standing = nil
			m.home()
			m.push(&resultScreen{ran: []Applied{{Result: res}}, events: s.events})
			return m.readFacts()
		}
	})
}

// settled replaces what the summary says of a transaction that waited.
func (m *Model) settled(id string, res harden.Result) {
	for i, a := range m.summary.Applied {
		if a.Result.Transaction == id {
			m.summary.Applied[i].Result = res
			m.applied(m.summary.Applied[i])
			return
		}
	}
	m.summary.Applied = append(m.summary.Applied, Applied{Result: res})
}

// overtaken takes over how a run of this walk ended that waited for confirm, and that another process has settled: its switch, or an
// operator elsewhere.
func (m *Model) overtaken(s *followScreen) {
	for i, a := range m.summary.Applied {
		if a.Result.Transaction != s.standing.Transaction || a.Result.Outcome != harden.OutcomeWaiting {
			continue
		}
		for _, e := range s.events {
			if e.Kind == harden.EventFinished && e.Outcome != harden.OutcomeWaiting {
				m.summary.Applied[i].Result.Outcome, m.summary.Applied[i].Result.Message = e.Outcome, e.Message
				m.summary.Applied[i].Result.Hints = nil
			}
		}
	}
}

// settles says that a review undoes the transaction that waits: that needs nothing else first.
func (s *reviewScreen) settles(st *Standing) bool {
	if !st.waits() {
		return false
	}
	for _, p := range s.plans {
		if p.Undoes != st.Transaction || len(p.UndoesControls) > 0 {
			return false
		}
	}
	return true
}

// standingObstacle says why nothing is applied beside what stands open.
func (m *Model) standingObstacle() string {
	switch st := m.standing; {
	case st.waits():
		return "transaction " + st.Transaction + " waits for confirm: confirm or undo it first"
	case st.Running:
		return "another run is under way, by " + st.Holder
	default:
		return "transaction " + st.Transaction + " was interrupted, and is to be settled first"
	}
}
