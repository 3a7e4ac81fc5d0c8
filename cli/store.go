package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
)

// transactions is a backups.Session as harden/apply needs it.
type transactions struct {
	e       *engine
	session *backups.Session
}

func (e *engine) transactions(s *backups.Session) *transactions {
	return &transactions{e, s}
}

// unbegun is a store in which nothing begins: what would refuse a plan refuses it, and nothing is written.
type unbegun struct {
	*transactions
	reached bool
}

var errUnbegun = errors.New("only checked")

func (u *unbegun) Begin(harden.Plan, []harden.Step, apply.Script) (apply.Tx, error) {
	u.reached = true
	return nil, errUnbegun
}

func (s *transactions) Unsettled() ([]apply.Unsettled, error) {
	open, err := s.e.unsettled()
	if err != nil {
		return nil, err
	}
	var out []apply.Unsettled
	for _, t := range open {
		out = append(out, apply.Unsettled{
			ID: t.ID, Script: s.e.script(t.Dir), Mixed: t.Outcome == backups.Mixed, Waiting: t.Outcome == "" && s.e.waits(t.ID),
		})
	}
	return out, nil
}

// unsettled are the transactions without an outcome, and those whose undo failed, newest first. One that cannot be read any
// more is settled by its restore.sh: nothing else could.
func (e *engine) unsettled() ([]backups.Summary, error) {
	list, err := e.store.List()
	return slices.DeleteFunc(list, func(t backups.Summary) bool {
		return t.Outcome != "" && t.Outcome != backups.Mixed || e.restored(t.ID) && e.unreadable(t.ID)
	}), err
}

// unreadable says that a transaction is not what was written, so that no run can take it up.
func (e *engine) unreadable(id string) bool {
	_, err := e.loadPlan(id)
	return errors.As(err, new(*damagedError))
}

func (s *transactions) Plan(id string) (harden.Plan, error) { return s.e.loadPlan(id) }

func (s *transactions) Begin(p harden.Plan, own []harden.Step, script apply.Script) (apply.Tx, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding the plan: %w", err)
	}
	if len(data) > host.DefaultMaxFile {
		return nil, &apply.RefusedError{Why: fmt.Sprintf("beginning a transaction: the plan has %d bytes, and its record could not be read again for an undo (at most %d): choose less at once", len(data), host.DefaultMaxFile)}
	}
	meta := s.e.meta
	meta.Binary = thisBinary()
	meta.Scope, meta.Undoes, meta.Controls = string(p.Scope), p.Undoes, p.Controls()
	tx, err := s.session.Begin(meta, data, targets(slices.Concat(p.Steps(), own)), backups.Script(script))
	if err != nil {
		return nil, told(p, err)
	}
	if s.e.begun != nil {
		s.e.begun(tx.ID())
	}
	return &transaction{tx, p, s.e.script(tx.Dir())}, nil
}

func (s *transactions) Resume(id string) (apply.Tx, harden.Plan, error) {
	tx, err := s.session.Resume(id)
	if err != nil {
		return nil, harden.Plan{}, err
	}
	plan, err := s.e.loadPlan(id)
	if err != nil {
		return nil, harden.Plan{}, err
	}
	return &transaction{tx, plan, s.e.script(tx.Dir())}, plan, nil
}

// targets are file steps as the store wants them.
func targets(steps []harden.Step) []backups.Target {
	var out []backups.Target
	for _, s := range steps {
		if s.Kind != harden.StepObject {
			out = append(out, backups.Target{ID: s.ID, Path: s.Path, Before: backups.State(s.Before), After: backups.State(s.After)})
		}
	}
	return out
}

// loadPlan is the plan that a transaction was to write.
func (e *engine) loadPlan(id string) (harden.Plan, error) {
	data, err := e.store.Plan(id)
	if errors.Is(err, backups.ErrDamaged) {
		return harden.Plan{}, &damagedError{err, e.script(path.Join(e.m.stateDir, "transactions", id))}
	}
	if err != nil {
		return harden.Plan{}, err
	}
	return decodePlan(id, data)
}

func decodePlan(id string, data []byte) (harden.Plan, error) {
	var p harden.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return harden.Plan{}, fmt.Errorf("reading the plan of transaction %s: %w", id, err)
	}
	return p, nil
}

// needApplied names the transactions among facts that could not be read. No control needs them.
const needApplied harden.Need = "transactions"

// withApplied adds what the node's transactions that stand have asked for to a copy of the facts.
func (e *engine) withApplied(f *harden.Facts) *harden.Facts {
	out := *f
	out.Missing = maps.Clone(f.Missing)
	var err error
	if out.Applied, err = e.applied(); err != nil {
		out.Missing[needApplied] = harden.Msg("%s", err.Error())
	}
	return &out
}

// applied reads the plans of those transactions only that stand, or undo a part of one; oldest first.
func (e *engine) applied() ([]harden.AppliedFact, error) {
	list, err := e.store.List()
	if err != nil {
		return nil, err
	}
	var out []harden.AppliedFact
	undone := map[string][]string{} // controls, by the transaction that they were undone in
	wholly := map[string]bool{}
	for _, t := range e.summaries(list) {
		if t.Outcome != harden.OutcomeApplied || wholly[t.ID] || t.Restored || t.Scope != harden.ScopeNode {
			continue
		}
		data, err := e.store.Plan(t.ID)
		if err != nil {
			continue // what it has asked for is not known
		}
		if t.Undoes != "" {
			// Nothing else of an undo counts here, and contents take long to decode.
			var part struct{ UndoesControls []string }
			if json.Unmarshal(data, &part) == nil {
				wholly[t.Undoes] = wholly[t.Undoes] || len(part.UndoesControls) == 0
				undone[t.Undoes] = append(undone[t.Undoes], part.UndoesControls...)
			}
			continue
		}
		p, err := decodePlan(t.ID, data)
		if err != nil {
			continue
		}
		if a := harden.Applied(harden.Done{ID: t.ID, Plan: p}, undone[t.ID]); len(a.Asks) > 0 {
			out = append(out, a)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// transaction is a backups.Tx as harden/apply needs it.
type transaction struct {
	*backups.Tx
	plan   harden.Plan
	script string
}

func (t *transaction) Script() string { return t.script }

func (t *transaction) Put(step string) error    { return told(t.plan, t.Tx.Put(step)) }
func (t *transaction) Revert(step string) error { return told(t.plan, t.Tx.Revert(step)) }

func (t *transaction) Content(step string) (harden.State, bool) {
	tg, ok := t.target(step)
	return harden.State(tg.After), ok
}

func (t *transaction) Prior(step string) (harden.State, bool) {
	tg, ok := t.target(step)
	return harden.State(tg.Before), ok
}

func (t *transaction) Rebase(step string, now, back harden.State) error {
	return told(t.plan, t.Tx.Rebase(step, backups.State(now), backups.State(back)))
}

func (t *transaction) target(step string) (backups.Target, bool) {
	all := t.Targets()
	i := slices.IndexFunc(all, func(tg backups.Target) bool { return tg.ID == step })
	if i < 0 {
		return backups.Target{}, false
	}
	return all[i], true
}

// told says the store's errors in the words of harden/apply.
func told(p harden.Plan, err error) error {
	var drift *backups.DriftError
	switch {
	case errors.Is(err, backups.ErrNotEmpty):
		return fmt.Errorf("%w: %w", apply.ErrKept, err)
	case errors.As(err, &drift):
		for _, s := range p.Steps() {
			if s.ID == drift.Target {
				return fmt.Errorf("%w: %w", &apply.DriftError{Step: s, Now: harden.State(drift.Found)}, err)
			}
		}
	}
	return err
}

func (t *transaction) Entries() ([]apply.Entry, error) { return entriesOf(t.Tx.Entries()), nil }

// entriesOf are a journal's entries as harden/apply reads them.
func entriesOf(entries []backups.Entry) []apply.Entry {
	var out []apply.Entry
	for _, e := range entries {
		out = append(out, apply.Entry{Kind: e.Kind, Target: e.Target, Time: e.Time, Data: e.Data})
	}
	return out
}

// waits says that every gate of a transaction without an outcome has passed, and only confirm is awaited.
func (e *engine) waits(id string) bool {
	entries, _, err := e.store.Entries(id, 0)
	if err != nil {
		return false
	}
	_, waiting := apply.ArmedIn(entriesOf(entries))
	return waiting && !e.restored(id)
}

// restored says that restore.sh has brought everything back, which leaves no word in the journal.
func (e *engine) restored(id string) bool {
	_, err := e.m.files.Stat(path.Join(e.m.stateDir, "transactions", id, "restored"))
	return err == nil
}

// outcomes as the store keeps them.
var outcomes = map[harden.Outcome]string{
	harden.OutcomeApplied:    "committed",
	harden.OutcomeRolledBack: "rolled back",
	harden.OutcomeMixed:      "mixed",
}

func (t *transaction) Close(o harden.Outcome) error { return t.Tx.Close(outcomes[o]) }

// outcomeOf reads the store's word back. A transaction without one was interrupted, or runs.
func outcomeOf(stored string) harden.Outcome {
	for o, s := range outcomes {
		if s == stored {
			return o
		}
	}
	if stored == "" {
		return harden.OutcomeUnsettled
	}
	return harden.OutcomeRefused // begun and given up before anything was changed
}

// summaries turns the store's list, newest first, into the history.
func (e *engine) summaries(list []backups.Summary) []harden.TransactionSummary {
	var out []harden.TransactionSummary
	for _, s := range list {
		t := harden.TransactionSummary{
			ID: s.ID, Started: s.Began, Ended: s.Ended, Scope: harden.Scope(s.Meta.Scope), Reason: s.Meta.Reason,
			Who: who(s.Meta.Who), Controls: s.Meta.Controls, Targets: s.Paths, Outcome: outcomeOf(s.Outcome),
			Undoes: s.Meta.Undoes, Script: e.script(s.Dir),
		}
		if s.Outcome == "" && e.waits(s.ID) {
			t.Outcome = harden.OutcomeWaiting
		}
		if t.Controls == nil {
			t.Controls = []string{}
		}
		// A rehearsal's own manifest comes and goes, and is nothing that was changed.
		t.Targets = slices.DeleteFunc(t.Targets, func(p string) bool { return path.Base(p) == harden.CanaryFile })
		if t.Targets == nil {
			t.Targets = []string{}
		}
		t.Restored = t.Outcome == harden.OutcomeApplied && e.restored(s.ID)
		if t.Started.IsZero() {
			t.Started = begunAt(s.ID)
		}
		out = append(out, t)
	}
	return out
}

// begunAt is the time that an id begins with, for what has no readable journal; zero where it has none.
func begunAt(id string) time.Time {
	stamp, _, _ := strings.Cut(id, "-")
	at, _ := time.Parse("20060102T150405.000Z", stamp)
	return at
}

// script is where restore.sh of a transaction lies on this machine; the demo's is shown as its node sees it.
func (e *engine) script(dir string) string {
	if e.m.sandbox {
		return path.Join(dir, "restore.sh")
	}
	return path.Join(e.m.root, dir, "restore.sh")
}

func who(w backups.Who) string {
	if w.SudoUser != "" && w.SudoUser != w.User {
		return w.SudoUser + " as " + w.User
	}
	return w.User
}
