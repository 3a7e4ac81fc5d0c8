package apply_test

import (
	"context"
	"time"

	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// deadMan is a dead man's switch that only counts. It outlives the processes of a world.
type deadMan struct {
	w        *world
	prepared bool
	armed    bool
	due      time.Time
	arms     []time.Duration
	refuses  error // to be prepared
	fails    func(nth int) error
}

func (d *deadMan) Prepare(context.Context, string) error {
	if d.refuses == nil {
		d.prepared = true
	}
	return d.refuses
}

func (d *deadMan) Arm(_ context.Context, _ string, after time.Duration) (apply.Armed, error) {
	if !d.prepared {
		d.w.t.Error("armed without having been tried")
	}
	if d.fails != nil {
		if err := d.fails(len(d.arms) + 1); err != nil {
			return apply.Armed{}, err
		}
	}
	d.armed, d.due, d.arms = true, d.w.clock.now.Add(after), append(d.arms, after)
	return apply.Armed{Boot: "this one", Due: d.due.Sub(begin), Reboot: true}, nil
}

func (d *deadMan) Disarm(context.Context, string) error {
	d.armed, d.prepared = false, false
	return nil
}
