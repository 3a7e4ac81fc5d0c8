package staticpod

import (
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
)

// Alpha is the control of AllAlpha.
func (p Pod) Alpha(refs harden.Refs) harden.Control {
	return harden.Control{
		ID:    p.id("alpha-features"),
		Title: "Alpha features are not turned on wholesale",
		Why:   harden.Msg(gates.WhyAlpha),
		Refs:  refs, Severity: harden.Medium, Component: p.Component, Flags: []string{gatesFlag},
		Needs: p.needs(), Applies: harden.RunsHere(p.Component),
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(p.Component).Flag(gatesFlag)
			if found := allAlpha(flag); len(found) > 0 {
				return harden.Failed(harden.Msg("%s turns on everything that is alpha", found[0]), flag.Evidence(gatesFlag))
			}
			return harden.Passed(harden.Msg("nothing turns on everything that is alpha"), flag.Evidence(gatesFlag))
		},
		Remedies: []harden.Remedy{{
			ID: "off", Title: harden.Msg("Take AllAlpha away"), Risk: harden.RiskWorkloads, Impact: p.Restarts(),
			Breaks: []harden.Message{harden.Msg("Workloads that count on an alpha feature of %s go without it: turn on by its own name what is needed.", p.Name)},
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				flag := f.Component(p.Component).FileFlag(gatesFlag)
				drop := allAlpha(flag)
				if len(drop) == len(flag.List()) {
					return []harden.Intent{harden.RemoveFlag(p.Component, gatesFlag)}, nil
				}
				return []harden.Intent{harden.MergeList(p.Component, gatesFlag, nil, drop)}, nil
			},
		}},
	}
}

// allAlpha are the entries that turn it on; what is no truth value keeps the program from starting.
func allAlpha(flag harden.FlagFact) []string {
	return slices.DeleteFunc(flag.List(), func(entry string) bool {
		name, value := gates.Entry(entry)
		on, err := strconv.ParseBool(value)
		return name != gates.AllAlpha || err != nil || !on
	})
}
