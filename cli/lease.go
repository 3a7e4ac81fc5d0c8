package cli

import (
	"context"
	"time"

	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// turns looks at the lease by which runs on several control planes wait for each other; there is none where no cluster is asked.
func (e *engine) turns(ctx context.Context) (*apply.Applier, error) {
	if e.m.connect == nil {
		return &apply.Applier{}, nil
	}
	f, err := e.Facts(ctx)
	if err != nil {
		return nil, err
	}
	c, err := e.ownCluster(ctx, f.Identity)
	if err != nil {
		return nil, err
	}
	a := &apply.Applier{Facts: f}
	a.Courtesy, _ = c.(apply.Courtesy)
	return a, nil
}

// leaseWait is how long the API may take to tell of the lease.
const leaseWait = 3 * time.Second

// leaseLeft is who of this node holds the lease of runs and is no more.
func (e *engine) leaseLeft(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	a, err := e.turns(ctx)
	if err != nil {
		return "", err
	}
	held, err := a.TurnLeft(ctx)
	return held.Holder, err
}
