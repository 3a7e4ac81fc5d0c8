package tui

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// run is one or more plans that are being applied. It outlives the screen: whoever ends the program waits for it.
type run struct {
	plans   []harden.Plan
	undoes  string
	started time.Time
	stop    context.CancelFunc
	wake    chan struct{} // holds one: there is something to take
	ended   chan struct{}

	mu      sync.Mutex
	claimed bool
	events  []harden.Event
	results []harden.Result
	crash   string // where the engine had a bug
	over    bool   // the model has seen the end
}

// progressMsg is what happened since the last one.
type progressMsg struct {
	of      *run
	events  []harden.Event
	results []harden.Result
	ended   bool
}

// live says that a change is being made and the model has not seen its end.
func (r *run) live() bool { return r != nil && !r.over }

// claim is true for the first caller only: the one that may apply.
func (r *run) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.claimed
	r.claimed = true
	return first
}

// work applies the plans in order and ends at the first that does not succeed. Events never wait for the screen.
func (r *run) work(ctx context.Context, e Engine, c Confirmation) {
	if !r.claim() {
		return
	}
	defer close(r.ended)
	for _, p := range r.plans {
		result := r.apply(ctx, e, p, c)
		r.mu.Lock()
		r.results = append(r.results, result)
		r.mu.Unlock()
		if result.Outcome != harden.OutcomeApplied {
			return
		}
	}
}

// apply runs one plan. A bug in the engine is a result too: a transaction that nobody knows of is the worst that can be left.
func (r *run) apply(ctx context.Context, e Engine, p harden.Plan, c Confirmation) (result harden.Result) {
	defer func() {
		if bug := recover(); bug != nil {
			result = harden.Result{Outcome: harden.OutcomeUnsettled, Message: harden.Msg("this program has a bug and does not know how far it came: %s", fmt.Sprint(bug))}
			r.mu.Lock()
			r.crash = string(debug.Stack())
			r.mu.Unlock()
		}
	}()
	return e.Apply(ctx, p, c, func(ev harden.Event) {
		r.mu.Lock()
		r.events = append(r.events, ev)
		r.mu.Unlock()
		select {
		case r.wake <- struct{}{}:
		default:
		}
	})
}

// take waits for something to happen and takes it.
func (r *run) take() progressMsg {
	ended := false
	select {
	case <-r.wake:
	case <-r.ended:
		ended = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	msg := progressMsg{of: r, events: r.events, ended: ended}
	r.events = nil
	if ended {
		msg.results = r.results
	}
	return msg
}

// begin applies the plans of a review.
func (m *Model) begin(review *reviewScreen, c Confirmation) tea.Cmd {
	ctx := m.newRun(review)
	r := m.run
	m.home()
	m.push(&progressScreen{run: r, follow: true})
	engine := m.engine
	return tea.Batch(
		func() tea.Msg { r.work(ctx, engine, c); return nil },
		func() tea.Msg { return r.take() },
		m.tick(),
	)
}

// newRun prepares a run of the plans of a review that do something.
func (m *Model) newRun(review *reviewScreen) context.Context {
	ctx, cancel := context.WithCancel(m.ctx)
	var plans []harden.Plan
	for _, p := range review.plans {
		if !p.Empty() {
			plans = append(plans, p)
		}
	}
	m.run = &run{plans: plans, undoes: review.undoes, started: m.opts.Now(), stop: cancel, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	return ctx
}

// progress takes what happened into the screen, and waits for more.
func (m *Model) progress(msg progressMsg) tea.Cmd {
	if msg.of != m.run {
		return nil
	}
	var screen *progressScreen
	for _, s := range m.stack {
		if p, ok := s.(*progressScreen); ok {
			screen = p
		}
	}
	if screen != nil {
		screen.events = append(screen.events, msg.events...)
	}
	if !msg.ended {
		r := m.run
		return func() tea.Msg { return r.take() }
	}
	m.run.over = true
	m.run.stop()
	ran := m.finish(m.run, msg.results)
	if m.interrupted {
		return tea.Quit
	}
	m.home()
	if last := len(msg.results) - 1; last >= 0 && msg.results[last].Outcome == harden.OutcomeWaiting {
		return tea.Batch(m.openWaiting(msg.results[last], screen.log()), m.readFacts())
	}
	m.push(&resultScreen{ran: ran, left: len(m.run.plans) - len(ran), events: screen.log()})
	return tea.Batch(m.readFacts(), m.readStanding(false))
}

// finish remembers the results for the summary, and gives them; what was applied is no longer chosen.
func (m *Model) finish(r *run, results []harden.Result) []Applied {
	if r.crash != "" {
		m.crash = r.crash
	}
	var out []Applied
	for i, res := range results {
		if recover := m.opts.shell("recover"); res.Outcome == harden.OutcomeUnsettled && len(res.Hints) == 0 && recover != "" {
			res.Hints = []string{recover}
			results[i] = res
		}
		a := Applied{Run: r.plans[i].Run, Undoes: r.plans[i].Undoes, Result: res, choices: r.plans[i].Choices, where: r.where(i), Left: left(r.plans[i], res)}
		a.with = r.with(i, results)
		out = append(out, a)
		m.applied(a)
	}
	m.summary.Applied = append(m.summary.Applied, out...)
	return out
}

// with is the transaction that takes along what kubeadm keeps of it, when it is undone; "" where there is not one that has all
// of it.
func (r *run) with(kept int, results []harden.Result) string {
	if !r.plans[kept].Keeps() || results[kept].Outcome != harden.OutcomeApplied {
		return ""
	}
	for i, res := range results {
		foreign := func(control string) bool { return !slices.Contains(r.plans[i].Controls(), control) }
		if i != kept && res.Outcome == harden.OutcomeApplied && !slices.ContainsFunc(r.plans[kept].Controls(), foreign) {
			return res.Transaction
		}
	}
	return ""
}

// left is what a plan that undoes could not undo with it.
func left(p harden.Plan, res harden.Result) []harden.Skip {
	if p.Undoes == "" || res.Outcome != harden.OutcomeApplied {
		return nil
	}
	return p.Skipped
}

// applied forgets the choices of what stays.
func (m *Model) applied(a Applied) {
	switch a.Result.Outcome {
	case harden.OutcomeApplied:
		for _, c := range a.choices {
			delete(m.choices, c.Control)
		}
		m.summary.stale = true
	case harden.OutcomeWaiting:
		m.summary.stale = true
	}
}
