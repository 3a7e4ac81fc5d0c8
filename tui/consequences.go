package tui

import (
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// consequences are all that is agreed to, in few words: what can hurt comes first, the targets last.
func (s *confirmScreen) consequences(m *Model, d *doc) {
	r := s.review
	bad := func(said string) { d.item("  "+paint(d.t.Bad, "! "), 4, said) }
	warn := func(said string) { d.item("  "+paint(d.t.Warn, "! "), 4, said) }
	d.raw("")
	for _, p := range r.plans {
		if p.Switch != nil {
			bad("it can lock you out: it is undone by itself unless you confirm it within " + harden.Spell(p.Switch.Within))
		}
	}
	for _, said := range r.gravest(m) {
		bad(said)
	}
	if ids := r.restarts(); len(ids) > 0 && m.offline() {
		warn("taken up at the next start, as nothing runs from this root: " + strings.Join(ids, ", "))
	} else if len(ids) > 0 {
		warn(restart(ids))
	}
	if keys := r.sysctls(); len(keys) > 0 {
		when := " loaded: "
		if m.offline() {
			when = " loaded at the next boot: "
		}
		warn(plural(len(keys), "kernel setting is", "kernel settings are") + when + strings.Join(keys, ", "))
	}
	for _, p := range r.plans {
		if len(p.Accepted) > 0 {
			warn("not rehearsed as it should be, accepted on your word: " + strings.Join(components(p.Accepted), ", "))
		}
		for _, c := range p.Preflight {
			if c.State == harden.PreconditionUnknown {
				d.item("  "+d.t.precondition(c.State)+"  ", 13, c.Title.String()+"  ("+c.ID+")")
			}
		}
	}
	if m.opts.DryRun {
		d.text(2, "Dry run: it is rehearsed, and nothing is written.")
	}
	for _, p := range r.scripts {
		d.pair("backup", 8, path.Dir(p))
	}
	d.raw("")
	d.raw(paint(d.t.Strong, plural(len(r.targets), "target is", "targets are")+" written:"))
	for _, t := range r.targets {
		d.text(2, t.name)
	}
}

// gravest says each risk beyond the node once, with the controls that bring it; of an undo, what it leaves.
func (s *reviewScreen) gravest(m *Model) []string {
	if s.undoes != "" {
		return s.risks(m)
	}
	by := map[harden.Risk][]string{}
	for _, p := range s.plans {
		for _, choice := range p.Choices {
			_, c, ok := harden.FindControl(m.areas, choice.Control)
			if r, has := c.Remedy(choice.Remedy); ok && has && !slices.Contains(by[r.Risk], c.ID) {
				by[r.Risk] = append(by[r.Risk], c.ID)
			}
		}
	}
	var out []string
	for _, r := range []harden.Risk{harden.RiskLockOut, harden.RiskOneWay, harden.RiskWorkloads} {
		if len(by[r]) > 0 {
			out = append(out, risk(r)+"  ("+strings.Join(by[r], ", ")+")")
		}
	}
	return out
}

func restart(ids []string) string {
	if last := len(ids) - 1; last > 0 {
		return strings.Join(ids[:last], ", ") + " and " + ids[last] + " restart on this node, each once"
	}
	return ids[0] + " restarts on this node, once"
}

// restarts are the components that restart, in order.
func (s *reviewScreen) restarts() []string {
	var out []string
	for _, e := range s.effects() {
		if e.Component != "" && !slices.Contains(out, string(e.Component)) {
			out = append(out, string(e.Component))
		}
	}
	return out
}

// sysctls are the kernel settings that are loaded: "kernel.panic = 10".
func (s *reviewScreen) sysctls() []string {
	var out []string
	for _, e := range s.effects() {
		for k, v := range e.Sysctls {
			out = append(out, k+" = "+v)
		}
	}
	slices.Sort(out)
	return out
}

func (s *reviewScreen) effects() []harden.Effect {
	var out []harden.Effect
	for _, p := range s.plans {
		for _, stage := range p.Stages {
			out = append(out, stage.Effects...)
		}
	}
	return out
}

func components(ids []harden.ComponentID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out
}
