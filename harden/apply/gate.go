package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// crashLimit is how many instances may die before the gate gives up early.
	crashLimit = 2
	// readyWait is how long the Node object may take to tell of the new kubelet.
	readyWait = 45 * time.Second
	auditWait = 20 * time.Second
)

// want is what tells the new instance from older ones.
type want struct {
	since time.Time // when its files were changed
	not   []string  // ids of instances that do not count
}

// prove waits until the component's new instance runs as planned and is healthy, and stays so (promise 6).
func (r *run) prove(ctx context.Context, c harden.Component, g harden.Gate, w want) error {
	end := r.Clock.Now().Add(g.Timeout)
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: g.Timeout, Message: harden.Msg("a new instance of %s with the planned arguments", c.ID)})
	i, err := r.awaitInstance(ctx, c, g, w, end)
	if err != nil {
		return err
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("%s runs as planned (process %d)", c.ID, i.PID)})
	if err := r.awaitHealth(ctx, c, g, i, end); err != nil {
		return err
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("%s answers its probes", c.ID)})
	if err := r.awaitNode(ctx, c, i); err != nil {
		return err
	}
	for _, p := range g.Proofs {
		if err := r.assert(ctx, g, p); err != nil {
			return err
		}
	}
	now, err := r.instance(ctx, c)
	if err != nil || now.ID != i.ID {
		return fmt.Errorf("proving %s: its new instance was replaced while it was looked at", c.ID)
	}
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
	}
}

func (r *run) awaitInstance(ctx context.Context, c harden.Component, g harden.Gate, w want, end time.Time) (Instance, error) {
	var found Instance
	err := r.poll(ctx, end, func() (bool, string, error) {
		if err := r.crashed(ctx, c, w.since); err != nil {
			return false, "", err
		}
		i, err := r.instance(ctx, c)
		switch {
		case errors.Is(err, ErrNotRunning):
			return false, "no instance runs", nil
		case err != nil:
			return false, err.Error(), nil // the runtime may be busy; the timeout decides
		case slices.Contains(w.not, i.ID):
			return false, fmt.Sprintf("the old instance (process %d) still runs and no new one", i.PID), nil
		case len(g.Args) > 0 && !harden.SameArgs(i.Args, g.Args):
			return false, fmt.Sprintf("process %d runs with other arguments than planned", i.PID), nil
		}
		found = i
		return true, "", nil
	})
	if err != nil {
		return Instance{}, gateError(c, err)
	}
	return found, nil
}

// crashed gives up early where instances start and die.
func (r *run) crashed(ctx context.Context, c harden.Component, since time.Time) error {
	if !c.StaticPod() {
		u, err := r.Node.Unit(ctx, c.Unit)
		if err == nil && u.Restarts >= crashLimit {
			return fmt.Errorf("systemd has restarted it %d times", u.Restarts)
		}
		return nil
	}
	n, words, err := r.Node.Crashes(ctx, c, since)
	if err != nil || n < crashLimit {
		return nil
	}
	if words != "" {
		return fmt.Errorf("%d new instances have exited; the last one said: %s", n, words)
	}
	return fmt.Errorf("%d new instances have exited", n)
}

// awaitHealth asks every probe anonymously until all of them succeed, and keep succeeding in the same instance. A 401 or 403
// that stays is final: the kubelet gets it too, and would kill the container minutes later.
func (r *run) awaitHealth(ctx context.Context, c harden.Component, g harden.Gate, i Instance, end time.Time) error {
	hold := holdFor
	if !c.StaticPod() {
		hold = kubeletHold
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: end.Sub(r.Clock.Now()), Message: harden.Msg("%s answers its probes for %s", c.ID, hold)})
	var since, refused time.Time
	err := r.poll(ctx, end, func() (bool, string, error) {
		now, err := r.instance(ctx, c)
		if err != nil || now.ID != i.ID {
			if crash := r.crashed(ctx, c, i.Started); crash != nil {
				return false, "", crash
			}
			return false, "", errors.New("its new instance has gone")
		}
		for _, p := range g.Probes {
			res := r.Node.Probe(ctx, p)
			if !res.Healthy(p) {
				since = time.Time{}
				switch {
				case res.Status != 401 && res.Status != 403:
					refused = time.Time{}
				case refused.IsZero():
					refused = r.Clock.Now()
				case r.Clock.Now().Sub(refused) >= refusalGrace:
					return false, "", fmt.Errorf("its %s probe %s: the kubelet would kill it", p.Name, describe(p, res))
				}
				return false, fmt.Sprintf("its %s probe %s", p.Name, describe(p, res)), nil
			}
		}
		if since.IsZero() {
			since = r.Clock.Now()
		}
		return r.Clock.Now().Sub(since) >= hold, "it was not healthy for long enough", nil
	})
	return gateError(c, err)
}

// awaitNode waits for the Node object to tell of the new kubelet. Where the API cannot be asked that is said, not guessed.
func (r *run) awaitNode(ctx context.Context, c harden.Component, i Instance) error {
	if c.StaticPod() || r.Cluster == nil {
		return nil
	}
	failures := 0
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: readyWait, Message: harden.Msg("node %s is Ready", r.plan.Target.Node)})
	err := r.poll(ctx, r.Clock.Now().Add(readyWait), func() (bool, string, error) {
		ready, reason, err := r.Cluster.NodeReady(ctx, r.plan.Target.Node, i.Started)
		if err != nil {
			failures++
			if failures >= 6 {
				r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("the API cannot be asked whether the node is Ready: %s", err.Error())})
				return true, "", nil
			}
			return false, err.Error(), nil
		}
		return ready, "the node is not Ready: " + reason, nil
	})
	return gateError(c, err)
}

func gateError(c harden.Component, err error) error {
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	return fmt.Errorf("gate of %s: %w", c.ID, err)
}

// assert asks for one change on the live component.
func (r *run) assert(ctx context.Context, g harden.Gate, p harden.Proof) error {
	proven := func() error {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: g.Component, Message: harden.Msg("proven for %s: %s %s", p.Control, string(p.Kind), p.Path)})
		return nil
	}
	unproven := func(why string) error {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: g.Component, Message: harden.Msg("not asked for %s: %s", p.Control, why)})
		return nil
	}
	switch p.Kind {
	case harden.ProofAnonymous:
		res := r.anonymous(ctx, g, p.Path)
		if res.Err != nil || res.Status != p.Status {
			return fmt.Errorf("proving %s: anonymous GET %s: wanted %d, got %s", p.Control, p.Path, p.Status, answer(res))
		}
		return proven()
	case harden.ProofAdmin:
		if r.Cluster == nil {
			return unproven("no administrator's credentials")
		}
		status, err := r.Cluster.AdminGet(ctx, p.Path, "kubectl-harden")
		if err != nil {
			return fmt.Errorf("proving %s: GET %s: %w", p.Control, p.Path, err)
		}
		if status != p.Status {
			return fmt.Errorf("proving %s: GET %s: wanted %d, got %d", p.Control, p.Path, p.Status, status)
		}
		return proven()
	case harden.ProofAuditLine:
		if err := r.auditLine(ctx, g, p); err != nil {
			return err
		}
		return proven()
	case harden.ProofConfigz:
		if r.Cluster == nil {
			return unproven("the API is not asked")
		}
		live, err := r.Cluster.Configz(ctx, r.plan.Target.Node)
		if err != nil {
			return unproven(err.Error())
		}
		if got := at(live, p.Path); !sameJSON(got, p.Want) {
			return fmt.Errorf("proving %s: the kubelet's %s is %v, wanted %v", p.Control, p.Path, got, p.Want)
		}
		return proven()
	}
	return fmt.Errorf("proving %s: unknown proof %q", p.Control, p.Kind)
}

func answer(res ProbeResult) string {
	if res.Err != nil {
		return res.Err.Error()
	}
	return fmt.Sprint(res.Status)
}

// anonymous asks the API server without credentials, where its probes are asked.
func (r *run) anonymous(ctx context.Context, g harden.Gate, path string) ProbeResult {
	for _, p := range g.Probes {
		return r.Node.Probe(ctx, harden.Probe{Name: "proof", Scheme: "HTTPS", Host: p.Host, Port: p.Port, Path: path})
	}
	return ProbeResult{Err: errors.New("the component has no probe to learn its address from")}
}

// auditLine makes a request of its own, which no policy of ours leaves out, and waits for it to show up in the log.
func (r *run) auditLine(ctx context.Context, g harden.Gate, p harden.Proof) error {
	marker := r.NewMarker()
	r.anonymous(ctx, g, "/api/v1/namespaces?kubectl-harden="+marker)
	err := r.poll(ctx, r.Clock.Now().Add(auditWait), func() (bool, string, error) {
		has, err := r.Node.LogHas(p.Path, marker)
		if err != nil {
			return false, err.Error(), nil
		}
		return has, "our own request is not in " + p.Path, nil
	})
	if err != nil && !errors.Is(err, errInterrupted) {
		return fmt.Errorf("proving %s: %w", p.Control, err)
	}
	return err
}

func at(m map[string]any, path string) any {
	var v any = m
	for _, k := range strings.Split(path, ".") {
		next, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = next[k]
	}
	return v
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
