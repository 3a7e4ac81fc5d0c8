package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// trafficEvery is how often the cluster is asked what works: each look is a number of requests.
const trafficEvery = 2 * time.Second

// traffic is what the gate of objects that can cut traffic goes by.
type traffic struct {
	namespaces []string
	worked     []string // before the objects were written
	next       time.Time
	trouble    string // of the last look
	misses     int    // looks in a row with trouble
}

// seeTraffic asks what works before objects are written that can cut it: only that can be lost.
func (r *run) seeTraffic(ctx context.Context, st harden.Stage) error {
	g, _ := st.Gate("")
	if len(g.Traffic) == 0 || r.Cluster == nil {
		return nil
	}
	works, err := r.Cluster.Working(ctx, g.Traffic)
	if err != nil {
		if err := interrupted(ctx); err != nil {
			return err
		}
		return fmt.Errorf("asking what works before traffic can be cut: %w", err)
	}
	t := &traffic{namespaces: g.Traffic}
	for _, name := range slices.Sorted(maps.Keys(works)) {
		if works[name] == "" {
			t.worked = append(t.worked, name)
		}
	}
	r.traffic = t
	return nil
}

// proveTraffic waits until all that worked before works with the objects in force, and stays so (promise 6).
func (r *run) proveTraffic(ctx context.Context, st harden.Stage) error {
	g, _ := st.Gate("")
	if r.traffic == nil || len(g.Traffic) == 0 {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Timeout: g.Timeout, Message: harden.Msg("what worked before still works: %d things", len(r.traffic.worked))})
	var since time.Time
	err := r.poll(ctx, r.Clock.Now().Add(g.Timeout), func() (bool, string, error) {
		looked, trouble := r.lookAtTraffic(ctx)
		switch {
		case !looked:
		case trouble != "":
			since = time.Time{}
		case since.IsZero():
			since = r.Clock.Now()
		}
		return !since.IsZero() && r.Clock.Now().Sub(since) >= holdFor, trouble, nil
	})
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case err != nil:
		return fmt.Errorf("gate of the cluster's objects: %w", err)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("what worked before has worked for %s", holdFor)})
	return nil
}

// lookAtTraffic asks, unless it has just done so, and says what does not work any more.
func (r *run) lookAtTraffic(ctx context.Context) (looked bool, trouble string) {
	t := r.traffic
	if r.Clock.Now().Before(t.next) {
		return false, t.trouble
	}
	t.next = r.Clock.Now().Add(trafficEvery)
	works, err := r.Cluster.Working(ctx, t.namespaces)
	if err != nil {
		t.trouble = oneLine(err)
		return true, t.trouble
	}
	t.trouble = ""
	for _, name := range t.worked {
		if wrong, there := works[name]; !there {
			t.trouble = "no longer: " + name
		} else if wrong != "" {
			t.trouble = "no longer: " + name + ": " + wrong
		}
	}
	return true, t.trouble
}

// watchTraffic is a look while the run soaks. Some misses in a row are final.
func (r *run) watchTraffic(ctx context.Context) error {
	if r.traffic == nil {
		return nil
	}
	looked, trouble := r.lookAtTraffic(ctx)
	switch {
	case !looked:
	case trouble == "":
		r.traffic.misses = 0
	default:
		if r.traffic.misses++; r.traffic.misses >= soakMisses {
			return fmt.Errorf("watching the cluster: %s", trouble)
		}
	}
	return nil
}
