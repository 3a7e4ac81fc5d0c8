package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// askWait is how long a component's program may take to judge its flags.
const askWait = 20 * time.Second

// Rehearser is what a rehearsal asks of the node.
type Rehearser interface {
	// Ask runs the component's own program with the arguments where the live one runs: in its container, or on the node. config,
	// unless nil, is given to it behind the flag of that name, in place of a file.
	Ask(ctx context.Context, c harden.Component, args []string, flag string, config []byte) (output string, code int, err error)
	// FreePort finds a port of the loopback address that nobody listens on, that no container declares, and that the kernel
	// gives to nobody by itself.
	FreePort(ctx context.Context) (int, error)
	// Canary describes the canary's container, of those made since; ErrNoRuntime where there is none to ask.
	Canary(ctx context.Context, since time.Time) (CanaryState, error)
	// StopCanary ends the canary's container where the kubelet does not.
	StopCanary(ctx context.Context) error
	// Clear removes a file that a canary has made, or an empty directory that was made for it. What is missing, and a directory
	// that is not empty, is no error.
	Clear(path string) error
	// Arm lets something act in our place when its time is over, and at the next boot; Disarm takes that back, and is no error
	// where nothing is armed.
	Arm(ctx context.Context, g Guard) error
	Disarm(ctx context.Context, name string) error
}

// ErrNoRuntime says that the node has no container runtime that could be asked, now or later.
var ErrNoRuntime = errors.New("no container runtime to ask")

// Guard removes files in our place, should we die: when its time is over, and at the next boot before the kubelet starts.
type Guard struct {
	Name   string
	About  string
	Remove []string // paths
	After  time.Duration
}

// CanaryState is what is there of a canary.
type CanaryState struct {
	There    bool // a container of it, whatever its state
	Running  bool
	Exited   bool
	Instance Instance // while it runs
	Words    string   // the last ones of one that has exited
}

// RehearsalError is a component that would not run as planned. The live one was not touched.
type RehearsalError struct {
	Component harden.ComponentID
	Said      string // by the component, or of it
	Hints     []string
}

func (e *RehearsalError) Error() string { return "rehearsing " + string(e.Component) + ": " + e.Said }

// rehearsedEntry is the journal of a stage that was rehearsed.
type rehearsedEntry struct {
	Stage int `json:"stage"`
}

// rehearse tries what can be tried of the stage before a live component is touched: what costs little first, the canary last.
func (r *run) rehearse(ctx context.Context, st harden.Stage) error {
	i := r.at
	if !r.live() || r.rehearsed[i] {
		return nil
	}
	all := harden.Rehearsals(st, r.Facts, r.plan.Undoes != "")
	for _, re := range all {
		c, ok := harden.ComponentByID(re.Component)
		if !ok {
			continue
		}
		if err := r.mounts(st, c); err != nil {
			return err
		}
		if re.Apart {
			if err := r.tryTable(ctx, st, c); err != nil {
				return err
			}
		}
		if err := r.ownChecks(ctx, st, re, c); err != nil {
			return err
		}
	}
	// Where the runtime cannot be asked about the program, it cannot be asked about a second instance either.
	if k, ok := r.canaries[i]; ok && !r.notAsked[k.step.Component] {
		if err := r.runCanary(ctx, st, k); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		if err := r.tx.Log(kindRehearsed, rehearsedEntry{i}); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
	}
	r.rehearsed[i] = true
	return nil
}

// refusesRehearsal says why a plan cannot be rehearsed on this node as it is now, unless that was accepted.
func (a *Applier) refusesRehearsal(p harden.Plan, re harden.Rehearsal) error {
	if re.Unrehearsed.IsZero() || p.Accepts(re.Component) {
		return nil
	}
	return &RefusedError{
		Why:   fmt.Sprintf("checking the plan: %s: %s", re.Component, re.Unrehearsed),
		Hints: []string{"kubectl-harden plan --accept " + string(re.Component)},
	}
}

// mounts asks of the node's paths what the kubelet will ask before it makes a container.
func (r *run) mounts(st harden.Stage, c harden.Component) error {
	for _, s := range st.ForComponent(c.ID) {
		if !c.StaticPod() || s.Kind != harden.StepFile || !s.After.Exists {
			continue
		}
		for _, m := range harden.MountProblems(s.After.Data, c, r.Node.State) {
			return &RehearsalError{Component: c.ID, Said: fmt.Sprintf("the kubelet would not start it: %s", m), Hints: r.lookAgain()}
		}
	}
	return nil
}

// ownChecks lets the component's own program judge its planned command line. An undo is not kept from going back by a program
// that cannot be asked.
func (r *run) ownChecks(ctx context.Context, st harden.Stage, re harden.Rehearsal, c harden.Component) error {
	args := harden.PlannedArgs(st, r.Facts, c)
	if !re.Flags || len(args) == 0 {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: askWait, Message: harden.Msg("%s checks its planned flags", c.ID)})
	output, err := r.own(ctx, c, harden.VersionCheck(args), nil)
	if err != nil {
		return r.unasked(re, err)
	}
	version := harden.ProgramVersion(output)
	deep, ok := harden.ValuesCheck(c.ID, version, args, r.liveArgs(c))
	if ok {
		config, known := r.plannedConfig(st, c, args)
		if ok = known; ok {
			if _, err := r.own(ctx, c, deep, config); err != nil {
				return r.unasked(re, err)
			}
		}
	}
	if ok {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("%s %s accepts its planned flags and their values", c.ID, version)})
	} else {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("%s %s accepts its planned flags", c.ID, version)})
	}
	return nil
}

// errUnasked is a program that could not be asked.
var errUnasked = errors.New("its own program cannot be asked")

func (r *run) own(ctx context.Context, c harden.Component, check harden.OwnCheck, config []byte) (string, error) {
	if err := interrupted(ctx); err != nil {
		return "", err
	}
	asking, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	output, code, err := r.Node.Ask(asking, c, check.Args, check.Config, config)
	if err := interrupted(ctx); err != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnasked, err)
	}
	if said := check.Judge(output, code); said != "" {
		return "", &RehearsalError{Component: c.ID, Said: said, Hints: r.lookAgain()}
	}
	return output, nil
}

// unasked is final unless it was accepted, or the plan goes back to what has run.
func (r *run) unasked(re harden.Rehearsal, err error) error {
	if !errors.Is(err, errUnasked) {
		return err
	}
	if r.plan.Undoes != "" || r.plan.Accepts(re.Component) {
		r.unproven(re.Component, harden.Msg("%s is not rehearsed: %s", re.Component, oneLine(err)))
		r.notAsked[re.Component] = true
		return nil
	}
	return &RehearsalError{
		Component: re.Component, Said: oneLine(err), Hints: []string{"kubectl-harden plan --accept " + string(re.Component)},
	}
}

func (r *run) liveArgs(c harden.Component) []string {
	if facts := r.Facts.Component(c.ID); facts != nil {
		return facts.Args
	}
	return nil
}

// plannedConfig is what a kubelet would read. Where a file is planned that it cannot be given in place of its own, false.
func (r *run) plannedConfig(st harden.Stage, c harden.Component, args []string) (config []byte, known bool) {
	if c.StaticPod() {
		return nil, true
	}
	k := r.Facts.Kubelet
	config = k.Config.State.Data
	for _, s := range st.ForComponent(c.ID) {
		switch {
		case s.Path == k.Config.Path:
			config = s.After.Data
		case !harden.KubeletReadsFlags(k, s.Path):
			return nil, false // a drop-in, which lies beside others in a directory
		}
	}
	return config, len(config) > 0
}

func (r *run) lookAgain() []string {
	return []string{"kubectl-harden plan", "kubectl-harden history " + r.tx.ID()}
}
