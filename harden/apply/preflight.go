package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// healthyWait is how long a component may take to be seen healthy before it is touched: it may just have started.
	healthyWait = 30 * time.Second
	// journalRoom is kept free beside the contents that a transaction saves.
	journalRoom = 1 << 20
)

// preflight refuses before anything is written.
func (a *Applier) preflight(ctx context.Context, p harden.Plan) error {
	if err := a.sameTarget(p.Target); err != nil {
		return err
	}
	if v := a.Facts.Identity.KubernetesVersion; p.Target.KubernetesVersion != v {
		return elsewhere("Kubernetes version", p.Target.KubernetesVersion, v)
	}
	if err := harden.CheckPlan(p, a.Facts); err != nil {
		return err
	}
	if err := a.room(p); err != nil {
		return err
	}
	if err := a.safe(p); err != nil {
		return err
	}
	if blocking := p.Blocking(); len(blocking) > 0 {
		return blocked(blocking[0])
	}
	for _, s := range p.Steps() {
		if err := a.unchanged(ctx, s); err != nil {
			return err
		}
	}
	if p.Scope == harden.ScopeCluster && a.Cluster != nil {
		if err := a.Cluster.CheckIdentity(ctx, p.Target); err != nil {
			return err
		}
	}
	if err := a.stillRight(ctx, p); err != nil {
		return err
	}
	if err := a.unitsAnswer(ctx, p); err != nil {
		return err
	}
	if err := a.storable(ctx, p); err != nil {
		return err
	}
	if p.Switch != nil && !p.Target.Offline && a.Switch == nil {
		return &RefusedError{Why: "checking the plan: " + errNoSwitch.Error()}
	}
	if interrupted(ctx) != nil {
		return &RefusedError{Why: "interrupted before anything was changed"}
	}
	return nil
}

var errNoSwitch = errors.New("it can lock the operator out, and no dead man's switch can be armed here")

// stillRight asks what held when the plan was made: preconditions and health, or, of an undo, what it undoes. An undo does not
// ask for health, as it may be what brings it back.
func (a *Applier) stillRight(ctx context.Context, p harden.Plan) error {
	if p.Undoes != "" {
		return a.sameUndo(ctx, p)
	}
	unmet, err := harden.Recheck(p, a.Facts, a.Areas)
	if wrong, ok := errors.AsType[*harden.PlanError](err); ok {
		return wrong
	}
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	if len(unmet) > 0 {
		return blocked(unmet[0])
	}
	if p.Target.Offline {
		return nil
	}
	return a.healthyNow(ctx, p)
}

func (a *Applier) sameUndo(ctx context.Context, p harden.Plan) error {
	done, err := a.Store.Plan(p.Undoes)
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	in := harden.UndoInput{
		Done: harden.Done{ID: p.Undoes, Plan: done}, Controls: p.UndoesControls, Undone: p.Undone, Facts: a.Facts, Read: a.Node.State,
	}
	if a.Cluster != nil {
		in.Object = func(ref harden.ObjectRef) (harden.State, string, string, error) { return a.Cluster.Object(ctx, ref) }
	}
	return harden.CheckUndo(p, in)
}

func blocked(c harden.Check) error {
	who := c.Control
	if who == "" {
		who = string(c.Component)
	}
	if who == "" {
		who = "this node"
	}
	return &RefusedError{
		Why:   fmt.Sprintf("checking the plan: %s: it must hold that %s: %s", who, c.Title, c.Message),
		Hints: append(slices.Clone(c.Hints), "kubectl-harden plan"),
	}
}

func elsewhere(what, there, here string) error {
	return &RefusedError{
		Why:   fmt.Sprintf("checking the plan: it was made for another target: %s is %q there and %q here", what, there, here),
		Hints: []string{"kubectl-harden plan"},
	}
}

// sameTarget compares which machine of which cluster was meant (promise 15), and whether it runs.
func (a *Applier) sameTarget(t harden.Identity) error {
	if err := a.sameMachine(t); err != nil {
		return err
	}
	if t.Offline != a.Facts.Identity.Offline {
		return &RefusedError{Why: "checking the plan: it was made for an offline root and this is a live one, or the other way round"}
	}
	return nil
}

func (a *Applier) sameMachine(t harden.Identity) error {
	here := a.Facts.Identity
	for _, x := range []struct{ what, plan, here string }{
		{"node", t.Node, here.Node},
		{"machine id", t.MachineID, here.MachineID},
		{"cluster CA", t.CADigest, here.CADigest},
	} {
		if x.plan != x.here {
			return elsewhere(x.what, x.plan, x.here)
		}
	}
	if !t.Offline && (t.Node == "" || t.MachineID == "" && t.CADigest == "") {
		return &RefusedError{
			Why:   "checking the plan: which node it was made for is not known: there is neither machine id nor cluster CA to tell it by",
			Hints: []string{"systemd-machine-id-setup"},
		}
	}
	return nil
}

// unchanged compares a step's target with what the plan was made for (promise 1).
func (a *Applier) unchanged(ctx context.Context, s harden.Step) error {
	if s.Kind != harden.StepObject {
		now, err := a.Node.State(s.Path)
		if err != nil {
			return fmt.Errorf("checking the plan: %w", err)
		}
		if !now.Equal(s.Before) {
			return &DriftError{s, now}
		}
		return nil
	}
	if a.Cluster == nil {
		return &RefusedError{Why: fmt.Sprintf("checking the plan: %s: it needs the cluster's API, and there is none here", s.ID)}
	}
	now, uid, version, err := a.Cluster.Object(ctx, *s.Object)
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	if !now.Equal(s.Before) || uid != s.UID || version != s.ResourceVersion {
		return &DriftError{s, now}
	}
	return nil
}

// healthyNow refuses to touch a component that is not well: its gate could prove nothing, and its undo neither.
func (a *Applier) healthyNow(ctx context.Context, p harden.Plan) error {
	for _, st := range p.Stages {
		undo, err := st.Undo()
		if err != nil {
			return err
		}
		for _, e := range st.Effects {
			if e.Kind == harden.EffectStaticPod {
				if err := a.kubeletRuns(ctx); err != nil {
					return err
				}
				break
			}
		}
		if p.Mends(a.Clock.Now()) {
			continue // what it renews may be why nothing is well; its gates want health all the same
		}
		for _, g := range undo.Gates {
			for _, probe := range g.Probes {
				if err := a.answersNow(ctx, g.Component, probe); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unitsAnswer refuses where a unit is to restart and nobody is there who could do it, of an undo as well: files would be changed
// that no process reads.
func (a *Applier) unitsAnswer(ctx context.Context, p harden.Plan) error {
	if p.Target.Offline {
		return nil
	}
	for _, st := range p.Stages {
		for _, e := range st.Effects {
			if e.Kind != harden.EffectUnit && e.Kind != harden.EffectTable {
				continue
			}
			if e.Kind == harden.EffectTable && (a.Filter == nil || a.Logins == nil) {
				return &RefusedError{Why: "checking the node: " + errNoFilter.Error()}
			}
			c, ok := harden.ComponentByID(e.Component)
			if !ok {
				continue // its kind and component were compared before
			}
			if _, err := a.Node.Unit(ctx, c.Unit); err != nil {
				return &RefusedError{
					Why:   fmt.Sprintf("checking the node: %s has to be restarted and cannot be: %s", c.Unit, oneLine(err)),
					Hints: []string{"systemctl status " + c.Unit},
				}
			}
		}
	}
	return nil
}

// probe asks as the kubelet does.
func (a *Applier) probe(ctx context.Context, p harden.Probe) (harden.Probe, ProbeResult) {
	p = a.addressed(p)
	return p, a.Node.Probe(ctx, p)
}

// addressed is the probe with the host that the kubelet takes: where none is said, the pod's own address, which on the host's
// network is the node's. It is still empty where that is not known.
func (a *Applier) addressed(p harden.Probe) harden.Probe {
	if p.Host == "" {
		p.Host = a.Facts.NodeAddress()
	}
	return p
}

// kubeletRuns is wanted where a static pod is to restart: nobody else would do it.
func (a *Applier) kubeletRuns(ctx context.Context) error {
	c, _ := harden.ComponentByID(harden.Kubelet)
	u, err := a.Node.Unit(ctx, c.Unit)
	if err != nil || u.Active {
		return nil // where systemd cannot be asked, the gates tell
	}
	return &RefusedError{
		Why:   fmt.Sprintf("checking the node: %s is not active, and only the kubelet restarts static pods", c.Unit),
		Hints: []string{"systemctl status " + c.Unit},
	}
}

// answersNow refuses where a probe does not succeed.
func (a *Applier) answersNow(ctx context.Context, id harden.ComponentID, p harden.Probe) error {
	complaint, err := a.awaitAnswer(ctx, p)
	switch {
	case err != nil:
		return &RefusedError{Why: "interrupted before anything was changed"}
	case complaint != "":
		return &RefusedError{
			Why:   fmt.Sprintf("checking the node: %s is not healthy now: %s", id, complaint),
			Hints: []string{"kubectl-harden assess"},
		}
	}
	return nil
}

// awaitAnswer asks a probe until it succeeds, for a while, and says what was wrong in the end: an API server that has just begun
// to serve answers 403 at first.
func (a *Applier) awaitAnswer(ctx context.Context, p harden.Probe) (complaint string, err error) {
	for end := a.Clock.Now().Add(healthyWait); ; {
		p, res := a.probe(ctx, p)
		if res.Healthy(p) {
			return "", nil
		}
		if !a.Clock.Now().Before(end) {
			return fmt.Sprintf("its %s probe %s", p.Name, describe(p, res)), nil
		}
		if err := a.Clock.Sleep(ctx, time.Second); err != nil {
			return "", err
		}
	}
}

// room refuses where the originals or the new contents would find no room, or a file system takes no writes.
func (a *Applier) room(p harden.Plan) error {
	plan, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	saved, written := uint64(len(plan)), uint64(0)
	dirs := []string{a.StateDir}
	for _, s := range p.Steps() {
		saved += uint64(len(s.Before.Data) + len(s.After.Data))
		if s.Kind == harden.StepObject {
			continue
		}
		written += uint64(len(s.After.Data))
		if d := path.Dir(s.Path); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	for _, d := range dirs {
		readOnly, err := a.Files.ReadOnlyFS(d)
		if err != nil {
			return fmt.Errorf("checking the node: %w", err)
		}
		if readOnly {
			return &RefusedError{
				Why:   fmt.Sprintf("checking the node: %s: its file system is read-only", d),
				Hints: []string{"findmnt -T " + a.hereOrAbove(d)},
			}
		}
		free, err := a.Files.FreeBytes(d)
		if err != nil {
			return fmt.Errorf("checking the node: %w", err)
		}
		need := written
		if d == a.StateDir {
			need = saved + written + journalRoom // they may share a file system
		}
		if free < need {
			hints := a.roomHints(d)
			if p.Undoes != "" && d == a.StateDir {
				// It saves nothing, and undoes without that room.
				hints = append(hints, "sh "+a.here(path.Join(a.StateDir, "transactions", p.Undoes, "restore.sh")))
			}
			return &RefusedError{Why: fmt.Sprintf("checking the node: %s: %d bytes are free and %d are needed", d, free, need), Hints: hints}
		}
	}
	return nil
}

// safe refuses targets that would be refused when they are written, by then with half of the plan done (promise 13).
func (a *Applier) safe(p harden.Plan) error {
	refused := func(target string, err error) error {
		return &RefusedError{
			Why:   fmt.Sprintf("checking the node: %s", oneLine(err)),
			Hints: []string{"namei -l " + a.here(target), "lsattr -d " + a.hereOrAbove(target)},
		}
	}
	if err := a.Files.CheckReplace(path.Join(a.StateDir, "transactions", "new")); err != nil {
		return refused(a.StateDir, err)
	}
	for _, s := range p.Steps() {
		if err := s.CheckWrite(a.Files); err != nil {
			return refused(s.Path, err)
		}
	}
	return nil
}

// here is a path of the node as a shell on this machine takes it.
func (a *Applier) here(p string) string {
	return harden.Quote(path.Join("/", a.Facts.Identity.Root, p))
}

// hereOrAbove is here of what exists, on the way to a path.
func (a *Applier) hereOrAbove(p string) string {
	for p != "/" {
		if s, err := a.Node.State(p); err == nil && s.Exists {
			break
		}
		p = path.Dir(p)
	}
	return a.here(p)
}

// describe says what a probe answered: "(https://192.0.2.11:6443/livez) answered 401".
func describe(p harden.Probe, r ProbeResult) string {
	where := fmt.Sprintf("(%s://%s:%d%s)", strings.ToLower(p.Scheme), p.Host, p.Port, p.Path)
	if r.Err != nil {
		return fmt.Sprintf("%s failed: %v", where, r.Err)
	}
	return fmt.Sprintf("%s answered %d", where, r.Status)
}
