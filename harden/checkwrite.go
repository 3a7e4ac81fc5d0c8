package harden

import (
	"errors"
	"io/fs"
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

// targetChecks are the targets that cannot be written to. What whoever plans may not do is no fact of the target: planning
// does not need root.
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
