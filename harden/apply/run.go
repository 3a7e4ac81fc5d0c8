package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// run is one transaction on its way.
type run struct {
	*Applier
	plan harden.Plan
	tx   Tx
	// asPlanned is the plan as it was applied; an undo that keeps what others have changed goes by another one.
	asPlanned harden.Plan
	before    map[harden.ComponentID]startedEntry // as they were before the first change
	proven    map[harden.ComponentID]Instance     // the ones that passed their gates
	// resumed says that another process began this transaction, so that things may be done already.
	resumed   bool
	undone    map[harden.ComponentID]bool // components proven to run as before, by an earlier undo
	due       time.Time                   // when the dead man's switch runs out; zero while it is not armed
	at        int                         // the stage that is under way
	canaries  map[int]*canary             // by stage
	rehearsed map[int]bool                // stages
	notAsked  map[harden.ComponentID]bool // components whose own program cannot be asked, which was accepted
	canary    *canaryEntry                // the one that is there, or may be
	beyond    map[int]bool                // stages that have passed their point of no simple return
	saved     bool                        // the snapshot of etcd is complete
	handed    *handoverEntry              // connections were led elsewhere, or may have been
	hand      *handover                   // by this process
	traffic   *traffic                    // where objects can cut it
	table     *tableProof                 // of the packet filter, once it was changed
	// handedBack says that nothing of that is there any more; leads, why it may be there still.
	handedBack bool
	leads      error
	waited     bool         // for confirm, so that others had time to change what it has changed
	shown      *harden.Plan // of its undo, where one was
	theirs     []string     // targets in which others' changes stay
	kept       []string     // directories that should be gone and hold what others put there
	owed       []error      // objects that could not be put back, because the API could not be asked
	single     *bool        // whether this is the only control plane, once that was asked
	unproved   []string     // components whose undo could not be proven, because they were not well before it either
	mends      bool         // it renews what had ended when it began, so that not all needs to be well before
}

// startedEntry is the journal of a component before its first change.
type startedEntry struct {
	Component harden.ComponentID `json:"component"`
	Instance  Instance           `json:"instance"`
	Restarts  int                `json:"restarts,omitempty"` // of a unit, as systemd counts them
	Unwell    string             `json:"unwell,omitempty"`   // what was wrong with it before an undo, or the renewal of what had ended
}

func newRun(a *Applier, p harden.Plan, tx Tx) *run {
	return &run{
		Applier: a, plan: p, asPlanned: p, tx: tx, mends: p.Mends(a.Clock.Now()), before: map[harden.ComponentID]startedEntry{},
		proven: map[harden.ComponentID]Instance{}, canaries: map[int]*canary{}, rehearsed: map[int]bool{}, undone: map[harden.ComponentID]bool{},
		notAsked: map[harden.ComponentID]bool{}, beyond: map[int]bool{},
	}
}

func (r *run) live() bool { return !r.plan.Target.Offline }

// forward writes the plan and proves it, or undoes it.
func (r *run) forward(ctx context.Context) harden.Result {
	if !r.resumed {
		r.tell(harden.Event{Kind: harden.EventBegun, Target: r.tx.Script(), Message: harden.Msg("originals are saved; the way out by hand is %s", r.tx.Script())})
	}
	for i, st := range r.plan.Stages {
		r.at = i
		if err := r.stage(ctx, st); err != nil {
			return r.undo(ctx, err, i)
		}
	}
	if err := r.endCanary(ctx); err != nil {
		return r.undo(ctx, err, len(r.plan.Stages)-1)
	}
	if err := r.soak(ctx); err != nil {
		return r.undo(ctx, err, len(r.plan.Stages)-1)
	}
	r.settleRedirect(ctx)
	if r.switched() {
		return r.wait(ctx)
	}
	return r.commit(ctx)
}

// commit ends a transaction whose gates have all passed.
func (r *run) commit(ctx context.Context) harden.Result {
	res := r.leading(harden.Result{
		Transaction: r.tx.ID(), Outcome: harden.OutcomeApplied, Script: r.tx.Script(), Message: r.praise(),
		Hints: []string{"kubectl-harden rollback " + r.tx.ID()},
	})
	done := harden.Event{Kind: harden.EventFinished, Outcome: res.Outcome, Message: res.Message}
	if err := r.tx.Log(kindPassed, nil); err != nil {
		// Everything is written and proven: whether to keep it is the operator's to say once the journal can be written.
		res.Outcome, res.Hints = harden.OutcomeUnsettled, []string{"kubectl-harden recover --finish", "kubectl-harden recover"}
		res.Message = harden.Msg("every gate has passed, and the journal cannot be written: %s", oneLine(err))
		r.hear(harden.Event{Kind: harden.EventFinished, Outcome: res.Outcome, Message: res.Message})
		return res
	}
	r.disarm(context.WithoutCancel(ctx))
	r.journal(&done)
	if err := r.tx.Close(res.Outcome); err != nil {
		res.Outcome, res.Hints = harden.OutcomeUnsettled, []string{"kubectl-harden recover"}
		res.Message = harden.Msg("every gate has passed, and the end of the transaction cannot be written: %s", oneLine(err))
		done.Outcome, done.Message = res.Outcome, res.Message
	}
	r.hear(done)
	return res
}

func (r *run) praise() harden.Message {
	switch {
	case !r.live():
		return harden.Msg("written; no kubelet runs from this root, so nothing restarted and nothing was proven")
	case len(r.unproved) > 0:
		return harden.Msg("undone; not proven to be well, as they were not before either: %s", strings.Join(r.unproved, ", "))
	case r.plan.Undoes != "":
		return harden.Msg("undone, every gate has passed")
	}
	return harden.Msg("applied, every gate has passed")
}

// stage goes through its phases in the order that is safe (design: 5): what nothing reads yet is written first, so that it can
// be rehearsed with; then component after component; then what nothing reads any more goes.
func (r *run) stage(ctx context.Context, st harden.Stage) error {
	for _, phase := range []func(context.Context, harden.Stage) error{
		r.keysAgree, r.passPoint, r.stageFiles, r.rehearse, r.saveEtcd, r.arm, r.loadSysctls, r.components, r.removeFiles,
		r.seeTraffic, r.putObjects, r.proveTraffic, r.rewrite, r.proveStored,
	} {
		if err := phase(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// stageFiles writes directories and files that no component restarts for.
func (r *run) stageFiles(ctx context.Context, st harden.Stage) error {
	return r.putFiles(ctx, st, true)
}

// removeFiles takes away what no component reads any more.
func (r *run) removeFiles(ctx context.Context, st harden.Stage) error {
	return r.putFiles(ctx, st, false)
}

func (r *run) putFiles(ctx context.Context, st harden.Stage, remain bool) error {
	for _, s := range st.Steps {
		if s.Kind == harden.StepObject || s.Component != "" || s.After.Exists != remain {
			continue
		}
		if err := r.put(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// components goes from one to the next in the plan's order; each one's steps are done together.
func (r *run) components(ctx context.Context, st harden.Stage) error {
	done := map[harden.ComponentID]bool{}
	for _, s := range st.Steps {
		if s.Component == "" || done[s.Component] {
			continue
		}
		done[s.Component] = true
		c, ok := harden.ComponentByID(s.Component)
		if !ok {
			return fmt.Errorf("writing %s: unknown component %q", s.ID, s.Component)
		}
		if err := r.component(ctx, st, c); err != nil {
			return err
		}
	}
	return nil
}

// component swaps a component's files, lets it restart once, and proves the new instance.
func (r *run) component(ctx context.Context, st harden.Stage, c harden.Component) error {
	if c.Loads() {
		return r.loadTable(ctx, st, c)
	}
	if err := r.stopped(ctx); err != nil {
		return err
	}
	effect, restarts := st.Effect(c.ID)
	restarts = restarts && r.live()
	if restarts {
		if err := r.askMembers(ctx, c); err != nil {
			return err
		}
		if err := r.beforeRestart(ctx, st, c); err != nil {
			return err
		}
		if err := r.remember(ctx, st, c); err != nil {
			return err
		}
	}
	was := r.before[c.ID]
	leaving := r.follow(c, was.Instance)
	hand, err := r.beginHandover(ctx, c, was.Instance, leaving)
	if err != nil {
		return err
	}
	changed := r.Clock.Now()
	swap := func() error {
		for _, s := range st.ForComponent(c.ID) {
			if err := r.put(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
	if hand != nil {
		err = r.swapFrozen(ctx, leaving, swap)
	} else {
		err = swap()
	}
	if err != nil || !restarts {
		return err
	}
	w := want{since: changed, restarts: was.Restarts}
	if was.Instance.ID != "" {
		w.not = []string{was.Instance.ID}
	}
	if !r.resumed || !r.restartedBy(ctx, c) {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if err := r.tx.Log(kindEffect, effect); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		if err := r.restart(ctx, c); err != nil {
			return err
		}
	}
	r.shorten(ctx, c, was.Instance, leaving, changed)
	gate, _ := st.Gate(c.ID)
	switch {
	case was.Unwell != "" && !r.mends:
		return r.proveUnwell(ctx, c, gate, w)
	case hand == nil:
		if err := r.prove(ctx, c, gate, w); err != nil {
			return err
		}
		return r.afterRestart(ctx, st, c)
	}
	if err := r.awaitBehind(ctx, c, gate, w); err != nil {
		return err
	}
	if err := r.prove(ctx, c, gate, w); err != nil {
		return err
	}
	return r.finishHandover(ctx)
}

// proveUnwell is of an undo: that what was not well before does not get well by it is no reason to bring the change back.
func (r *run) proveUnwell(ctx context.Context, c harden.Component, gate harden.Gate, w want) error {
	gate.Timeout = min(gate.Timeout, unwellWait)
	err := r.prove(ctx, c, gate, w)
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	r.unproved = append(r.unproved, string(c.ID))
	r.unproven(c.ID, harden.Msg("%s was not well before the undo (%s), and is not after it: %s", c.ID, r.before[c.ID].Unwell, oneLine(err)))
	return nil
}

// remember notes the instance that runs before the first change, so that the gate does not take it for the new one.
func (r *run) remember(ctx context.Context, st harden.Stage, c harden.Component) error {
	if _, known := r.before[c.ID]; known {
		return nil // a process that died had begun
	}
	i, err := r.instance(ctx, c)
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return fmt.Errorf("looking at %s: %w", c.ID, err)
	}
	entry := startedEntry{Component: c.ID, Instance: i, Restarts: r.restarts(ctx, c)}
	if r.plan.Undoes != "" || r.mends {
		entry.Unwell = r.unwell(ctx, st, c)
	}
	if r.mends && entry.Unwell != "" {
		r.unproven(c.ID, harden.Msg("%s is not well before its certificates are renewed: %s", c.ID, entry.Unwell))
	}
	if err := r.tx.Log(kindStarted, entry); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.before[c.ID] = entry
	return nil
}

// unwell says what is wrong with a component before an undo touches it; nothing for one that is well.
func (r *run) unwell(ctx context.Context, st harden.Stage, c harden.Component) string {
	if _, err := r.instance(ctx, c); err != nil {
		return oneLine(err)
	}
	gate, _ := st.Gate(c.ID)
	for _, p := range gate.Probes {
		if complaint, err := r.awaitAnswer(ctx, p); err == nil && complaint != "" {
			return complaint
		}
	}
	return ""
}

// instance is the running instance of a static pod or of a unit.
func (r *run) instance(ctx context.Context, c harden.Component) (Instance, error) {
	if c.StaticPod() {
		return r.Node.Instance(ctx, c)
	}
	u, err := r.Node.Unit(ctx, c.Unit)
	if err != nil {
		return Instance{}, err
	}
	if !u.Active || u.PID == 0 {
		return Instance{}, ErrNotRunning
	}
	id := fmt.Sprintf("process %d since %s", u.PID, u.Since.UTC().Format(time.RFC3339Nano))
	return Instance{ID: id, PID: u.PID, Started: u.Since}, nil
}

// restarts are the automatic ones of a component's unit so far.
func (r *run) restarts(ctx context.Context, c harden.Component) int {
	if c.StaticPod() {
		return 0
	}
	u, err := r.Node.Unit(ctx, c.Unit)
	if err != nil {
		return 0
	}
	return u.Restarts
}

// restart restarts a unit; a static pod is the kubelet's to restart.
func (r *run) restart(ctx context.Context, c harden.Component) error {
	if c.StaticPod() {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Message: harden.Msg("%s restarts", c.Unit)})
	if err := r.Node.RestartUnit(ctx, c.Unit); err != nil {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		return fmt.Errorf("restarting %s: %w", c.Unit, err)
	}
	return nil
}

func (r *run) loadSysctls(ctx context.Context, st harden.Stage) error {
	for _, e := range st.Effects {
		if e.Kind != harden.EffectSysctl || !r.live() || len(e.Sysctls) == 0 {
			continue
		}
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if err := r.tx.Log(kindEffect, e); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		if err := r.sysctls(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) sysctls(ctx context.Context, e harden.Effect) error {
	if err := r.Node.LoadSysctls(ctx, e.Sysctls); err != nil {
		return fmt.Errorf("loading kernel settings: %w", err)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("kernel settings are loaded")})
	return nil
}

// put writes one file step. Interruption is heard here, before the write, which is a safe point.
func (r *run) put(ctx context.Context, s harden.Step) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	err := r.tx.Put(s.ID)
	if errors.Is(err, ErrKept) {
		r.tell(harden.Event{Kind: harden.EventKept, Target: s.ID, Message: harden.Msg("%s", oneLine(err))})
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.ID, err)
	}
	r.tell(harden.Event{Kind: harden.EventWritten, Target: s.ID, Component: s.Component, Message: written(s)})
	return nil
}

func written(s harden.Step) harden.Message {
	switch {
	case !s.After.Exists:
		return harden.Msg("%s is removed", s.ID)
	case !s.Before.Exists:
		return harden.Msg("%s is made", s.ID)
	}
	return harden.Msg("%s is written", s.ID)
}

// errInterrupted is the operator's wish to stop: SIGINT, SIGTERM, or quitting the UI.
var errInterrupted = errors.New("interrupted")

func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return nil
}

// tell writes an event to the journal, then to whoever listens. A journal that cannot be written stops the next mutation,
// which is journaled itself; progress alone does not.
func (r *run) tell(e harden.Event) {
	r.journal(&e)
	r.hear(e)
}

func (r *run) journal(e *harden.Event) {
	e.Time = r.Clock.Now()
	_ = r.tx.Log(KindEvent, *e)
}

func (a *Applier) hear(e harden.Event) {
	if e.Time.IsZero() {
		e.Time = a.Clock.Now()
	}
	if a.Events != nil {
		a.Events(e)
	}
}

// oneLine is an error's text on one line; errors.Join makes several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
