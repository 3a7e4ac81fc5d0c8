package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// pollEvery is how often a gate looks.
	pollEvery = 500 * time.Millisecond
	// holdFor is how long an instance must stay healthy before a gate believes it. It is longer than the kubelet takes to
	// notice a manifest (inotify), so that an instance about to be stopped is not taken for a healthy one.
	holdFor = 5 * time.Second
	// kubeletHold covers one automatic restart: the kubelet's unit has RestartSec=10.
	kubeletHold = 12 * time.Second
	// refusalGrace is how long probes may be answered with 401 or 403: an API server that has just begun to serve refuses
	// anonymous requests by 403 until it has read its RBAC objects, seen to take about two seconds.
	refusalGrace = 10 * time.Second
	// crashLimit is how many instances may die before the gate gives up early: a first try may come too early for what it needs.
	// A unit that has been healthy once is allowed none.
	crashLimit = 2
	// readyWait is how long the Node object may take to tell of the new kubelet.
	readyWait = 45 * time.Second
	// unwellWait is how long an undo waits for what was not well before: the kubelet may start a new instance meanwhile.
	unwellWait = 45 * time.Second
	// askWithin is how long the API may take to answer one question of a gate.
	askWithin = 5 * time.Second
	// unaskable is how many times in a row the API may fail to answer before the gate goes on without it.
	unaskable = 6
	// soakMisses is how many looks in a row may find a component unhealthy: the kubelet forgives as many to readiness.
	soakMisses = 3
)

// want is what tells the new instance from older ones.
type want struct {
	since    time.Time // when its files were changed
	not      []string  // ids of instances that do not count
	restarts int       // automatic ones of its unit before
	undo     bool      // to what was: an instance that never saw the change is right
}

// prove waits until the component's new instance runs as planned and is healthy, and stays so (promise 6).
func (r *run) prove(ctx context.Context, c harden.Component, g harden.Gate, w want) error {
	s := &settling{run: r, c: c, gate: g, want: w, hold: holdFor}
	if !c.StaticPod() {
		s.hold = kubeletHold
	}
	s.end = r.Clock.Now().Add(g.Timeout)
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: g.Timeout, Message: s.wanted()})
	if err := r.poll(ctx, s.end, func() (bool, string, error) { return s.look(ctx) }); err != nil {
		return gateError(c, err)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: s.settled()})
	if err := r.awaitNode(ctx, c, s.now); err != nil {
		return gateError(c, err)
	}
	if err := r.awaitLeases(ctx, c, s.now, w.undo); err != nil {
		return gateError(c, err)
	}
	if err := r.awaitMembers(ctx, c, s.now); err != nil {
		return gateError(c, err)
	}
	if err := r.awaitOthers(ctx, c, w.undo); err != nil {
		return gateError(c, err)
	}
	for _, p := range inOrder(g.Proofs) {
		if err := r.assert(ctx, r.liveQuestion(g), p); err != nil {
			return gateError(c, err)
		}
	}
	if err := r.same(ctx, c, s.now); err != nil {
		return gateError(c, err)
	}
	r.proven[c.ID] = s.now
	return nil
}

// poll calls try every pollEvery until it is done, fails, the time is over, or the operator interrupts. pending is what
// try last said it was waiting for.
func (r *run) poll(ctx context.Context, end time.Time, try func() (done bool, pending string, err error)) error {
	for {
		done, pending, err := try()
		if done || err != nil {
			return err
		}
		if !r.Clock.Now().Before(end) {
			return fmt.Errorf("timed out: %s", pending)
		}
		if err := r.Clock.Sleep(ctx, pollEvery); err != nil {
			return errInterrupted
		}
		if err := r.stopped(ctx); err != nil {
			return err
		}
	}
}

func gateError(c harden.Component, err error) error {
	if errors.Is(err, errInterrupted) {
		return err
	}
	return fmt.Errorf("gate of %s: %w", c.ID, err)
}

// settling follows a component from its change until one new instance has been healthy for long enough. An instance that is
// replaced meanwhile has to be healthy anew; how many may die is limited.
type settling struct {
	*run
	c    harden.Component
	gate harden.Gate
	want want
	hold time.Duration
	end  time.Time

	now      Instance  // the new instance, once it runs
	healthy  time.Time // since when all its probes succeed
	refused  time.Time // since when one of them is refused
	well     bool      // one has been healthy; restarts of the unit count anew from there
	restarts int       // of its unit, as last seen
}

func (s *settling) wanted() harden.Message {
	if s.want.undo {
		return harden.Msg("%s runs as before", s.c.ID)
	}
	if len(s.gate.Args) > 0 {
		return harden.Msg("a new instance of %s with the planned arguments", s.c.ID)
	}
	return harden.Msg("a new instance of %s", s.c.ID)
}

func (s *settling) settled() harden.Message {
	if len(s.gate.Probes) == 0 {
		return harden.Msg("%s has run for %s; it has no probes to ask", s.c.ID, s.hold)
	}
	return harden.Msg("%s has answered its probes for %s", s.c.ID, s.hold)
}

func (s *settling) found() harden.Message {
	if s.want.undo {
		return harden.Msg("%s runs as before (process %d)", s.c.ID, s.now.PID)
	}
	return harden.Msg("%s runs as planned (process %d)", s.c.ID, s.now.PID)
}

func (s *settling) look(ctx context.Context) (done bool, pending string, err error) {
	if err := s.crashed(ctx); err != nil {
		return false, "", err
	}
	if pending := s.find(ctx); pending != "" {
		s.healthy, s.refused = time.Time{}, time.Time{}
		return false, pending, nil
	}
	pending, err = s.ask(ctx)
	if pending != "" || err != nil {
		s.healthy = time.Time{}
		return false, pending, err
	}
	s.refused = time.Time{}
	now := s.Clock.Now()
	if s.healthy.IsZero() {
		s.healthy = now
	}
	if !s.well {
		s.well, s.want.restarts = true, s.restarts
	}
	return now.Sub(s.healthy) >= s.hold, "it was not healthy for long enough", nil
}

// find looks for the new instance, and says what is there instead.
func (s *settling) find(ctx context.Context) string {
	i, err := s.instance(ctx, s.c)
	switch {
	case errors.Is(err, ErrNotRunning) && s.now.ID != "":
		return fmt.Sprintf("the new instance (process %d) has gone and no other one runs", s.now.PID)
	case errors.Is(err, ErrNotRunning):
		return "no instance runs"
	case err != nil:
		return oneLine(err) // the runtime may be busy; the timeout decides
	case slices.Contains(s.want.not, i.ID):
		return fmt.Sprintf("the old instance (process %d) still runs and no new one", i.PID)
	case len(s.gate.Args) > 0 && !harden.SameArgs(i.Args, s.gate.Args):
		return fmt.Sprintf("process %d runs with other arguments than planned", i.PID)
	}
	if i.ID != s.now.ID {
		s.now, s.healthy, s.refused = i, time.Time{}, time.Time{}
		s.tell(harden.Event{Kind: harden.EventPassed, Component: s.c.ID, Message: s.found()})
		s.tell(harden.Event{
			Kind: harden.EventAwaiting, Component: s.c.ID, Timeout: s.end.Sub(s.Clock.Now()),
			Message: harden.Msg("%s stays healthy for %s", s.c.ID, s.hold),
		})
	}
	return ""
}

// ask asks every probe anonymously. A 401 or 403 that stays is final: the kubelet gets it too, and would kill the container
// minutes later.
func (s *settling) ask(ctx context.Context) (pending string, err error) {
	for _, p := range s.gate.Probes {
		p, res := s.probe(ctx, p)
		if res.Healthy(p) {
			continue
		}
		pending = fmt.Sprintf("its %s probe %s", p.Name, describe(p, res))
		if res.Status != 401 && res.Status != 403 {
			s.refused = time.Time{}
			return pending, nil
		}
		if s.refused.IsZero() {
			s.refused = s.Clock.Now()
		}
		if s.Clock.Now().Sub(s.refused) >= refusalGrace {
			return "", fmt.Errorf("%s: the kubelet would kill it", pending)
		}
		return pending, nil
	}
	return "", nil
}

// crashed gives up early where instances start and die.
func (s *settling) crashed(ctx context.Context) error {
	if !s.c.StaticPod() {
		u, err := s.Node.Unit(ctx, s.c.Unit)
		if err != nil {
			return nil
		}
		if u.Restarts < s.want.restarts {
			s.want.restarts = 0 // a restart by hand counts from 0 again
		}
		s.restarts = u.Restarts
		switch n := s.restarts - s.want.restarts; {
		case s.well && n > 0:
			return errors.New("it was healthy, and systemd has restarted it since")
		case n >= crashLimit:
			return fmt.Errorf("systemd has restarted it %d times", n)
		}
		return nil
	}
	n, words, err := s.Node.Crashes(ctx, s.c, s.want.since)
	switch {
	case err != nil || n < crashLimit:
		return nil
	case words == "":
		return fmt.Errorf("%d new instances have exited", n)
	}
	return fmt.Errorf("%d new instances have exited; the last one said: %s", n, words)
}

// awaitNode waits for the Node object to tell of the new kubelet. Where the API cannot be asked that is said, not guessed.
func (r *run) awaitNode(ctx context.Context, c harden.Component, i Instance) error {
	if c.StaticPod() {
		return nil
	}
	node := r.plan.Target.Node
	if r.Cluster == nil {
		r.unproven(c.ID, harden.Msg("whether node %s is Ready is not asked: there is no API to ask", node))
		return nil
	}
	failures := 0
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: readyWait, Message: harden.Msg("node %s is Ready", node)})
	return r.poll(ctx, r.Clock.Now().Add(readyWait), func() (bool, string, error) {
		asking, cancel := context.WithTimeout(ctx, askWithin)
		ready, reason, err := r.Cluster.NodeReady(asking, node, i.Started)
		cancel()
		if err == nil {
			failures = 0
			if ready {
				r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("node %s is Ready", node)})
			}
			return ready, "the node is not Ready: " + reason, nil
		}
		if failures++; failures >= unaskable && interrupted(ctx) == nil {
			r.unproven(c.ID, harden.Msg("the API cannot be asked whether node %s is Ready: %s", node, oneLine(err)))
			return true, "", nil
		}
		return false, oneLine(err), nil
	})
}

// unproven says which part of a gate could not be asked.
func (r *run) unproven(c harden.ComponentID, m harden.Message) {
	r.tell(harden.Event{Kind: harden.EventUnproven, Component: c, Message: m})
}

// same wants the instance that was looked at to be the one that runs in the end.
func (r *run) same(ctx context.Context, c harden.Component, i Instance) error {
	return r.poll(ctx, r.Clock.Now().Add(holdFor), func() (bool, string, error) {
		now, err := r.instance(ctx, c)
		switch {
		case errors.Is(err, ErrNotRunning):
			return false, "its new instance has gone", nil
		case err != nil:
			return false, oneLine(err), nil
		case now.ID != i.ID:
			return false, "", errors.New("its new instance was replaced while it was looked at")
		}
		return true, "", nil
	})
}

// soak watches everything that was proven, so that what dies late is noticed.
func (r *run) soak(ctx context.Context) error {
	if r.Soak <= 0 || len(r.proven) == 0 && r.traffic == nil && r.table == nil {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventSoaking, Timeout: r.Soak, Message: harden.Msg("watching health")})
	misses := map[harden.ComponentID]int{}
	for end := r.Clock.Now().Add(r.Soak); r.Clock.Now().Before(end); {
		if err := r.Clock.Sleep(ctx, time.Second); err != nil {
			return errInterrupted
		}
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if err := r.watchTraffic(ctx); err != nil {
			return err
		}
		for _, st := range r.plan.Stages {
			for _, g := range st.Gates {
				miss, err := r.watch(ctx, g)
				if err != nil {
					return err
				}
				if miss == "" {
					misses[g.Component] = 0
				} else if misses[g.Component]++; misses[g.Component] >= soakMisses {
					return fmt.Errorf("watching %s: %s", g.Component, miss)
				}
			}
		}
	}
	return nil
}

// watch looks at a proven component once. A miss may pass; an error is final.
func (r *run) watch(ctx context.Context, g harden.Gate) (miss string, err error) {
	if g.Component == harden.PacketFilter && r.table != nil {
		return r.lookAtTable(ctx, g)
	}
	i, proven := r.proven[g.Component]
	c, known := harden.ComponentByID(g.Component)
	if !proven || !known {
		return "", nil
	}
	now, err := r.instance(ctx, c)
	switch {
	case errors.Is(err, ErrNotRunning):
		return "it has gone", nil
	case err != nil:
		return oneLine(err), nil
	case now.ID != i.ID:
		return "", fmt.Errorf("watching %s: it was restarted", c.ID)
	}
	for _, p := range g.Probes {
		if p, res := r.probe(ctx, p); !res.Healthy(p) {
			return fmt.Sprintf("its %s probe %s", p.Name, describe(p, res)), nil
		}
	}
	return "", nil
}
