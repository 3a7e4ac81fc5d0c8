package harden

import (
	"errors"
	"io/fs"

	"kubectl-harden.io/kubectl-harden/patches"
)

// WriteChecker says, without writing, what would refuse a write: a target that others than root could change, or that is
// more than one plain file.
type WriteChecker interface {
	// CheckReplace is of making, replacing or removing a path; CheckAttributes of changing its mode, owner or extended
	// attributes only.
	CheckReplace(path string) error
	CheckAttributes(path string) error
}

// CheckWrite says what would refuse to write the step's target. Objects are the API's to refuse.
func (s Step) CheckWrite(c WriteChecker) error {
	switch {
	case s.Kind == StepObject:
		return nil
	case s.Before.Exists && s.After.Exists && string(s.Before.Data) == string(s.After.Data):
		return c.CheckAttributes(s.Path)
	}
	return c.CheckReplace(s.Path)
}

// targetChecks are the targets that cannot be written to, of an undo, or for a reason that is not the target's own: a plan leaves
// the others out. What whoever plans may not do is no fact of the target: planning does not need root.
func targetChecks(c WriteChecker, steps []Step) []Check {
	var out []Check
	if c == nil {
		return nil
	}
	for _, s := range steps {
		err := s.CheckWrite(c)
		if err == nil || errors.Is(err, fs.ErrPermission) {
			continue
		}
		check := Check{Component: s.Component, Blocks: true, Precondition: Precondition{
			ID: "safe-target", Title: Msg("%s may be written to", s.Path), State: Unmet, Message: Msg("%s", err.Error()),
		}}
		if who := s.Controls(); len(who) > 0 {
			check.Control = who[0]
		}
		out = append(out, check)
	}
	return out
}

// shownChecks block a plan with a step whose difference nobody can be shown: only what was seen is written (promise 1).
// An undo brings back what was there; it is never held back by this.
func shownChecks(steps []Step) []Check {
	var out []Check
	for _, s := range steps {
		if s.Secret || s.Kind == StepDir {
			continue
		}
		d, err := patches.Diff(s.Before.Data, s.After.Data, patches.DiffOptions{})
		why := Message{}
		switch {
		case err != nil:
			why = Msg("%s", err.Error())
		case d.TooLarge:
			why = Msg("%d lines become %d, which is more than can be compared: change it by hand", countLines(s.Before.Data), countLines(s.After.Data))
		default:
			continue
		}
		check := Check{Component: s.Component, Blocks: true, Precondition: Precondition{
			ID: "can-be-shown", Title: Msg("the change of %s can be shown", s.ID), State: Unmet, Message: why,
		}}
		if who := s.Controls(); len(who) > 0 {
			check.Control = who[0]
		}
		out = append(out, check)
	}
	return out
}
