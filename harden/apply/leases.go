package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// leaseWait covers an old lease running out (15 s) and a new candidate's next try.
	leaseWait = time.Minute
	// leaseWaitOthers covers a component that lost its lease while the API server restarted: it exits, and the kubelet may make
	// it wait before it starts it again.
	leaseWaitOthers = 2 * time.Minute
)

// awaitLeases waits until the component's leases are renewed while its new instance runs. Where there are several control
// planes another member may be the one that renews them: then there is somebody who does the work. While undoing, an API
// server that is still to come back is not relied on; its own gate asks for the leases.
func (r *run) awaitLeases(ctx context.Context, c harden.Component, i Instance, undo bool) error {
	if undo && r.planRestarts(harden.APIServer) {
		return nil
	}
	return r.awaitRenewal(ctx, c.ID, c, i.Args, leaseWait)
}

// planRestarts says that the plan restarts the component.
func (r *run) planRestarts(id harden.ComponentID) bool {
	for _, st := range r.plan.Stages {
		if _, ok := st.Effect(id); ok {
			return true
		}
	}
	return false
}

// awaitOthers waits, after the API server or etcd has restarted, until the components that live by leases renew them again: they
// may have lost them meanwhile, or cannot use what is new. An undo has brought back what they used before: that they are late to
// go on is told, and is no state that is mixed.
func (r *run) awaitOthers(ctx context.Context, c harden.Component, undo bool) error {
	if c.ID != harden.APIServer && c.ID != harden.Etcd {
		return nil
	}
	for _, other := range harden.Components {
		if len(other.Leases) == 0 || r.mends && r.planRestarts(other.ID) {
			continue // what it works with may have ended; its own gate asks for its lease
		}
		i, err := r.Node.Instance(ctx, other)
		if err != nil && !errors.Is(err, ErrNotRunning) {
			r.unproven(c.ID, harden.Msg("whether %s works with the new %s is not known: %s", other.ID, c.ID, oneLine(err)))
			continue
		}
		err = r.awaitRenewal(ctx, c.ID, other, i.Args, leaseWaitOthers)
		switch {
		case err == nil:
		case undo && !errors.Is(err, errInterrupted):
			r.unproven(c.ID, harden.Msg("whether %s works with %s as it was is not known: %s", other.ID, c.ID, oneLine(err)))
		case r.mends && !errors.Is(err, errInterrupted):
			r.unproven(c.ID, harden.Msg("whether %s works with the new %s is not known, as its own certificate may have ended: %s", other.ID, c.ID, oneLine(err)))
		default:
			return err
		}
	}
	return nil
}

// awaitRenewal sees each lease renewed between two looks, so that nobody's clock plays a part.
func (r *run) awaitRenewal(ctx context.Context, gate harden.ComponentID, c harden.Component, args []string, wait time.Duration) error {
	elected := r.Facts.Elected(c, args)
	names := elected.Leases
	switch {
	case !elected.Unknown.IsZero():
		r.unproven(gate, harden.Msg("whether the lease of %s is renewed is not asked: %s", c.ID, elected.Unknown))
		return nil
	case len(names) == 0:
		return nil
	case elected.Elsewhere:
		r.unproven(gate, harden.Msg("whether the lease of %s is renewed is not asked: it is not in kube-system", c.ID))
		return nil
	case r.Cluster == nil:
		r.unproven(gate, harden.Msg("whether the lease of %s is renewed is not asked: there is no API to ask", c.ID))
		return nil
	}
	list := strings.Join(names, ", ")
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: gate, Timeout: wait, Message: harden.Msg("the lease %s is renewed", list)})
	first, failures := map[string]harden.Lease{}, 0
	err := r.poll(ctx, r.Clock.Now().Add(wait), func() (bool, string, error) {
		asking, cancel := context.WithTimeout(ctx, askWithin)
		leases, err := r.Cluster.Leases(asking)
		cancel()
		if err != nil {
			if failures++; failures >= unaskable && interrupted(ctx) == nil {
				return false, "", fmt.Errorf("%w: %w", errUnaskable, err)
			}
			return false, oneLine(err), nil
		}
		failures = 0
		return renewed(names, leases, first)
	})
	switch {
	case err == nil:
		r.tell(harden.Event{Kind: harden.EventPassed, Component: gate, Message: harden.Msg("the lease %s is renewed by %s", list, first[names[0]].Holder)})
		return nil
	case errors.Is(err, errUnaskable):
		r.unproven(gate, harden.Msg("whether the lease %s is renewed is not known: %s", list, oneLine(err)))
		return nil
	case errors.Is(err, errInterrupted):
		return err
	}
	if _, gone := r.Node.Instance(ctx, c); gate != c.ID && errors.Is(gone, ErrNotRunning) {
		// The kubelet makes what exited several times wait for minutes: that says nothing about what is new.
		r.unproven(gate, harden.Msg("whether %s works with the new %s is not known: it does not run yet", c.ID, gate))
		return nil
	}
	return fmt.Errorf("%s does not do its work: %w", c.ID, err)
}

// renewed compares with the first look at each lease, which it keeps.
func renewed(names []string, leases, first map[string]harden.Lease) (bool, string, error) {
	pending := ""
	for _, name := range names {
		now, there := leases[name]
		was, seen := first[name]
		switch {
		case !there || now.Holder == "":
			pending = fmt.Sprintf("nobody holds the lease %s", name)
		case !seen:
			first[name] = now
			pending = fmt.Sprintf("the lease %s, of %s, is not renewed", name, now.Holder)
		case now.Renewed.Equal(was.Renewed) && now.Holder == was.Holder:
			pending = fmt.Sprintf("the lease %s, of %s, is not renewed", name, now.Holder)
		default:
			first[name] = harden.Lease{Holder: now.Holder} // renewed, whatever is seen of it later
		}
	}
	return pending == "", pending, nil
}
