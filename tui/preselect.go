package tui

import (
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Preselection is what the walk begins with. It is asked again as more facts arrive, and tells what it leaves out.
type Preselection func(*harden.Facts) ([]harden.Choice, []harden.Skip, error)

// preselect takes what the walk is to begin with, as far as the facts tell it; each control once, so that what was left out by
// the operator stays out. With the last facts it says what it took.
func (m *Model) preselect(last bool) {
	if m.opts.Preselect == nil || m.facts == nil || harden.NotANode(m.facts) {
		return
	}
	choices, left, err := m.opts.Preselect(m.facts)
	if err != nil {
		m.warn(err.Error())
		return
	}
	m.left = left
	for _, choice := range choices {
		_, c, _ := harden.FindControl(m.areas, choice.Control)
		if m.preselected[choice.Control] {
			continue
		}
		if why := m.choosableBy(c, choice); why != "" {
			m.left = append(m.left, harden.Skip{Control: c.ID, Reason: harden.Msg("%s", why), Named: true})
			continue
		}
		m.choices[c.ID], m.kept[c.ID] = choice, choice
		m.preselected[c.ID] = true
	}
	if last {
		m.opts.Preselect = nil
		m.say(m.preselection())
	}
}

// preselection is a sentence about it.
func (m *Model) preselection() string {
	said := "the command line chooses " + plural(len(m.preselected), "control", "controls")
	var named []string
	for _, s := range m.left {
		if s.Named {
			named = append(named, m.theme.left(s))
		}
	}
	if others := len(m.left) - len(named); others > 0 {
		said += fmt.Sprintf(", and leaves out %d, which the plan tells", others)
	}
	if len(named) > 0 {
		said += "; left out: " + strings.Join(named, "; ")
	}
	return said
}

// leftOut is what the walk was not begun with and has not been chosen since.
func (m *Model) leftOut() []harden.Skip {
	var out []harden.Skip
	for _, s := range m.left {
		if _, ok := m.choices[s.Control]; !ok {
			out = append(out, s)
		}
	}
	return out
}
