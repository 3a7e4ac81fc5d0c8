package tui

import (
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// remedies of a control that hold for this version.
func (m *Model) remedies(c harden.Control) []harden.Remedy {
	f, ok := m.finding(c.ID)
	if !ok {
		return nil
	}
	var out []harden.Remedy
	for _, id := range f.Remedies {
		if r, ok := c.Remedy(id); ok {
			out = append(out, r)
		}
	}
	return out
}

// choice of a control as it is, or as it would be if it were chosen now.
func (m *Model) choice(c harden.Control) harden.Choice {
	if choice, ok := m.choices[c.ID]; ok {
		return choice
	}
	if choice, ok := m.drafts[c.ID]; ok {
		return choice
	}
	return harden.Choice{Control: c.ID, Named: true}
}

func (m *Model) isChosen(c harden.Control) bool {
	_, ok := m.choices[c.ID]
	return ok
}

// remedy that the control's choice takes.
func (m *Model) remedy(c harden.Control) (harden.Remedy, bool) {
	rs := m.remedies(c)
	want := m.choice(c).Remedy
	for _, r := range rs {
		if want == "" && !r.Literal || r.ID == want {
			return r, true
		}
	}
	return harden.Remedy{}, false
}

// choosable says why a control cannot be put into the plan as it is set; "" if it can.
func (m *Model) choosable(c harden.Control) string { return m.choosableBy(c, m.choice(c)) }

func (m *Model) choosableBy(c harden.Control, choice harden.Choice) string {
	f, ok := m.finding(c.ID)
	switch {
	case !ok:
		return "nothing was read yet"
	case f.Status == harden.StatusPass && len(choice.Options) == 0 && (choice.Remedy == "" || len(m.remedies(c)) < 2):
		said := "nothing to do: it is as recommended"
		if m.settable(c) {
			said += m.theme.hint("; o sets it otherwise", "; options sets it otherwise")
		}
		return said
	case f.Status == harden.StatusNotApplicable:
		return "nothing to do: " + f.Message.String()
	case len(c.Remedies) == 0:
		return "this is to be decided or done by hand; its detail says how"
	case len(m.remedies(c)) == 0:
		return "there is no remedy for this version; its detail says what to do by hand"
	}
	return ""
}

// settable says that a control has options to set, or remedies to choose from, be it as recommended or not.
func (m *Model) settable(c harden.Control) bool {
	f, ok := m.finding(c.ID)
	if !ok || f.Status != harden.StatusPass {
		return m.choosable(c) == ""
	}
	r, ok := m.remedy(c)
	return ok && len(r.Options) > 0 || len(m.remedies(c)) > 1
}

// toggle puts a control into the plan or leaves it out.
func (m *Model) toggle(c harden.Control) {
	if choice, ok := m.choices[c.ID]; ok {
		choice.Accept = false
		m.drafts[c.ID] = choice // its options are there when it is chosen again
		delete(m.choices, c.ID)
		m.say("left out: " + c.ID)
		return
	}
	if why := m.choosable(c); why != "" {
		m.warn(why)
		return
	}
	r, ok := m.remedy(c)
	if !ok {
		m.warn("only a literal remedy holds here: choose it by name" + m.theme.hint(" (o)", " among the options"))
		return
	}
	choice := m.choice(c)
	choice.Remedy = r.ID
	m.choices[c.ID] = choice
	delete(m.drafts, c.ID)
	m.say("chosen: " + c.ID + m.theme.riskNote(r.Risk))
}

// riskNote is the end of the sentence that a control was chosen.
func (t *Theme) riskNote(r harden.Risk) string {
	switch r {
	case harden.RiskWorkloads:
		return "; it can cut off workloads or their users: read what it may break"
	case harden.RiskLockOut:
		return "; it can lock operators out: read what it may break"
	case harden.RiskOneWay:
		return "; it cannot be undone simply: read what it may break"
	}
	return t.hint("; p shows the plan", "")
}

// risk in words.
func risk(r harden.Risk) string {
	switch r {
	case harden.RiskWorkloads:
		return "workloads: they or their users may be cut off"
	case harden.RiskLockOut:
		return "lock-out: operators may lose access"
	case harden.RiskOneWay:
		return "one-way: undone by its own way only"
	}
	return "node: a component of this node restarts"
}

// accept takes the unknown preconditions of a chosen control on the operator's word, or takes that back.
func (m *Model) accept(c harden.Control) {
	choice, ok := m.choices[c.ID]
	if !ok {
		m.warn("choose the control first" + m.theme.hint(" (space)", "") + ", then accept what is unknown")
		return
	}
	if !m.unknownOf(c) {
		m.say("nothing is unknown of " + c.ID)
		return
	}
	choice.Accept = !choice.Accept
	m.choices[c.ID] = choice
	if choice.Accept {
		m.say("accepted on your word: what is unknown of " + c.ID)
	} else {
		m.say("no longer accepted: what is unknown of " + c.ID)
	}
}

// unknownOf says that something is not known that the remedy needs, or was accepted.
func (m *Model) unknownOf(c harden.Control) bool {
	checks, err := m.preconditions(c)
	unknown := func(p harden.Precondition) bool { return p.State == harden.PreconditionUnknown }
	return err != nil || m.choice(c).Accept || slices.ContainsFunc(checks, unknown)
}

// set keeps what was set of a control, and says it. Only a word of its own chooses a control.
func (m *Model) set(choice harden.Choice, what string, r harden.Risk) {
	if _, ok := m.choices[choice.Control]; ok {
		m.choices[choice.Control] = choice
		m.say("set: " + what + m.theme.riskNote(r))
		return
	}
	m.drafts[choice.Control] = choice
	m.say("set: " + what + m.theme.hint("; space on the control chooses it", "; choose takes it"))
}

// preconditions of the remedy that the choice takes. The remedy's own functions are pure.
func (m *Model) preconditions(c harden.Control) ([]harden.Precondition, error) {
	r, ok := m.remedy(c)
	if !ok || r.Preconditions == nil || m.facts == nil {
		return nil, nil
	}
	values, err := r.Fill(c.ID, m.choice(c).Options)
	if err != nil {
		return nil, fmt.Errorf("checking preconditions: %w", err)
	}
	return r.Preconditions(m.facts, values), nil
}
