package apply

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Restarts shorten what the kubelet takes to replace a static pod.
type Restarts interface {
	// Follow gives hold of an instance that is about to go.
	Follow(c harden.Component, i Instance) (Leaving, error)
	// Begun says whether the kubelet has made anything of a component's pod since a time.
	Begun(ctx context.Context, c harden.Component, since time.Time) (bool, error)
	// Present lets the kubelet see a manifest go and come again, while it is there all the time.
	Present(path string) error
	// Tidy removes what a process has left that was killed while it did so.
	Tidy(path string) error
}

// Leaving is an instance on its way out.
type Leaving interface {
	// Listens says whether it still takes new connections.
	Listens() (bool, error)
	// End ends that instance, and no other one, at once.
	End() error
	// Freeze stops it where it is, so that it hears nothing, until Thaw or End.
	Freeze() error
	Thaw() error
	// Cleaned says that the kubelet has cleaned up after its pod; known is false where that cannot be seen.
	Cleaned() (cleaned, known bool)
}

const (
	// lookEvery is how often an old instance is looked at: each look is part of the outage.
	lookEvery = 100 * time.Millisecond
	// goneWait is how long an old instance is followed; then the kubelet is left to it.
	goneWait = 20 * time.Second
	// drainFor is what an API server gets for the requests under way, once it takes no new ones. What keeps it longer are
	// watches, which last for ever.
	drainFor = time.Second
	// flushFor is what it gets where it sends audit events in batches.
	flushFor = 10 * time.Second
	// settleFor is what the kubelet needs to clean up after an old instance where that cannot be seen. Shown the manifest too
	// early, it would wait as long as it would have without.
	settleFor = 1500 * time.Millisecond
	// beginWait is how long it takes at most to begin with a manifest that it was shown: it looks every two seconds.
	beginWait = 4 * time.Second
	// maxShown is how often the kubelet is shown a manifest that it does not begin with.
	maxShown = 3
	// kubeletBackOff is how long the kubelet waits at least before it tries again to start a static pod that it was given while
	// an older one of that name was still running (10 to 15 seconds in all supported versions). Until then, showing it the
	// manifest again interrupts nothing.
	kubeletBackOff = 10 * time.Second
)

// tidy removes what a killed process has left beside the manifests that it presented (promise 3).
func (r *run) tidy() error {
	if r.Restarts == nil {
		return nil
	}
	var errs []error
	for _, s := range r.plan.Steps() {
		if c, ok := harden.ComponentByID(s.Component); ok && c.StaticPod() && s.Kind == harden.StepFile {
			errs = append(errs, r.Restarts.Tidy(s.Path))
		}
	}
	return errors.Join(errs...)
}

// follow takes hold of the instance that a change will replace; nil where there is nothing to hasten.
func (r *run) follow(c harden.Component, old Instance) Leaving {
	if r.Restarts == nil || !c.StaticPod() || old.ID == "" {
		return nil
	}
	l, err := r.Restarts.Follow(c, old)
	if err != nil {
		return nil
	}
	return l
}

// shorten follows a static pod's old instance after its manifest was changed. An API server that takes no new connections any
// more is ended instead of waited for; and when the kubelet has cleaned up after the old instance, it is shown the manifest
// again, so that it starts the new one now. Whatever does not work here only takes longer: it is never an error. Not so for
// etcd: without it the API server lets the kubelet wait, and the kubelet looks at nothing meanwhile.
func (r *run) shorten(ctx context.Context, c harden.Component, old Instance, l Leaving, changed time.Time) {
	if r.Restarts == nil || !c.StaticPod() || c.ID == harden.Etcd || !r.gone(ctx, c, old, l, changed) {
		return
	}
	manifest := path.Join(harden.StaticPodDir, c.Manifest)
	if f := r.Facts.Component(c.ID); f != nil && f.Manifest.Path != "" {
		manifest = f.Manifest.Path
	}
	shown := changed
	for range maxShown {
		if !r.cleaned(ctx, l, shown.Add(kubeletBackOff-time.Second)) {
			return
		}
		if begun, err := r.Restarts.Begun(ctx, c, changed); begun || err != nil {
			return
		}
		shown = r.Clock.Now()
		if err := r.Restarts.Present(manifest); err != nil {
			return
		}
		for end := shown.Add(beginWait); r.Clock.Now().Before(end); {
			if begun, err := r.Restarts.Begun(ctx, c, changed); begun || err != nil || r.Clock.Sleep(ctx, lookEvery) != nil {
				return
			}
		}
	}
}

// cleaned waits until the kubelet has cleaned up after the old instance.
func (r *run) cleaned(ctx context.Context, l Leaving, until time.Time) bool {
	if l == nil {
		return r.Clock.Sleep(ctx, settleFor) == nil && r.Clock.Now().Before(until)
	}
	for r.Clock.Now().Before(until) {
		cleaned, known := l.Cleaned()
		switch {
		case !known:
			return r.Clock.Sleep(ctx, settleFor) == nil && r.Clock.Now().Before(until)
		case cleaned:
			return true
		}
		if r.Clock.Sleep(ctx, lookEvery) != nil {
			return false
		}
	}
	return false
}

// gone waits for the end of an old instance, and ends it where that is safe.
func (r *run) gone(ctx context.Context, c harden.Component, old Instance, l Leaving, changed time.Time) bool {
	may := c.ID == harden.APIServer && l != nil
	drain := drainTime(old.Args)
	var quiet time.Time // since when it takes no new connections
	for r.Clock.Now().Sub(changed) < goneWait+drain {
		i, err := r.Node.Instance(ctx, c)
		if errors.Is(err, ErrNotRunning) || err == nil && i.ID != old.ID {
			return true
		}
		if may && err == nil && r.drained(ctx, l, &quiet, drain) {
			may = false
			if err := l.End(); err == nil {
				r.tell(harden.Event{
					Kind: harden.EventPassed, Component: c.ID,
					Message: harden.Msg("the old instance (process %d) took no new connections any more and was ended", old.PID),
				})
			}
		}
		if r.Clock.Sleep(ctx, lookEvery) != nil {
			return false
		}
	}
	return false
}

// drained says that an API server has taken no new connections for long enough, and that nobody is led to it any more.
func (r *run) drained(ctx context.Context, l Leaving, quiet *time.Time, drain time.Duration) bool {
	listens, err := l.Listens()
	if err != nil || listens {
		*quiet = time.Time{}
		return false
	}
	if quiet.IsZero() {
		*quiet = r.Clock.Now()
	}
	return r.Clock.Now().Sub(*quiet) >= drain && r.missed(ctx)
}

// drainTime is what an API server with these arguments gets after it has stopped to listen.
func drainTime(args []string) time.Duration {
	if harden.BatchesAudit(args) {
		return flushFor
	}
	return drainFor
}

// missed says that nobody is led to this node's API server any more: it is the only one, or its address has left the
// endpoints of the API. Where that cannot be told, it is not so.
func (r *run) missed(ctx context.Context) bool {
	if r.alone(ctx) {
		return true
	}
	if r.Members == nil {
		return false
	}
	all, err := r.Members.ControlPlanes(ctx)
	if err != nil {
		return false
	}
	own := slices.IndexFunc(all, func(m harden.ControlPlane) bool { return m.Node == r.Facts.Identity.Node })
	if own < 0 {
		return false
	}
	endpoints, err := r.Members.Endpoints(ctx)
	return err == nil && len(endpoints) > 0 && !slices.Contains(endpoints, all[own].Address)
}

// alone says that this is the only control plane: the API has told so before it was touched, or the etcd on this node has one
// member. It is asked once.
func (r *run) alone(ctx context.Context) bool {
	if r.single != nil {
		return *r.single
	}
	others, err := r.others(ctx)
	alone := err == nil && len(others) == 0
	if c := r.Facts.Component(harden.Etcd); err != nil && r.Etcd != nil && c != nil && c.Process != nil {
		members, err := r.Etcd.Members(ctx)
		alone = err == nil && len(members) == 1 && members[0].Name == ownMember(c.Args)
	}
	r.single = &alone
	return alone
}
