package harden

import (
	"fmt"
	"slices"
)

// Back is the stage that returns st's targets to what they were: used when a gate fails and by recovery, where nothing else
// can have changed since. Components come first, in reverse order, so that the kubelet works before static pods need it.
func (st Stage) Back() (Stage, error) {
	out := Stage{Title: Msg("back to what was"), Steps: []Step{}, Effects: []Effect{}, Gates: []Gate{}}
	for _, s := range slices.Backward(st.Steps) {
		s.Before, s.After = s.After, s.Before
		s.Marks = nil
		out.Steps = append(out.Steps, s)
	}
	for _, e := range slices.Backward(st.Effects) {
		e.Sysctls, e.Prior = e.Prior, e.Sysctls
		out.Effects = append(out.Effects, e)
	}
	for _, g := range slices.Backward(st.Gates) {
		back := Gate{Component: g.Component, Probes: g.Probes, Objects: g.Objects, Timeout: g.Timeout}
		if c, ok := ComponentByID(g.Component); ok && c.StaticPod() {
			_, data := touched(out.Steps, c)
			var err error
			if back, err = gateFor(c, data, &Facts{}); err != nil {
				return Stage{}, fmt.Errorf("planning the way back: %w", err)
			}
		}
		out.Gates = append(out.Gates, back)
	}
	return out, nil
}

// ForComponent are the steps whose effect is the component's.
func (st Stage) ForComponent(id ComponentID) []Step {
	var out []Step
	for _, s := range st.Steps {
		if s.Component == id {
			out = append(out, s)
		}
	}
	return out
}

// Effect of a component in this stage, if it has one.
func (st Stage) Effect(id ComponentID) (Effect, bool) {
	for _, e := range st.Effects {
		if e.Component == id && e.Kind != EffectSysctl {
			return e, true
		}
	}
	return Effect{}, false
}

// Gate of a component in this stage; objects have the empty component's.
func (st Stage) Gate(id ComponentID) (Gate, bool) {
	for _, g := range st.Gates {
		if g.Component == id {
			return g, true
		}
	}
	return Gate{}, false
}
