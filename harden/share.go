package harden

import (
	"fmt"
	"reflect"
	"slices"
)

// Along marks intents that a control asks only so that it makes sense alone: where the control that they belong to is
// chosen too, they are that one's.
func Along(intents []Intent) []Intent {
	out := slices.Clone(intents)
	for i := range out {
		out[i].Along = true
	}
	return out
}

// ownAsks leaves out what is asked along where another control asks the same on its own account.
func ownAsks(asks []Ask) []Ask {
	return slices.DeleteFunc(slices.Clone(asks), func(a Ask) bool {
		if !a.Intent.Along {
			return false
		}
		own := a.Intent
		own.Along = false
		return slices.ContainsFunc(asks, func(o Ask) bool { return reflect.DeepEqual(o.Intent, own) })
	})
}

// shareOptions gives the options set on one control to every choice whose remedy shares them (Remedy.Shares).
func shareOptions(f *Facts, areas []Area, choices []Choice) ([]Choice, error) {
	type set struct{ value, control string }
	given := map[string]map[string]set{}
	shares := make([]string, len(choices))
	for i, c := range choices {
		_, control, ok := FindControl(areas, c.Control)
		if !ok {
			continue
		}
		r, ok := DefaultRemedy(f, control)
		if c.Remedy != "" {
			r, ok = control.Remedy(c.Remedy)
		}
		if !ok || r.Shares == "" {
			continue
		}
		shares[i] = r.Shares
		if given[r.Shares] == nil {
			given[r.Shares] = map[string]set{}
		}
		for name, v := range c.Options {
			if was, ok := given[r.Shares][name]; ok && was.value != v {
				return nil, &OptionError{c.Control, name, fmt.Sprintf("%s sets the same to %q", was.control, was.value)}
			}
			given[r.Shares][name] = set{v, c.Control}
		}
	}
	out := slices.Clone(choices)
	for i := range out {
		if len(given[shares[i]]) == 0 {
			continue
		}
		all := Values{}
		for name, s := range given[shares[i]] {
			all[name] = s.value
		}
		out[i].Options = all
	}
	return out, nil
}

// addCheck notes a precondition. Remedies that share their options share their preconditions too: each is said once.
func (p *planner) addCheck(control string, r Remedy, pre Precondition) {
	if r.Shares != "" && slices.ContainsFunc(p.checks, func(c Check) bool { return reflect.DeepEqual(c.Precondition, pre) }) {
		return
	}
	p.checks = append(p.checks, Check{Control: control, Precondition: pre})
}

// addProofs notes proofs; what another control wants proven already is asked once.
func (p *planner) addProofs(proofs []Proof) {
	for _, n := range proofs {
		if !slices.ContainsFunc(p.proofs, func(o Proof) bool {
			o.Control = n.Control
			return reflect.DeepEqual(o, n)
		}) {
			p.proofs = append(p.proofs, n)
		}
	}
}
