package harden

import (
	"fmt"
	"slices"
	"strings"
)

// Selection is what the operator asked for on the command line or in a choices file.
type Selection struct {
	All      bool
	Controls []string
	Areas    []string
	Remedies map[string]string // control -> remedy
	Set      map[string]Values // control -> option -> value
	Accept   []string
	Choices  []Choice // from a file; each one is named
	Profile  *Profile
}

// Empty says that nothing was selected.
func (s Selection) Empty() bool {
	return !s.All && s.Profile == nil && len(s.Controls) == 0 && len(s.Areas) == 0 && len(s.Remedies) == 0 && len(s.Choices) == 0
}

// UnknownNameError is a name that the catalogue does not have.
type UnknownNameError struct {
	What, Name string
	Known      []string
}

func (e *UnknownNameError) Error() string { return fmt.Sprintf("unknown %s: %q", e.What, e.Name) }

// Nearest are known names that resemble the unknown one.
func (e *UnknownNameError) Nearest() []string {
	var out []string
	if e.Name == "" {
		return nil // which is in every name
	}
	for _, k := range e.Known {
		if strings.Contains(k, e.Name) || strings.Contains(e.Name, k) || strings.HasSuffix(k, "-"+e.Name) {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		for _, k := range e.Known {
			for _, w := range strings.Split(e.Name, "-") {
				if len(w) > 3 && strings.Contains(k, w) && !slices.Contains(out, k) {
					out = append(out, k)
				}
			}
		}
	}
	return out[:min(len(out), 5)]
}

// Select turns a selection into choices. Controls taken by --all or by an area are left out, with the reason, where their
// remedy can hurt more than the node's own components; those must be named.
func Select(f *Facts, areas []Area, s Selection) ([]Choice, []Skip, error) {
	if err := checkNames(areas, s); err != nil {
		return nil, nil, err
	}
	choices := slices.Clone(s.Choices)
	for i := range choices {
		choices[i].Named = true
	}
	find := func(id string) *Choice {
		for i := range choices {
			if choices[i].Control == id {
				return &choices[i]
			}
		}
		return nil
	}
	named := func(id string) *Choice {
		if c := find(id); c != nil {
			return c
		}
		c := s.preset(id)
		c.Named = true
		choices = append(choices, c)
		return &choices[len(choices)-1]
	}
	for _, id := range s.Controls {
		named(id)
	}
	for id, r := range s.Remedies {
		c := named(id)
		if c.Remedy != "" && c.Remedy != r {
			c.Options = nil // they are the other remedy's
		}
		c.Remedy = r
	}
	var skipped []Skip
	for _, a := range areas {
		for _, c := range a.Controls {
			if !s.takes(a, c) || find(c.ID) != nil {
				continue
			}
			if v := verdict(f, c); v.Status != StatusFail {
				if s.Profile != nil && s.Profile.Takes(c.Refs) {
					skipped = append(skipped, undecided(f, c, v)...)
				}
				continue
			}
			r, ok := DefaultRemedy(f, c)
			choice := s.preset(c.ID)
			if choice.Remedy != "" {
				r, ok = c.Remedy(choice.Remedy)
			}
			w, isWaived := f.Waiver(c.ID)
			switch {
			case isWaived && w.Holds(f.CollectedAt):
				skipped = append(skipped, waivedSkip(c, w))
			case !ok:
				skipped = append(skipped, noDefault(f, c))
			case r.Risk != RiskNode:
				skipped = append(skipped, Skip{Control: c.ID, Remedy: r.ID, Reason: riskReason(r.Risk), Way: ByControl})
			default:
				choice.Remedy = r.ID
				choices = append(choices, choice)
			}
		}
	}
	if s.Profile != nil {
		skipped = joined(skipped, s.Profile.Left(f))
	}
	for id, values := range s.Set {
		c := find(id)
		if c == nil {
			return nil, nil, fmt.Errorf("setting an option: %s: the control is not selected", id)
		}
		c.Options = merged(c.Options, values)
	}
	for _, id := range s.Accept {
		if c := find(id); c != nil {
			c.Accept = true
		}
	}
	inCatalogueOrder(areas, choices)
	return choices, skipped, nil
}

// preset is the choice of a control as its profile wants it; without one, as it is by default.
func (s Selection) preset(control string) Choice {
	if s.Profile != nil {
		if own, has := s.Profile.choice(control); has {
			return own
		}
	}
	return Choice{Control: control}
}

// undecided is what a profile asks for and nobody knows to be done: a person must decide, or a fact is missing. To follow it as a whole is
// to hear of these too.
func undecided(f *Facts, c Control, v Verdict) []Skip {
	switch v.Status {
	case StatusManual:
		if w, isWaived := f.Waiver(c.ID); isWaived && w.Holds(f.CollectedAt) {
			return []Skip{waivedSkip(c, w)}
		}
		s := Skip{Control: c.ID, Reason: Msg("a person must decide: %s", v.Message)}
		if r, ok := DefaultRemedy(f, c); ok {
			s.Remedy, s.Way = r.ID, ByControl
		}
		return []Skip{s}
	case StatusUnknown:
		return []Skip{{Control: c.ID, Reason: Msg("whether it is so is not known: %s", v.Message)}}
	}
	return nil
}

func waivedSkip(c Control, w Waiver) Skip {
	return Skip{Control: c.ID, Reason: Msg("waived until %s: %s", w.LastDay(), w.Reason), Way: ByControl}
}

// joined are the skips and what the profile refuses; why it refuses says more of a control than that a person must decide.
func joined(skipped, refused []Skip) []Skip {
	isRefused := func(s Skip) bool {
		return s.Remedy == "" && s.Way == "" && slices.ContainsFunc(refused, func(r Skip) bool { return r.Control == s.Control })
	}
	return append(slices.DeleteFunc(skipped, isRefused), refused...)
}

// takes says that a control is selected by what it belongs to, without its name.
func (s Selection) takes(a Area, c Control) bool {
	return s.All || slices.Contains(s.Areas, a.ID) || s.Profile != nil && s.Profile.Takes(c.Refs)
}

// Unread are the components that a selection takes without naming controls, and of which nothing can be planned: their own
// files cannot be read.
func Unread(f *Facts, areas []Area, s Selection) []ComponentID {
	var out []ComponentID
	for _, a := range areas {
		for _, c := range a.Controls {
			if s.takes(a, c) {
				out = append(out, unread(f, c)...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func riskReason(r Risk) Message {
	switch r {
	case RiskWorkloads:
		return Msg("it can cut off workloads or their users")
	case RiskLockOut:
		return Msg("it can lock operators out")
	}
	return Msg("it cannot be undone simply")
}

func noDefault(f *Facts, c Control) Skip {
	for _, r := range c.Remedies {
		if r.Literal && r.Versions.Contains(VersionFor(f, c)) {
			return Skip{Control: c.ID, Remedy: r.ID, Reason: Msg("only the literal remedy holds for this version"), Way: ByRemedy}
		}
	}
	if len(c.Remedies) == 0 {
		return Skip{Control: c.ID, Reason: Msg("this is to be decided or done by hand; the control says how")}
	}
	return Skip{Control: c.ID, Reason: Msg("there is no remedy for this version; the control says what to do by hand")}
}

// DefaultRemedy is the first remedy that holds for the version and is not literal.
func DefaultRemedy(f *Facts, c Control) (Remedy, bool) {
	for _, r := range c.Remedies {
		if !r.Literal && r.Versions.Contains(VersionFor(f, c)) {
			return r, true
		}
	}
	return Remedy{}, false
}

// FindControl looks a control up.
func FindControl(areas []Area, id string) (Area, Control, bool) {
	for _, a := range areas {
		for _, c := range a.Controls {
			if c.ID == id {
				return a, c, true
			}
		}
	}
	return Area{}, Control{}, false
}

// Remedy finds one of the control's remedies.
func (c Control) Remedy(id string) (Remedy, bool) {
	for _, r := range c.Remedies {
		if r.ID == id {
			return r, true
		}
	}
	return Remedy{}, false
}

func checkNames(areas []Area, s Selection) error {
	var areaIDs, controlIDs []string
	for _, a := range areas {
		areaIDs = append(areaIDs, a.ID)
		for _, c := range a.Controls {
			controlIDs = append(controlIDs, c.ID)
		}
	}
	for _, id := range s.Areas {
		if !slices.Contains(areaIDs, id) {
			return &UnknownNameError{"area", id, areaIDs}
		}
	}
	ids := slices.Concat(s.Controls, slices.DeleteFunc(slices.Clone(s.Accept), isComponent))
	for id := range s.Remedies {
		ids = append(ids, id)
	}
	for id := range s.Set {
		ids = append(ids, id)
	}
	for _, c := range s.Choices {
		ids = append(ids, c.Control)
	}
	for _, id := range ids {
		if !slices.Contains(controlIDs, id) {
			return &UnknownNameError{"control", id, controlIDs}
		}
	}
	for id, r := range s.Remedies {
		if err := checkRemedy(areas, id, r); err != nil {
			return err
		}
	}
	for _, c := range s.Choices {
		if err := checkRemedy(areas, c.Control, c.Remedy); err != nil {
			return err
		}
	}
	return nil
}

// AcceptedComponents are those that --accept names, for Plan.Accept.
func (s Selection) AcceptedComponents() []ComponentID {
	var out []ComponentID
	for _, id := range s.Accept {
		if isComponent(id) {
			out = append(out, ComponentID(id))
		}
	}
	return out
}

func isComponent(id string) bool {
	_, ok := ComponentByID(ComponentID(id))
	return ok
}

func checkRemedy(areas []Area, control, remedy string) error {
	if remedy == "" {
		return nil
	}
	_, c, _ := FindControl(areas, control)
	if _, ok := c.Remedy(remedy); ok {
		return nil
	}
	var known []string
	for _, r := range c.Remedies {
		known = append(known, r.ID)
	}
	return &UnknownNameError{"remedy of " + control, remedy, known}
}

func merged(a, b Values) Values {
	out := Values{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

func inCatalogueOrder(areas []Area, choices []Choice) {
	rank := map[string]int{}
	for _, a := range areas {
		for _, c := range a.Controls {
			rank[c.ID] = len(rank)
		}
	}
	slices.SortStableFunc(choices, func(a, b Choice) int { return rank[a.Control] - rank[b.Control] })
}
