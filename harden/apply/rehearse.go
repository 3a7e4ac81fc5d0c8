package apply

import (
	"context"

	"kubectl-harden.io/kubectl-harden/harden"
)

// RehearsalError is a component that would not run as planned. The live one was not touched.
type RehearsalError struct {
	Component harden.ComponentID
	Said      string // by the component, or of it
	Hints     []string
}

func (e *RehearsalError) Error() string { return "rehearsing " + string(e.Component) + ": " + e.Said }

// rehearse tries what can be tried of the stage before a live component is touched.
func (r *run) rehearse(context.Context, harden.Stage) error { return nil }
