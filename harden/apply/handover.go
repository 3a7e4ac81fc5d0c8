package apply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Handover leads new connections for the API server to a canary while the live one is replaced.
type Handover interface {
	// Try leads connections of its own, and nobody else's, to a listener of its own at the redirect's port, by every way on which
	// clients come; the error says why one does not arrive.
	Try(ctx context.Context, r harden.Redirect) error
	// Hold gets ready to lead connections, and leads none yet. What it makes is gone when this process ends, or is stopped, and
	// then the old instance runs again if it was frozen.
	Hold(ctx context.Context, r harden.Redirect, old Instance) (Held, error)
	// Sweep takes away what a process may have left that held connections; nothing is no error.
	Sweep(ctx context.Context) error
	// KeepLog gives a file another name, beside it; one that is missing is no error.
	KeepLog(from, to string) error
}

// Held is what leads connections.
type Held interface {
	Lead() error
	// Release leads new connections where they go without us; those that were led stay.
	Release() error
	// Lost says why nothing is led any more without our having said so; nil while all is well.
	Lost() error
	// End takes everything away, and with it the way of connections that were led. It is called once; Sweep makes sure of it.
	End() error
}

// Published says where the Service default/kubernetes is, and leads to.
type Published interface {
	KubernetesService(ctx context.Context) (addressAndPort string, err error)
	// SavePublished gives what RestorePublished needs to let it lead there again.
	SavePublished(ctx context.Context) ([]byte, error)
	RestorePublished(ctx context.Context, saved []byte) error
}

const (
	// HandoverUnit is the unit of what holds connections, and HandoverTable the table by which it leads them.
	HandoverUnit  = "kubectl-harden-handover.service"
	HandoverTable = "kubectl-harden"

	// ledFor is how long new connections are led before the old instance is ended: what came to it before that gets its answer.
	ledFor = 1500 * time.Millisecond
	// behindHold is how long the new instance must answer its probes before connections come back to it.
	behindHold = 2 * time.Second
	// publishedWait is how long the endpoints may take to be what they were.
	publishedWait = 5 * time.Second
)

// handoverEntry is the journal of a handover, before anything of it is made.
type handoverEntry struct {
	Log  string `json:"log,omitempty"` // the canary's audit log, which tells of requests of others from then on
	Kept string `json:"kept,omitempty"`
}

// handover is one under way.
type handover struct {
	held  Held
	saved []byte // where default/kubernetes led to
}

// HandoverOf says how a plan's API server would be replaced if it is to hand its connections over; nil where it does not restart.
// Nothing of others is touched.
func (a *Applier) HandoverOf(ctx context.Context, p harden.Plan) *harden.Handover {
	if _, restarts := p.RestartsAPIServer(); !restarts {
		return nil
	}
	_, err := a.redirect(ctx, p)
	if err != nil {
		return &harden.Handover{Obstacle: harden.Msg("%s", oneLine(err))}
	}
	return &harden.Handover{}
}

// redirect is what is to be led where, once it was tried that it arrives.
func (a *Applier) redirect(ctx context.Context, p harden.Plan) (harden.Redirect, error) {
	r, obstacle := harden.HandoverTo(p, a.Facts)
	published, known := a.Cluster.(Published)
	switch {
	case a.Handover == nil:
		return r, errors.New("connections cannot be led elsewhere here: this is no live node")
	case !obstacle.IsZero():
		return r, errors.New(obstacle.String())
	case !known || a.Members == nil:
		return r, errors.New("there is no API to ask for what leads to it")
	}
	members, err := a.Members.ControlPlanes(ctx)
	if err != nil {
		return r, fmt.Errorf("whether it is the only one is not known: %w", err)
	}
	if len(members) != 1 || members[0].Node != a.Facts.Identity.Node {
		return r, fmt.Errorf("it is one of %d, which clients go to by themselves", len(members))
	}
	if err := a.leadsHere(ctx, r); err != nil {
		return r, err
	}
	if r.Service, err = published.KubernetesService(ctx); err != nil {
		return r, fmt.Errorf("by which address pods reach it is not known: %w", err)
	}
	if r.To, err = a.Node.FreePort(ctx); err != nil {
		return r, err
	}
	return r, a.Handover.Try(ctx, r)
}

// leadsHere wants default/kubernetes to lead to this node's own API server and nowhere else.
func (a *Applier) leadsHere(ctx context.Context, r harden.Redirect) error {
	endpoints, err := a.Members.Endpoints(ctx)
	if err != nil {
		return fmt.Errorf("where the Service default/kubernetes leads to is not known: %w", err)
	}
	if own := hostPort(r.Address, r.Secure); len(endpoints) != 1 || endpoints[0] != own {
		return fmt.Errorf("the Service default/kubernetes leads to %q, and not to %s alone", endpoints, own)
	}
	return nil
}

// handsOver says that a stage's canary is to take connections over.
func (r *run) handsOver(stage int) bool {
	at, restarts := r.plan.RestartsAPIServer()
	k, canary := r.canaries[stage]
	return r.plan.Handover != nil && r.plan.Handover.Obstacle.IsZero() && restarts && at == stage && !r.resumed && r.Handover != nil &&
		canary && !r.notAsked[k.step.Component]
}

// beginHandover leads new connections to the canary, which has proven itself and still runs; nil where the plain way is left. Only
// an interruption is an error.
func (r *run) beginHandover(ctx context.Context, c harden.Component, old Instance, l Leaving) (*handover, error) {
	if c.ID != harden.APIServer || !r.handsOver(r.at) || l == nil {
		return nil, nil
	}
	err := r.tryHandover(ctx, r.canaries[r.at], old)
	if err := r.stopped(ctx); err != nil {
		return nil, err
	}
	if err != nil {
		if err := r.endRedirect(ctx); err != nil {
			return nil, err // what it would restart must be reached where it is
		}
		r.tell(harden.Event{Kind: harden.EventUnproven, Component: c.ID, Message: harden.Msg("it restarts the plain way: %s", oneLine(err))})
		return nil, r.endCanary(ctx)
	}
	return r.hand, nil
}

func (r *run) tryHandover(ctx context.Context, k *canary, old Instance) error {
	redirect, err := r.redirect(ctx, r.plan)
	if err != nil {
		return err
	}
	redirect.To = k.Port
	h := &handover{}
	if h.saved, err = r.Cluster.(Published).SavePublished(ctx); err != nil {
		return err
	}
	entry := handoverEntry{Log: k.AuditLog}
	if entry.Log != "" {
		entry.Kept = path.Join(path.Dir(entry.Log), "kubectl-harden-"+r.tx.ID()+".log")
	}
	if err := r.tx.Log(kindHandover, entry); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.handed, r.hand = &entry, h
	// What it has logged is not ours any more, and its time begins anew.
	guard := canaryGuardOf(k)
	guard.Remove, guard.After = []string{k.step.Path}, guard.After+r.longest()
	if err := r.Node.Arm(ctx, guard); err != nil {
		return err
	}
	if h.held, err = r.Handover.Hold(ctx, redirect, old); err != nil {
		return err
	}
	if err := h.held.Lead(); err != nil {
		return err
	}
	r.tell(harden.Event{
		Kind: harden.EventPassed, Component: harden.APIServer,
		Message: harden.Msg("new connections to port %d go to the second one, on port %d", redirect.Secure, redirect.To),
	})
	if err := r.Clock.Sleep(ctx, ledFor); err != nil {
		return errInterrupted
	}
	return h.held.Lost()
}

// swapFrozen changes the files while the old instance hears nothing, and ends it before it can: told to end, it would take this
// node's address out of the endpoints of the API.
func (r *run) swapFrozen(ctx context.Context, l Leaving, swap func() error) error {
	if err := l.Freeze(); err != nil {
		return errors.Join(fmt.Errorf("stopping the old instance: %w", err), l.Thaw())
	}
	err := swap()
	if err != nil {
		return errors.Join(err, l.Thaw())
	}
	if err := l.End(); err != nil {
		return errors.Join(fmt.Errorf("ending the old instance: %w", err), l.Thaw())
	}
	r.keepPublished(ctx)
	return nil
}

// keepPublished sees to it that default/kubernetes leads to where it did: the canary answers, and leaves it alone.
func (r *run) keepPublished(ctx context.Context) {
	redirect, _ := harden.HandoverTo(r.plan, r.Facts)
	for end := r.Clock.Now().Add(publishedWait); ; {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		err := r.leadsHere(asking, redirect)
		if err != nil {
			err = errors.Join(err, r.Cluster.(Published).RestorePublished(asking, r.hand.saved))
		}
		cancel()
		switch {
		case err == nil:
			r.tell(harden.Event{Kind: harden.EventPassed, Component: harden.APIServer, Message: harden.Msg("the Service default/kubernetes leads to where it did")})
			return
		case !r.Clock.Now().Before(end) || r.Clock.Sleep(ctx, lookEvery) != nil:
			r.unproven(harden.APIServer, harden.Msg("pods may be without it until the new instance serves: %s", oneLine(err)))
			return
		}
	}
}

// awaitBehind waits for the new instance while its clients are served by the canary: it is asked by the loopback address, which
// leads to no other one. Then connections come back to it.
func (r *run) awaitBehind(ctx context.Context, c harden.Component, g harden.Gate, w want) error {
	behind := g
	behind.Probes = nil
	for _, p := range g.Probes {
		p.Host = loopbackOf(r.addressed(p).Host)
		behind.Probes = append(behind.Probes, p)
	}
	s := &settling{run: r, c: c, gate: behind, want: w, hold: behindHold, end: r.Clock.Now().Add(g.Timeout)}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: g.Timeout, Message: s.wanted()})
	lost := false
	err := r.poll(ctx, s.end, func() (bool, string, error) {
		if err := r.served(ctx); err != nil && !lost {
			lost = true
			r.unproven(c.ID, harden.Msg("connections wait for the new instance: %s", oneLine(err)))
			if err := r.release(ctx); err != nil {
				return false, "", err
			}
		}
		return s.look(ctx)
	})
	if err == nil {
		err = r.release(ctx)
	}
	if err != nil {
		return gateError(c, err)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("new connections go to the new instance (process %d)", s.now.PID)})
	return nil
}

// served says why clients are not served by the canary any more.
func (r *run) served(ctx context.Context) error {
	if err := r.hand.held.Lost(); err != nil {
		return fmt.Errorf("they are not led to the second one any more: %w", err)
	}
	k, err := r.Node.Canary(ctx, r.canaries[r.at].since)
	if err == nil && k.Exited {
		return fmt.Errorf("the second one has exited%s", saying(k.Words))
	}
	return nil
}

// release lets connections go where they go without us. What does not listen is ended, and its rules with it.
func (r *run) release(ctx context.Context) error {
	if err := r.hand.held.Release(); err == nil {
		return nil
	}
	if err := r.Handover.Sweep(ctx); err != nil {
		return fmt.Errorf("leading connections back: %w", err)
	}
	return nil
}

// finishHandover ends the canary, gracefully, and then takes away what has led to it. Where that fails the run tries again at its
// end: connections go to the new instance already.
func (r *run) finishHandover(ctx context.Context) error {
	err := r.endCanary(ctx)
	_ = r.endRedirect(ctx)
	return err
}

// endRedirect takes away what leads connections, whatever was done of it. After an error it may be tried again.
func (r *run) endRedirect(ctx context.Context) error {
	if r.handed == nil || r.handedBack || r.Handover == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	var err error
	if r.hand != nil && r.hand.held != nil {
		err = r.hand.held.End()
		r.hand.held = nil
	}
	if swept := r.Handover.Sweep(ctx); swept != nil {
		r.leads = fmt.Errorf("taking away what leads connections: %w", errors.Join(err, swept))
		return r.leads
	}
	r.handedBack, r.leads = true, nil
	_ = r.tx.Log(kindHandedBack, nil)
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("nothing leads connections elsewhere any more")})
	return nil
}

// settleRedirect tries for the last time. What leads connections may still be there then, which is said with the result.
func (r *run) settleRedirect(ctx context.Context) {
	if err := r.endRedirect(ctx); err != nil {
		r.unproven(harden.APIServer, harden.Msg("whether connections are still led elsewhere is not known: %s", oneLine(err)))
	}
}

// leading is a result with that, and what to do about it.
func (r *run) leading(res harden.Result) harden.Result {
	if r.leads != nil {
		res.Message = harden.Msg("%s; not proven is that nothing leads connections elsewhere any more: %s", res.Message.String(), oneLine(r.leads))
		res.Hints = append(res.Hints, "kubectl-harden status --clean")
	}
	return res
}

// keptLog is where a canary's audit log goes that tells of requests of others; empty for one that tells of our own only.
func (r *run) keptLog() string {
	if r.handed == nil || r.Handover == nil {
		return ""
	}
	return r.handed.Kept
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func loopbackOf(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() && !a.Is4In6() {
		return "::1"
	}
	return "127.0.0.1"
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
