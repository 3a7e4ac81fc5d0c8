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

// Storage is the etcd in which the API server keeps objects. What they hold is secret: of a value only its beginning is told.
type Storage interface {
	// Size is how many bytes a snapshot takes.
	Size(ctx context.Context) (uint64, error)
	// Snapshot saves all of it in a new file of this machine that root alone can read. The file is there when it is whole.
	Snapshot(ctx context.Context, file string) error
	// Discard removes that file and what a process that died in the middle has left of it. Etcd is not asked.
	Discard(file string) error
	// Beginnings gives the first bytes of every value of a resource ("secrets").
	Beginnings(ctx context.Context, resource string, see func(begins string)) error
}

// Rewriter lets the API server write objects anew, as it stores them now.
type Rewriter interface {
	// Names are the objects of a resource, all of which could be read: "kube-system/token".
	Names(ctx context.Context, resource string) ([]string, error)
	// Rewrite writes an object unchanged. One that is gone is no error.
	Rewrite(ctx context.Context, resource, name string) error
}

const (
	// rewritePause lets others be served between two writes.
	rewritePause = 10 * time.Millisecond
	// rewriteWait is how long one object may take: the API may be away for a moment.
	rewriteWait = time.Minute
	// progressEvery is how often is said how far it has come.
	progressEvery = 3 * time.Second
)

// noReturnEntry is the journal of a stage that has passed its point of no simple return.
type noReturnEntry struct {
	Stage int `json:"stage"`
}

// storable refuses, before anything is begun, what would stop a plan half-way: an etcd or an API that cannot be asked, objects that
// cannot be read, no room for the snapshot, and keys that are still needed.
func (a *Applier) storable(ctx context.Context, p harden.Plan) error {
	refuse := func(why string, hints ...string) error {
		return &RefusedError{"checking what etcd holds: " + why, hints}
	}
	for _, st := range p.Stages {
		if why := a.apart(ctx, p, st); why != nil {
			return refuse(oneLine(why), "kubectl-harden assess")
		}
		for _, e := range st.Effects {
			switch e.Kind {
			case harden.EffectSnapshot:
				if err := a.savable(ctx, p, st); err != nil {
					return refuse(oneLine(err), a.snapshotHints(err)...)
				}
			case harden.EffectRewrite:
				if err := a.rewritable(ctx, *e.Stored); err != nil {
					return refuse(oneLine(err))
				}
			}
		}
		for _, g := range st.Gates {
			if g.Stored == nil {
				continue
			}
			_, wrong, err := a.count(ctx, *g.Stored)
			if err != nil {
				return refuse(oneLine(err))
			}
			if len(st.Steps)+len(st.Effects) == 0 && wrong > 0 {
				way := "undo the newer transactions that have encrypted them first"
				if p.Undoes == "" {
					way = "undo the newest run on one control plane and do it once more: the last one writes everything anew"
				}
				return refuse(fmt.Sprintf("it must hold that %s: %d are not so; %s", g.Stored.Words(), wrong, way), "kubectl-harden history")
			}
		}
	}
	return nil
}

var (
	errNoStorage  = errors.New("how etcd can be asked is not known here")
	errNoRewriter = errors.New("there is no API by which objects could be written anew")
)

// rewritable wants every object to be readable.
func (a *Applier) rewritable(ctx context.Context, s harden.Stored) error {
	if a.Rewriter == nil {
		return errNoRewriter
	}
	for _, resource := range s.Resources {
		if _, err := a.Rewriter.Names(ctx, resource); err != nil {
			return fmt.Errorf("reading all %s: %w", resource, err)
		}
	}
	return nil
}

// count looks at every value.
func (a *Applier) count(ctx context.Context, s harden.Stored) (all, wrong int, err error) {
	if a.Storage == nil {
		return 0, 0, errNoStorage
	}
	for _, resource := range s.Resources {
		err := a.Storage.Beginnings(ctx, resource, func(begins string) {
			if all++; !s.Holds(begins) {
				wrong++
			}
		})
		if err != nil {
			return all, wrong, err
		}
	}
	return all, wrong, nil
}

// passPoint notes, before anything of the stage is written, that its files alone will not bring back what it changes.
func (r *run) passPoint(_ context.Context, st harden.Stage) error {
	if !st.NoReturn || !r.live() || r.beyond[r.at] {
		return nil
	}
	if err := r.tx.Log(kindNoReturn, noReturnEntry{r.at}); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.beyond[r.at] = true
	r.tell(harden.Event{
		Kind: harden.EventNoReturn, Stage: r.at,
		Message: harden.Msg("from here on bringing files back is not enough: an undo writes anew what is stored, until %s", st.WayBack().Words()),
	})
	return nil
}

// rewrite writes anew what the stage wants to be stored otherwise.
func (r *run) rewrite(ctx context.Context, st harden.Stage) error {
	for _, e := range st.Effects {
		if e.Kind != harden.EffectRewrite || !r.live() {
			continue
		}
		if err := r.tx.Log(kindEffect, e); err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		if err := r.retried(ctx, r.allWriteSo); err != nil {
			return wrapUnlessInterrupted(err, "asking the other control planes")
		}
		if err := r.writeAnew(ctx, *e.Stored); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) writeAnew(ctx context.Context, s harden.Stored) error {
	if r.Rewriter == nil {
		return errNoRewriter
	}
	for _, resource := range s.Resources {
		var names []string
		err := r.retried(ctx, func(ctx context.Context) (err error) {
			names, err = r.Rewriter.Names(ctx, resource)
			return err
		})
		if err != nil {
			return wrapUnlessInterrupted(err, "reading all "+resource)
		}
		said := time.Time{}
		for i, name := range names {
			if now := r.Clock.Now(); now.Sub(said) >= progressEvery {
				said = now
				r.tell(harden.Event{Kind: harden.EventAwaiting, Message: harden.Msg("%s are written anew: %d of %d", resource, i, len(names))})
			}
			if err := r.retried(ctx, func(ctx context.Context) error { return r.Rewriter.Rewrite(ctx, resource, name) }); err != nil {
				return wrapUnlessInterrupted(err, "writing "+resource+" "+name+" anew")
			}
			if err := r.Clock.Sleep(ctx, rewritePause); err != nil {
				return errInterrupted
			}
		}
		r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("%d %s are written anew", len(names), resource)})
	}
	return nil
}

// retried asks until it succeeds, for a while.
func (r *run) retried(ctx context.Context, ask func(context.Context) error) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	return r.poll(ctx, r.Clock.Now().Add(rewriteWait), func() (bool, string, error) {
		if err := ask(ctx); err != nil {
			return false, oneLine(err), nil
		}
		return true, "", nil
	})
}

func wrapUnlessInterrupted(err error, doing string) error {
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// proveStored looks in etcd for what a stage's gates say of it.
func (r *run) proveStored(ctx context.Context, st harden.Stage) error {
	for _, g := range st.Gates {
		if g.Stored == nil || !r.live() {
			continue
		}
		r.tell(harden.Event{Kind: harden.EventAwaiting, Timeout: g.Timeout, Message: g.Stored.Words()})
		if err := r.lookInEtcd(ctx, *g.Stored); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) lookInEtcd(ctx context.Context, s harden.Stored) error {
	var all, wrong int
	err := r.retried(ctx, func(ctx context.Context) (err error) {
		all, wrong, err = r.count(ctx, s)
		return err
	})
	switch {
	case err != nil:
		return wrapUnlessInterrupted(err, "looking in etcd")
	case wrong > 0:
		return fmt.Errorf("looking in etcd: it does not hold that %s: of %d values %d are not so", s.Words(), all, wrong)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("%s: %d values were looked at", s.Words(), all)})
	return nil
}

// readAgain ends an API server that has started with a key file which is back by now, while its manifest was never touched: the
// machine, or it alone, has restarted in between, and it would go on to write with the key.
func (r *run) readAgain(ctx context.Context, undo, st harden.Stage, touched map[string]bool) error {
	c, _ := harden.ComponentByID(harden.APIServer)
	at := slices.IndexFunc(st.Steps, func(s harden.Step) bool { return s.Secret && touched[s.ID] })
	own := slices.ContainsFunc(st.ForComponent(c.ID), func(s harden.Step) bool { return touched[s.ID] })
	if !st.NoReturn || !r.live() || at < 0 || own {
		return nil
	}
	i, err := r.instance(ctx, c)
	if errors.Is(err, ErrNotRunning) || err == nil && !r.putBefore(st.Steps[at].ID, i.Started) {
		return nil
	}
	var ended error
	if leaving := r.follow(c, i); leaving == nil {
		ended = errors.New("it cannot be ended from here")
	} else {
		ended = leaving.End()
	}
	if err = errors.Join(err, ended); err != nil {
		return fmt.Errorf("%s has started with the key and has to start again: %w", c.ID, err)
	}
	gate, _ := undo.Gate(c.ID)
	return r.prove(ctx, c, gate, want{not: []string{i.ID}, since: r.Clock.Now(), undo: true})
}

// putBefore says that a target was about to be written before a time.
func (r *run) putBefore(step string, t time.Time) bool {
	entries, err := r.tx.Entries()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(entries, func(e Entry) bool { return e.Target == step && e.Time.Before(t) })
}

// waysBack bring back what is stored, for every stage that has passed its point of no simple return; its files are back. What
// cannot be asked for now is owed: everything can be read meanwhile, as the key is still there.
func (r *run) waysBack(ctx context.Context, stages []harden.Stage) {
	for i, st := range stages {
		s := st.WayBack()
		if !r.beyond[i] || s == nil {
			continue
		}
		if _, wrong, err := r.count(ctx, *s); err == nil && wrong == 0 {
			continue
		}
		others, err := r.writingStill(ctx, st)
		if err != nil {
			target := strings.Join(s.Resources, ", ") + " in etcd"
			r.owed = append(r.owed, fmt.Errorf("%s: %w", target, err))
			r.tell(harden.Event{Kind: harden.EventOwed, Target: target, Message: harden.Msg("%s", oneLine(err))})
			continue
		}
		if len(others) > 0 {
			r.tell(harden.Event{Kind: harden.EventReverted, Target: strings.Join(s.Resources, ", ") + " in etcd", Message: harden.Msg(
				"%s write with what is undone here, and everything can be read everywhere: nothing is written anew", strings.Join(others, ", "))})
			continue
		}
		err = r.writeAnew(ctx, *s)
		if err == nil {
			err = r.lookInEtcd(ctx, *s)
		}
		target := strings.Join(s.Resources, ", ") + " in etcd"
		if err != nil {
			err = fmt.Errorf("%s: %w", target, err)
			r.owed = append(r.owed, err)
			r.tell(harden.Event{Kind: harden.EventOwed, Target: target, Message: harden.Msg("%s", oneLine(err))})
			continue
		}
		r.tell(harden.Event{Kind: harden.EventReverted, Target: target, Message: harden.Msg("%s", s.Words().String())})
	}
}

// passedPoint takes from the journal which stages have passed their points, and whether etcd was saved.
func (r *run) passedPoint(e Entry) error {
	switch e.Kind {
	case kindNoReturn:
		var n noReturnEntry
		if err := json.Unmarshal(e.Data, &n); err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		r.beyond[n.Stage] = true
	case kindSaved:
		r.saved = true
	}
	return nil
}
