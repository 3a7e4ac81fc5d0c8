package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// canaryHold is how long the canary's probes have to succeed.
	canaryHold = 2 * time.Second
	// canaryGuard is how long a canary may be there at most; what is armed outside of this process removes it then.
	canaryGuard = 6 * time.Minute
	// canaryGone is how long its container may take to end, before it is ended.
	canaryGone = 15 * time.Second
	// canaryQuiet is how long a kubelet that has seen a manifest may take to make a container of it, although the manifest is
	// gone by then.
	canaryQuiet = 10 * time.Second
)

// canary is one that may run, and what is known of it.
type canary struct {
	harden.Canary
	stage int
	step  harden.Step // its manifest, a target of the transaction
	since time.Time   // when that was written
}

func canaryStep(stage int) string { return fmt.Sprintf("canary of stage %d", stage+1) }

// canaryEntry is the journal of a canary, before anything of it is made.
type canaryEntry struct {
	Stage int      `json:"stage"`
	Step  string   `json:"step"`
	Log   string   `json:"log,omitempty"`  // its audit log on the host
	Made  []string `json:"made,omitempty"` // directories that the kubelet makes for it, outer ones first

	since time.Time // when the journal told of it
	seen  bool      // its container was
}

// canaryTargets are the manifests of canaries that a journal knows.
func canaryTargets(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		var c canaryEntry
		if e.Kind == kindCanary && json.Unmarshal(e.Data, &c) == nil {
			out = append(out, c.Step)
		}
	}
	return out
}

// prepare refuses what cannot be rehearsed and was not accepted, and makes the canaries' manifests, by stage.
func (a *Applier) prepare(ctx context.Context, p harden.Plan) (map[int]*canary, error) {
	out := map[int]*canary{}
	if p.Target.Offline {
		return out, nil
	}
	for i, st := range p.Stages {
		for _, re := range harden.Rehearsals(st, a.Facts, p.Undoes != "") {
			if err := a.refusesRehearsal(p, re); err != nil {
				return nil, err
			}
			if !re.Canary {
				continue
			}
			address := ""
			if p.Handover != nil && p.Handover.Obstacle.IsZero() {
				redirect, _ := harden.HandoverTo(p, a.Facts)
				address = redirect.Address
			}
			k, err := a.newCanary(ctx, i, st, re.Component, address)
			switch {
			case errors.As(err, new(*noPortError)) && p.Accepts(re.Component):
				a.say(harden.EventUnproven, harden.Msg("%s is not rehearsed: %s", re.Component, oneLine(err)))
			case err != nil:
				return nil, err
			default:
				out[i] = k
			}
		}
	}
	return out, nil
}

func (a *Applier) newCanary(ctx context.Context, stage int, st harden.Stage, id harden.ComponentID, address string) (*canary, error) {
	k := &canary{stage: stage}
	for _, s := range st.ForComponent(id) {
		if s.Kind != harden.StepFile || !s.After.Exists {
			continue
		}
		file := path.Join(path.Dir(s.Path), harden.CanaryFile)
		there, err := a.Node.State(file)
		if err != nil {
			return nil, fmt.Errorf("rehearsing %s: %w", id, err)
		}
		if there.Exists {
			return nil, &RefusedError{
				Why:   fmt.Sprintf("rehearsing %s: %s is there already, left by an earlier run", id, file),
				Hints: []string{"kubectl-harden status --clean"},
			}
		}
		port, err := a.Node.FreePort(ctx)
		if err != nil {
			return nil, &noPortError{RefusedError{
				Why:   fmt.Sprintf("rehearsing %s: no port for a second instance: %s", id, oneLine(err)),
				Hints: []string{"ss -ltn", "kubectl-harden plan --accept " + string(id)},
			}}
		}
		in := harden.CanaryInput{Manifest: s.After.Data, Port: port, Resident: a.Facts.Component(id).Process.Resident, Address: address}
		if k.Canary, err = harden.NewCanary(in); err != nil {
			return nil, err
		}
		after := harden.State{Exists: true, Data: k.Manifest, Mode: 0o600}
		k.step = harden.Step{ID: canaryStep(stage), Kind: harden.StepFile, Path: file, Component: id, After: after}
		return k, nil
	}
	return nil, fmt.Errorf("rehearsing %s: it has no planned manifest", id)
}

// noPortError: a second instance has nowhere to listen, which whoever accepts that the component is not rehearsed can live with.
type noPortError struct{ RefusedError }

func (e *noPortError) Unwrap() error { return &e.RefusedError }

// resumeCanary is the canary that an interrupted transaction was to run.
func (r *run) resumeCanary(stage int, st harden.Stage) error {
	manifest, ok := r.tx.Content(canaryStep(stage))
	if !ok {
		return nil
	}
	c, err := harden.ReadCanary(manifest.Data)
	if err != nil {
		return err
	}
	for _, re := range harden.Rehearsals(st, r.Facts, false) {
		if re.Canary {
			r.canaries[stage] = &canary{Canary: c, stage: stage, step: harden.Step{
				ID: canaryStep(stage), Kind: harden.StepFile, Component: re.Component, After: manifest,
			}}
		}
	}
	return nil
}

// files are the manifests that the transaction may write on its own account.
func files(canaries map[int]*canary) []harden.Step {
	var out []harden.Step
	for _, stage := range slices.Sorted(maps.Keys(canaries)) {
		out = append(out, canaries[stage].step)
	}
	return out
}

// runCanary runs the stage's canary until it has proven itself, and takes it away again, whatever it has shown, unless it is to
// take connections over.
func (r *run) runCanary(ctx context.Context, st harden.Stage, k *canary) error {
	err := r.startCanary(ctx, k)
	if err == nil {
		err = r.proveCanary(ctx, st, k)
	}
	if err != nil {
		return err // the undo takes it away first of all
	}
	if r.handsOver(k.stage) {
		return nil
	}
	return r.endCanary(ctx)
}

// canaryGuardOf is what takes a canary away in our place.
func canaryGuardOf(k *canary) Guard {
	g := Guard{Name: harden.CanaryName, About: "kubectl-harden: remove a rehearsal's API server", Remove: []string{k.step.Path}, After: canaryGuard}
	if k.AuditLog != "" {
		g.Remove = append(g.Remove, k.AuditLog)
	}
	return g
}

// startCanary puts its manifest where the kubelet finds it. Its end is certain before: it is in the journal, and what is armed
// outside of this process removes it after our death and after a reboot.
func (r *run) startCanary(ctx context.Context, k *canary) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	entry := canaryEntry{Stage: k.stage, Step: k.step.ID, Log: k.AuditLog, Made: r.missing(k.Makes), since: r.Clock.Now()}
	if err := r.tx.Log(kindCanary, entry); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.canary = &entry
	if err := r.Node.Arm(ctx, canaryGuardOf(k)); err != nil {
		return &RehearsalError{
			Component: k.step.Component, Said: fmt.Sprintf("its removal cannot be armed, so no second instance is started: %s", oneLine(err)),
			Hints: []string{"systemctl status"},
		}
	}
	k.since = entry.since
	if err := r.tx.Put(k.step.ID); err != nil {
		return fmt.Errorf("writing %s: %w", k.step.Path, err)
	}
	where := harden.Msg("a second %s as planned, on port %d of this node only", k.step.Component, k.Port)
	if !loopback(k.Host) {
		where = harden.Msg("a second %s as planned, at %s", k.step.Component, hostPort(k.Host, k.Port))
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: k.step.Component, Timeout: canaryWait, Message: where})
	return nil
}

// missing are the directories on the way to these paths that are not there yet, outer ones first, and the paths themselves.
func (r *run) missing(paths []string) []string {
	var out []string
	for _, p := range paths {
		var way []string
		for ; p != "/" && p != "."; p = path.Dir(p) {
			if s, err := r.Node.State(p); err != nil || s.Exists {
				break
			}
			way = append(way, p)
		}
		slices.Reverse(way)
		for _, d := range way {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// canaryWait is how long a canary may take to serve.
const canaryWait = 2 * time.Minute

// proveCanary wants of the canary what the live one's gate will want: its arguments, its probes as the kubelet asks them, and the
// proofs of the changes; and besides that its own checks and a write that is not kept.
func (r *run) proveCanary(ctx context.Context, st harden.Stage, k *canary) error {
	c, _ := harden.ComponentByID(k.step.Component)
	live, _ := st.Gate(c.ID)
	gate := k.Gate(live)
	fail := func(err error) error {
		if errors.Is(err, errInterrupted) {
			return err
		}
		return &RehearsalError{Component: c.ID, Said: fmt.Sprintf("a second instance as planned: %s", oneLine(err)), Hints: r.lookAgain()}
	}
	began := r.Clock.Now()
	s := &settling{run: r, c: c, gate: gate}
	if err := r.poll(ctx, began.Add(canaryWait), func() (bool, string, error) { return r.lookAtCanary(ctx, s, k.since) }); err != nil {
		return fail(err)
	}
	r.tell(harden.Event{
		Kind: harden.EventPassed, Component: c.ID,
		Message: harden.Msg("the second %s serves as planned (process %d, after %s)", c.ID, s.now.PID, r.Clock.Now().Sub(began).Round(100*time.Millisecond)),
	})
	asked := r.canaryAPI(k)
	if err := r.selfChecks(ctx, c, asked); err != nil {
		return fail(err)
	}
	if err := r.trialWrite(ctx, c, asked); err != nil {
		return fail(err)
	}
	for _, p := range gate.Proofs {
		if err := r.assert(ctx, question{gate: gate, api: asked, canary: true}, p); err != nil {
			return fail(err)
		}
	}
	state, err := r.Node.Canary(ctx, k.since)
	if err == nil && state.Instance.ID != s.now.ID {
		return fail(fmt.Errorf("it has gone while it was asked%s", saying(state.Words)))
	}
	return nil
}

func saying(words string) string {
	if words == "" {
		return ""
	}
	return "; it said: " + words
}

// lookAtCanary follows the canary until its probes have succeeded for a while. It has one life: the first end is final.
func (r *run) lookAtCanary(ctx context.Context, s *settling, since time.Time) (done bool, pending string, err error) {
	state, err := r.Node.Canary(ctx, since)
	r.canary.seen = r.canary.seen || state.There
	switch {
	case err != nil:
		return false, oneLine(err), nil
	case state.Exited:
		return false, "", fmt.Errorf("it has exited%s", saying(state.Words))
	case !state.Running:
		return false, "it has not started", nil
	case !harden.SameArgs(state.Instance.Args, s.gate.Args):
		return false, fmt.Sprintf("process %d runs with other arguments than planned", state.Instance.PID), nil
	}
	s.now = state.Instance
	pending, err = s.ask(ctx)
	if pending != "" || err != nil {
		s.healthy = time.Time{}
		return false, pending, err
	}
	s.refused = time.Time{}
	if s.healthy.IsZero() {
		s.healthy = r.Clock.Now()
	}
	return r.Clock.Now().Sub(s.healthy) >= canaryHold, "it was not healthy for long enough", nil
}

// canaryAPI asks the canary with the administrator's credentials; nil where there are none.
func (r *run) canaryAPI(k *canary) API {
	if r.Cluster == nil {
		return nil
	}
	return r.Cluster.At(k.Host, k.Port)
}

// selfChecks asks the canary for its own checks, with credentials, until all of them pass.
func (r *run) selfChecks(ctx context.Context, c harden.Component, api API) error {
	if api == nil {
		r.unproven(c.ID, harden.Msg("what the second %s says of itself is not asked: there are no administrator's credentials", c.ID))
		return nil
	}
	return r.poll(ctx, r.Clock.Now().Add(proofWait), func() (bool, string, error) {
		ready, failing, err := api.Readyz(ctx)
		if err != nil {
			return false, oneLine(err), nil
		}
		return ready && len(failing) == 0, fmt.Sprintf("its own checks fail: %q", failing), nil
	})
}

// trialWrite asks the canary for a write that is not kept. What fails on the live one too says nothing about the plan.
func (r *run) trialWrite(ctx context.Context, c harden.Component, api API) error {
	if api == nil {
		return nil
	}
	err := api.TrialWrite(ctx)
	if err == nil {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("the second %s passes its own checks and takes a write", c.ID)})
		return nil
	}
	if live := r.Cluster.TrialWrite(ctx); live != nil {
		r.unproven(c.ID, harden.Msg("whether it takes a write is not known: the live one does not either: %s", oneLine(live)))
		return nil
	}
	return fmt.Errorf("it does not take a write that the live one takes: %w", err)
}

// endCanary takes the canary away: its manifest, its container, what was made for it, and at last what was armed to do so. What
// is not there any more is no error. Nothing keeps it from trying.
func (r *run) endCanary(ctx context.Context) error {
	if r.canary == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	entry := *r.canary
	if err := r.tx.Revert(entry.Step); err != nil {
		return fmt.Errorf("removing the canary's manifest: %w", err) // what is armed tries again
	}
	if r.touched()[entry.Step] {
		if err := r.awaitCanaryGone(ctx, &entry); err != nil {
			return err
		}
	}
	var errs []error
	if kept := r.keptLog(); entry.Log != "" && kept != "" {
		errs = append(errs, r.Handover.KeepLog(entry.Log, kept))
	} else if entry.Log != "" {
		errs = append(errs, r.Node.Clear(entry.Log))
	}
	for _, d := range slices.Backward(entry.Made) {
		errs = append(errs, r.Node.Clear(d))
	}
	errs = append(errs, r.Node.Disarm(ctx, harden.CanaryName))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what the canary has left: %w", err)
	}
	r.canary = nil
	_ = r.tx.Log(kindCanaryGone, nil)
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("the second instance is gone, and what was made for it")})
	return nil
}

// awaitCanaryGone waits for the end of the canary's container: of one that was seen, or that the kubelet may still make of a
// manifest that it has read. Where there is no runtime to ask, the manifest that is gone has to do; one that does not answer tells
// nothing.
func (r *run) awaitCanaryGone(ctx context.Context, entry *canaryEntry) error {
	stopped, began := false, r.Clock.Now()
	err := r.poll(ctx, began.Add(2*canaryGone), func() (bool, string, error) {
		state, err := r.Node.Canary(ctx, entry.since)
		now := r.Clock.Now()
		entry.seen = entry.seen || state.There
		switch {
		case errors.Is(err, ErrNoRuntime):
			return true, "", nil
		case err != nil:
			return false, oneLine(err), nil
		case state.Exited, entry.seen && !state.There:
			return true, "", nil
		case !state.There:
			return now.Sub(began) >= canaryQuiet, "whether the kubelet makes a container of it is not seen yet", nil
		case !stopped && now.Sub(began) >= canaryGone:
			stopped = r.Node.StopCanary(ctx) == nil
		}
		return false, "its container has not ended", nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the canary's end: %w", err)
	}
	return nil
}
