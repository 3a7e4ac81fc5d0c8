package harden

import "slices"

// Profile is a recommendation that an operator wants to follow as a whole: which controls, which options, and what of it is
// not done because it hurts.
type Profile struct {
	ID string // "cis-l1"
	// Benchmark is the one that the profile follows, where it is one of CIS.
	Benchmark Benchmark
	// Takes says whether the profile asks for a control, by where its recommendation comes from.
	Takes func(Refs) bool
	// Choices are options that the profile wants otherwise than by default, each with its remedy. They hold for controls that are named
	// beside it too; what the operator sets goes before them.
	Choices []Choice
	// Refused is what the profile asks for and this program does not do.
	Refused []Refusal
}

// Refusal is one thing that a recommendation asks for and that is not done: it would hurt this node, or nothing here can tell.
type Refusal struct {
	Asks   string // "V-242390"
	Reason Message
	// Control is the safer way, where the catalogue has one.
	Control string
	// Here says whether that is so on this node; nil: on every node.
	Here func(*Facts) bool
}

// Controls are the ones that the profile asks for, in the catalogue's order.
func (p Profile) Controls(areas []Area) []string {
	var out []string
	for _, a := range areas {
		for _, c := range a.Controls {
			if p.Takes(c.Refs) {
				out = append(out, c.ID)
			}
		}
	}
	return out
}

// Left are what the profile asks for and is not done here, as choices that were skipped.
func (p Profile) Left(f *Facts) []Skip {
	var out []Skip
	for _, r := range p.Refused {
		if r.Here == nil || r.Here(f) {
			control := r.Control
			if control == "" {
				control = p.ID // nothing in the catalogue is nearer
			}
			out = append(out, Skip{Control: control, Reason: Msg("%s asks %s: %s", p.ID, r.Asks, r.Reason)})
		}
	}
	return out
}

// choice is what the profile wants of a control, if it wants it otherwise than by default.
func (p Profile) choice(control string) (Choice, bool) {
	i := slices.IndexFunc(p.Choices, func(c Choice) bool { return c.Control == control })
	if i < 0 {
		return Choice{}, false
	}
	return p.Choices[i], true
}
