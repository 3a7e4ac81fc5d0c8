// Package apply runs plans: it writes a plan's steps through a write-ahead transaction, brings about their effects, proves
// the result by gates, and goes back by itself when a gate fails. It is the only package that acts.
package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Applier runs plans on one node and its cluster.
type Applier struct {
	Node Node
	// Cluster is nil where there is none to ask.
	Cluster Cluster
	Store   Store
	Clock   Clock
	// Identity is where we are; a plan made elsewhere is refused.
	Identity harden.Identity
	// Soak is how long health is watched after the last gate.
	Soak time.Duration
	// Events hears what the journal was told, after it was told. May be nil.
	Events func(harden.Event)
	// NewMarker makes a unique word for the audit proof.
	NewMarker func() string
}

// RefusedError says why a plan was not begun. Nothing was changed.
type RefusedError struct {
	Why   string
	Hints []string
}

func (e *RefusedError) Error() string { return e.Why }

// DriftError is a target that is no longer what the plan was made for.
type DriftError struct {
	Step harden.Step
	Now  harden.State
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("checking the plan: %s: it changed since the plan was made", e.Step.ID)
}

// Apply does what the plan says. When anything fails after the first change, everything goes back, gated too.
func (a *Applier) Apply(ctx context.Context, p harden.Plan) harden.Result {
	if p.Empty() {
		return harden.Result{Outcome: harden.OutcomeApplied, Message: harden.Msg("nothing to do")}
	}
	if r, refused := a.preflight(ctx, p); refused {
		return r
	}
	tx, err := a.Store.Begin(p, scriptFor(p))
	if err != nil {
		return refusal(fmt.Errorf("saving the originals: %w", err))
	}
	r := &run{Applier: a, plan: p, tx: tx, before: map[harden.ComponentID]Instance{}}
	return r.forward(ctx)
}

// preflight refuses before anything is written.
func (a *Applier) preflight(ctx context.Context, p harden.Plan) (harden.Result, bool) {
	unsettled, err := a.Store.Unsettled()
	if err != nil {
		return refusal(fmt.Errorf("looking for interrupted transactions: %w", err)), true
	}
	if len(unsettled) > 0 {
		return harden.Result{
			Outcome:     harden.OutcomeUnsettled,
			Transaction: unsettled[0],
			Message:     harden.Msg("transaction %s was interrupted and has to be settled first", unsettled[0]),
			Hints:       []string{"kubectl-harden recover"},
		}, true
	}
	if err := a.sameTarget(p.Target); err != nil {
		return refusal(err), true
	}
	if blocking := p.Blocking(); len(blocking) > 0 {
		b := blocking[0]
		return refusal(fmt.Errorf("checking the plan: %s: %s", b.Title, b.Message)), true
	}
	for _, s := range p.Steps() {
		if err := a.unchanged(ctx, s); err != nil {
			return refusal(err), true
		}
	}
	if p.Scope == harden.ScopeCluster && a.Cluster != nil {
		if err := a.Cluster.CheckIdentity(ctx, p.Target); err != nil {
			return refusal(err), true
		}
	}
	if p.Undoes == "" && !p.Target.Offline {
		if err := a.healthyNow(ctx, p); err != nil {
			return refusal(err), true
		}
	}
	return harden.Result{}, false
}

func (a *Applier) sameTarget(t harden.Identity) error {
	for _, x := range []struct{ what, plan, here string }{
		{"node", t.Node, a.Identity.Node},
		{"machine id", t.MachineID, a.Identity.MachineID},
		{"cluster CA", t.CADigest, a.Identity.CADigest},
		{"Kubernetes version", t.KubernetesVersion, a.Identity.KubernetesVersion},
	} {
		if x.plan != x.here {
			return &RefusedError{
				Why:   fmt.Sprintf("checking the plan: it was made for another target: %s is %q there and %q here", x.what, x.plan, x.here),
				Hints: []string{"kubectl-harden plan"},
			}
		}
	}
	if t.Offline != a.Identity.Offline {
		return &RefusedError{Why: "checking the plan: it was made for an offline root and this is a live one, or the other way round"}
	}
	return nil
}

// unchanged compares a step's target with what the plan was made for (promise 1).
func (a *Applier) unchanged(ctx context.Context, s harden.Step) error {
	var now harden.State
	var err error
	if s.Kind == harden.StepObject {
		if a.Cluster == nil {
			return &RefusedError{Why: fmt.Sprintf("checking the plan: %s: it needs the cluster's API, and there is none here", s.ID)}
		}
		now, _, _, err = a.Cluster.Object(ctx, *s.Object)
	} else {
		now, err = a.Node.State(s.Path)
	}
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	if s.Kind == harden.StepDir {
		if now.Exists != s.Before.Exists {
			return &DriftError{s, now}
		}
		return nil
	}
	if !now.Equal(s.Before) {
		return &DriftError{s, now}
	}
	return nil
}

// healthyNow refuses to touch a component that is not well: its gate could prove nothing, and its undo neither.
func (a *Applier) healthyNow(ctx context.Context, p harden.Plan) error {
	for _, st := range p.Stages {
		back, err := st.Back()
		if err != nil {
			return err
		}
		for _, g := range back.Gates {
			for _, probe := range g.Probes {
				if r := a.Node.Probe(ctx, probe); !r.Healthy(probe) {
					return &RefusedError{
						Why:   fmt.Sprintf("checking the node: %s is not healthy now: its %s probe %s", g.Component, probe.Name, describe(probe, r)),
						Hints: []string{"kubectl-harden assess"},
					}
				}
			}
		}
	}
	return nil
}

// describe says what a probe answered: "(https://192.0.2.11:6443/livez) answered 401".
func describe(p harden.Probe, r ProbeResult) string {
	where := fmt.Sprintf("(%s://%s:%d%s)", strings.ToLower(p.Scheme), p.Host, p.Port, p.Path)
	if r.Err != nil {
		return fmt.Sprintf("%s failed: %v", where, r.Err)
	}
	return fmt.Sprintf("%s answered %d", where, r.Status)
}

func refusal(err error) harden.Result {
	r := harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("%s", err.Error())}
	var refused *RefusedError
	var drift *DriftError
	switch {
	case errors.As(err, &refused):
		r.Hints = refused.Hints
	case errors.As(err, &drift):
		r.Hints = []string{"kubectl-harden plan"}
		r.Drift = &harden.Drift{Target: drift.Step.ID, Planned: drift.Step.Before, After: drift.Step.After, Now: drift.Now}
	}
	return r
}

// scriptFor are the lines that make restored files count, for the way out by hand.
func scriptFor(p harden.Plan) Script {
	var s Script
	for _, st := range p.Stages {
		for _, e := range st.Effects {
			switch e.Kind {
			case harden.EffectSysctl:
				for _, k := range sortedKeys(e.Prior) {
					s.Tail = append(s.Tail, "sysctl -w "+quote(k+"="+e.Prior[k]))
				}
			case harden.EffectUnit:
				c, _ := harden.ComponentByID(e.Component)
				if !p.Target.Offline {
					s.Tail = append(s.Tail, "systemctl restart "+quote(c.Unit))
				}
			}
		}
		for _, step := range st.Steps {
			if step.Kind != harden.StepObject {
				continue
			}
			if !step.Before.Exists {
				s.Tail = append(s.Tail, objectCommand("delete --ignore-not-found", *step.Object))
			} else {
				s.Tail = append(s.Tail, "# "+step.Object.String()+" existed before: its former content is in plan.json")
			}
		}
	}
	return s
}

func objectCommand(verb string, ref harden.ObjectRef) string {
	cmd := "kubectl --kubeconfig /etc/kubernetes/admin.conf " + verb + " " + quote(strings.ToLower(ref.Kind)) + " " + quote(ref.Name)
	if ref.Namespace != "" {
		cmd += " -n " + quote(ref.Namespace)
	}
	return cmd
}

// quote makes one word of POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
