package apply_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// store is the real transaction store, as the command line joins it to harden/apply.
type store struct {
	*backups.Store
	session *backups.Session
}

func (s *store) Unsettled() ([]apply.Unsettled, error) {
	list, err := s.List()
	var out []apply.Unsettled
	for _, t := range list {
		if t.Outcome == "" || t.Outcome == backups.Mixed {
			u := apply.Unsettled{ID: t.ID, Script: t.Dir + "/restore.sh", Mixed: t.Outcome == backups.Mixed}
			if entries, _, err := s.Entries(t.ID, 0); err == nil {
				_, u.Waiting = apply.ArmedIn(converted(entries))
			}
			out = append(out, u)
		}
	}
	return out, err
}

func (s *store) Begin(p harden.Plan, own []harden.Step, script apply.Script) (apply.Tx, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var targets []backups.Target
	for _, st := range slices.Concat(p.Steps(), own) {
		if st.Kind != harden.StepObject {
			targets = append(targets, backups.Target{ID: st.ID, Path: st.Path, Before: backups.State(st.Before), After: backups.State(st.After)})
		}
	}
	t, err := s.session.Begin(backups.Meta{}, data, targets, backups.Script(script))
	if err != nil {
		return nil, told(p, err)
	}
	return &tx{t, p}, nil
}

func (s *store) Resume(id string) (apply.Tx, harden.Plan, error) {
	t, err := s.session.Resume(id)
	if err != nil {
		return nil, harden.Plan{}, err
	}
	p, err := s.Plan(id)
	return &tx{t, p}, p, err
}

func (s *store) Plan(id string) (harden.Plan, error) {
	var p harden.Plan
	rec, err := s.Load(id)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(rec.Plan, &p)
}

type tx struct {
	*backups.Tx
	plan harden.Plan
}

func (t *tx) Script() string { return t.ScriptPath() }
func (t *tx) Content(step string) (harden.State, bool) {
	tg, ok := t.target(step)
	return harden.State(tg.After), ok
}

func (t *tx) Prior(step string) (harden.State, bool) {
	tg, ok := t.target(step)
	return harden.State(tg.Before), ok
}

func (t *tx) Rebase(step string, now, back harden.State) error {
	return told(t.plan, t.Tx.Rebase(step, backups.State(now), backups.State(back)))
}

func (t *tx) target(step string) (backups.Target, bool) {
	all := t.Targets()
	i := slices.IndexFunc(all, func(tg backups.Target) bool { return tg.ID == step })
	if i < 0 {
		return backups.Target{}, false
	}
	return all[i], true
}
func (t *tx) Put(step string) error    { return told(t.plan, t.Tx.Put(step)) }
func (t *tx) Revert(step string) error { return told(t.plan, t.Tx.Revert(step)) }

func told(p harden.Plan, err error) error {
	var drift *backups.DriftError
	if errors.Is(err, backups.ErrNotEmpty) {
		return fmt.Errorf("%w: %w", apply.ErrKept, err)
	}
	if errors.As(err, &drift) {
		steps := p.Steps()
		i := slices.IndexFunc(steps, func(s harden.Step) bool { return s.ID == drift.Target })
		return fmt.Errorf("%w: %w", &apply.DriftError{Step: steps[i], Now: harden.State(drift.Found)}, err)
	}
	return err
}

func (t *tx) Entries() ([]apply.Entry, error) { return converted(t.Tx.Entries()), nil }

func converted(entries []backups.Entry) []apply.Entry {
	var out []apply.Entry
	for _, e := range entries {
		out = append(out, apply.Entry{Kind: e.Kind, Target: e.Target, Time: e.Time, Data: e.Data})
	}
	return out
}

func (t *tx) Close(o harden.Outcome) error {
	return t.Tx.Close(map[harden.Outcome]string{
		harden.OutcomeApplied: backups.Committed, harden.OutcomeRolledBack: backups.RolledBack, harden.OutcomeMixed: backups.Mixed,
	}[o])
}
