package tui

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// jobKind names what is waited for; a new job of a kind makes the one before it stale.
type jobKind string

const (
	jobFacts   jobKind = "facts"
	jobSlow    jobKind = "slow facts"
	jobPlan    jobKind = "plan"
	jobHistory jobKind = "history"
	jobSave    jobKind = "save"
	jobConfirm jobKind = "confirm"
	// jobStanding goes on beside the others, and is not told.
	jobStanding jobKind = "standing"
)

// patience is how long each kind may take.
var patience = map[jobKind]time.Duration{
	jobFacts: 30 * time.Second, jobSlow: 60 * time.Second, jobPlan: 60 * time.Second, jobHistory: 30 * time.Second, jobSave: 30 * time.Second,
	jobConfirm: 60 * time.Second, jobStanding: 30 * time.Second,
}

type job struct {
	seq     int
	label   string
	started time.Time
	cancel  context.CancelFunc
}

// start makes a command of work that blocks. Work returns what is to be done in Update with its result.
func (m *Model) start(kind jobKind, label string, work func(context.Context) func(*Model) tea.Cmd) tea.Cmd {
	m.cancel(kind)
	m.seq++
	seq := m.seq
	ctx, cancel := context.WithTimeout(m.ctx, patience[kind])
	m.jobs[kind] = job{seq: seq, label: label, started: m.opts.Now(), cancel: cancel}
	return tea.Batch(func() tea.Msg {
		defer cancel()
		if !m.under.begin() {
			return nil
		}
		defer m.under.end()
		return doneMsg{kind, seq, work(ctx)}
	}, m.tick())
}

// underWay counts the jobs that run, so that nothing reads a node any more that its owner takes away.
type underWay struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed with the last job, once no more may begin
}

func (u *underWay) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.n++
	}
	return !u.closed
}

func (u *underWay) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.closed {
		close(u.idle)
	}
}

// lastJobs is how long leaving waits for jobs that were told to end.
const lastJobs = 5 * time.Second

// stopJobs ends what runs beside the screen, and lets nothing more begin.
func (m *Model) stopJobs() {
	for kind := range m.jobs {
		m.cancel(kind)
	}
	u := &m.under
	u.mu.Lock()
	u.closed, u.idle = true, make(chan struct{})
	n := u.n
	u.mu.Unlock()
	if n == 0 {
		return
	}
	select {
	case <-u.idle:
	case <-time.After(lastJobs):
	}
}

func (m *Model) cancel(kind jobKind) {
	if j, ok := m.jobs[kind]; ok {
		j.cancel()
		delete(m.jobs, kind)
	}
}

// tick redraws each second while something is waited for.
func (m *Model) tick() tea.Cmd {
	if m.ticking || len(m.jobs) == 0 && !m.run.live() && m.followed() == nil && !m.standing.waits() {
		return nil
	}
	m.ticking = true
	return m.after(time.Second, func(time.Time) tea.Msg { return tickMsg{} })
}

// waiting says what is waited for, since when, and for how long at most.
func (m *Model) waiting() string {
	for _, kind := range []jobKind{jobConfirm, jobPlan, jobHistory, jobSave, jobFacts, jobSlow} {
		if j, ok := m.jobs[kind]; ok {
			return fmt.Sprintf("%s: %s of at most %s", j.label, seconds(m.opts.Now().Sub(j.started)), seconds(patience[kind]))
		}
	}
	return ""
}

// seconds is a duration as people read it.
func seconds(d time.Duration) string {
	d = max(d.Truncate(time.Second), 0) // clocks are set back at times
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d/time.Second))
	}
	if s := int(d%time.Minute) / int(time.Second); s != 0 {
		return fmt.Sprintf("%d min %d s", int(d/time.Minute), s)
	}
	return fmt.Sprintf("%d min", int(d/time.Minute))
}

// readAgain is the operator's word to read the node, and says that it was done.
func (m *Model) readAgain() tea.Cmd {
	m.again = true
	return m.readFacts()
}

func (m *Model) readFacts() tea.Cmd {
	m.cancel(jobSlow)
	return m.start(jobFacts, "reading this node", func(ctx context.Context) func(*Model) tea.Cmd {
		facts, err := m.engine.Facts(ctx)
		if err == nil && facts == nil {
			err = errors.New("reading this node: there are no facts")
		}
		if err != nil {
			return func(m *Model) tea.Cmd {
				m.warn(err.Error())
				return nil
			}
		}
		findings := m.engine.Assess(facts)
		return func(m *Model) tea.Cmd {
			m.learn(facts, findings)
			m.preselect(false)
			if harden.NotANode(facts) {
				return nil
			}
			return m.readSlowFacts()
		}
	})
}

func (m *Model) readSlowFacts() tea.Cmd {
	fast := m.facts
	return m.start(jobSlow, "reading the cluster", func(ctx context.Context) func(*Model) tea.Cmd {
		facts, err := m.engine.SlowFacts(ctx, fast)
		var findings []harden.Finding
		if facts != nil {
			findings = m.engine.Assess(facts)
		}
		return func(m *Model) tea.Cmd {
			if facts != nil {
				m.learn(facts, findings)
			}
			m.preselect(true)
			if m.again {
				m.say("the node was read again")
			}
			m.again = false
			if err != nil {
				m.warn(err.Error())
			}
			return nil
		}
	})
}

func (m *Model) learn(facts *harden.Facts, findings []harden.Finding) {
	m.facts, m.findings = facts, findings
	m.index = make(map[string]int, len(findings))
	for i, f := range findings {
		m.index[f.Control] = i
	}
	m.words = m.searchWords()
	m.learned++
	m.summary.Findings, m.summary.stale, m.summary.noNode = findings, false, harden.NotANode(facts)
	m.summary.Node = facts.Identity.Node
}

// plan makes the plans of choices and hands them on.
func (m *Model) plan(choices []harden.Choice, then func(*Model, []harden.Plan) tea.Cmd) tea.Cmd {
	if m.facts == nil {
		m.warn("there are no facts to plan from; r reads the node again")
		return nil
	}
	facts := m.facts
	return m.start(jobPlan, "planning", func(ctx context.Context) func(*Model) tea.Cmd {
		plans, err := m.engine.Plan(ctx, facts, choices)
		return m.orWarn(err, func(m *Model) tea.Cmd { return then(m, plans) })
	})
}

// orWarn is what to do when err is nil.
func (m *Model) orWarn(err error, then func(*Model) tea.Cmd) func(*Model) tea.Cmd {
	if err == nil {
		return then
	}
	return func(m *Model) tea.Cmd {
		m.warn(inWords(err))
		return nil
	}
}

// inWords is an error with what to do by hand about it.
func inWords(err error) string {
	if hint := patches.Hint(err); hint != "" {
		return err.Error() + "; what to do: " + hint
	}
	return err.Error()
}
