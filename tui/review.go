package tui

import (
	"fmt"
	"path"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// reviewScreen shows plans as a whole before they are applied: of what is chosen, or to undo a transaction.
type reviewScreen struct {
	undoes  string // transaction; empty: the choices
	plans   []harden.Plan
	skips   []harden.Skip
	targets []target
	scripts []string
	scroll  scroller
	seen    bool // the diff was on the screen
}

func (m *Model) openReview() tea.Cmd {
	choices := m.chosen()
	if len(choices) == 0 {
		m.warn("nothing is chosen yet: space chooses a control, * all of an area that can hurt this node only")
		return nil
	}
	return m.plan(choices, func(m *Model, plans []harden.Plan) tea.Cmd {
		m.push(m.newReview("", plans))
		return nil
	})
}

func (m *Model) newReview(undoes string, plans []harden.Plan) *reviewScreen {
	s := &reviewScreen{undoes: undoes, plans: plans, skips: skipped(plans), targets: targets(plans)}
	if undoes == "" {
		s.skips = append(s.skips, m.leftOut()...)
	}
	for _, p := range s.plans {
		if script := m.engine.ScriptPath(p); !p.Empty() && !slices.Contains(s.scripts, script) {
			s.scripts = append(s.scripts, script)
		}
	}
	return s
}

func (s *reviewScreen) title(m *Model) (string, string) {
	chosen := map[string]bool{} // a control may have a part in several plans
	for _, p := range s.plans {
		for _, c := range p.Choices {
			chosen[c.Control] = true
		}
	}
	left := "Plan: " + plural(len(chosen), "control", "controls") + ", " + plural(len(s.targets), "target", "targets")
	if len(s.targets) == 0 {
		left = "Plan: no change"
	}
	out := map[string]bool{}
	for _, k := range s.skips {
		if !chosen[k.Control] {
			out[k.Control] = true
		}
	}
	if len(out) > 0 {
		left += ", " + plural(len(out), "control", "controls") + " left out"
	}
	if s.undoes != "" {
		left = "Undo of " + m.theme.inert(s.undoes) + ": " + plural(len(s.targets), "target", "targets")
	}
	return left, "nothing is changed yet"
}

func (s *reviewScreen) actions(m *Model) []action {
	var out []action
	if len(s.targets) > 0 {
		out = append(out, act(Keys.Diff, "show the diff"))
	}
	out = append(out, s.applyAction(m)...)
	if len(s.unrehearsed()) > 0 {
		out = append(out, act(Keys.Accept, "accept what is not rehearsed"))
	}
	if s.undoes == "" {
		out = append(out, act(Keys.Save, "save choices"))
	}
	return append(out, act(Keys.Back, "back"), act(Keys.Write, ""))
}

// applyAction offers to apply where that is possible.
func (s *reviewScreen) applyAction(m *Model) []action {
	if s.obstacle(m) != "" {
		return nil
	}
	if !s.seen {
		return []action{act(Keys.Apply, "then apply")}
	}
	return []action{act(Keys.Apply, "apply")}
}

// accepted is what the command line says of components that were accepted.
func (s *reviewScreen) accepted() []string {
	var out []string
	for _, p := range s.plans {
		for _, id := range p.Accepted {
			out = append(out, "--accept "+string(id))
		}
	}
	return out
}

// unrehearsed are components that cannot be rehearsed as they should be, and were not accepted.
func (s *reviewScreen) unrehearsed() []string {
	var out []string
	for _, p := range s.plans {
		for _, id := range p.Unrehearsed() {
			out = append(out, string(id))
		}
	}
	return out
}

// accept takes what cannot be rehearsed on the operator's word.
func (s *reviewScreen) accept(m *Model) {
	ids := s.unrehearsed()
	if len(ids) == 0 {
		m.warn("everything is rehearsed as it should be: there is nothing to accept")
		return
	}
	for i, p := range s.plans {
		if own := p.Unrehearsed(); len(own) > 0 {
			s.plans[i] = p.Accept(own...)
		}
	}
	m.say("accepted on your word: " + strings.Join(ids, ", ") + " is not rehearsed as it should be")
}

// obstacle says why the plans cannot be applied from here; "" if they can, once their diff was seen.
func (s *reviewScreen) obstacle(m *Model) string {
	switch {
	case m.opts.ReadOnly:
		return "read only: nothing is applied"
	case len(s.targets) == 0:
		return "nothing to do"
	case m.standing != nil && !s.settles(m.standing):
		return m.standingObstacle()
	case m.facts == nil || m.facts.Identity.Node == "":
		return "the name of this node is not known, so it cannot be confirmed"
	}
	if ids := s.unrehearsed(); len(ids) > 0 {
		return strings.Join(ids, ", ") + " cannot be rehearsed as it should be: see Rehearsal" + m.theme.hint("; a accepts that on your word", "")
	}
	for _, p := range s.plans {
		if n := len(p.Blocking()); n > 0 {
			return plural(n, "check forbids", "checks forbid") + " this plan: see Preflight"
		}
	}
	for _, f := range s.targets {
		if f.hidden != "" {
			return f.name + " cannot be shown, so it is not applied from here: " + f.hidden
		}
	}
	return ""
}

// apply asks for the confirmation.
func (s *reviewScreen) apply(m *Model) tea.Cmd {
	if why := s.obstacle(m); why != "" {
		m.warn(why)
		return nil
	}
	if !s.seen {
		m.warn("look at the diff first: d shows it, then A applies")
		return nil
	}
	m.push(&confirmScreen{review: s, node: m.facts.Identity.Node, quietSince: m.opts.Now()})
	return nil
}

func (s *reviewScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	if s.scroll.key(k, m.height-5) {
		return nil
	}
	switch {
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Diff, Keys.Submit):
		what := "Diff of the whole plan"
		if s.undoes != "" {
			what = "Diff of undoing " + s.undoes
		}
		m.push(&diffScreen{what: what, review: s, targets: s.targets, skipped: s.skips})
	case is(k, Keys.Apply):
		return s.apply(m)
	case is(k, Keys.Accept):
		s.accept(m)
	case is(k, Keys.Save) && s.undoes == "":
		return m.openSaveChoices()
	case is(k, Keys.Write) && len(s.targets) > 0:
		return (&diffScreen{targets: s.targets}).openWrite(m)
	default:
		m.nothingHere(k)
	}
	return nil
}

func (s *reviewScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 140))
	s.describe(m, d)
	return d.window(&s.scroll, h)
}

func (s *reviewScreen) describe(m *Model, d *doc) {
	if s.undoes != "" {
		d.text(0, "This undoes "+s.undoes+".")
		for _, p := range s.plans {
			if p.Undoes != "" && !strings.Contains(s.undoes, p.Undoes) {
				d.text(0, "With it goes what keeps it through upgrades, of transaction "+p.Undoes+".")
			}
		}
		if s.keepsOnly() {
			d.text(0, "It is of what kubeadm keeps for upgrades only: the node itself stays as it is, and its next kubeadm upgrade takes back what is undone here. To undo it there too, undo the transaction of the node.")
		}
		d.raw("")
	}
	if len(s.targets) == 0 {
		if len(s.skips) == 0 {
			d.raw("")
			d.text(0, noChange)
		}
	} else {
		s.deadMan(d)
		s.consequences(m, d)
		s.rehearsal(d)
		s.changes(d)
		s.preflight(m, d)
	}
	if len(s.skips) > 0 && s.undoes == "" {
		d.heading("Left out")
		for _, k := range s.skips {
			d.item("  - ", 4, d.t.left(k))
		}
	}
	if len(s.targets) == 0 {
		return
	}
	d.heading("Backup and undo")
	d.text(2, "Before anything is changed, the originals are saved in")
	for _, p := range s.scripts {
		d.text(4, path.Dir(p))
	}
	d.text(2, "restore.sh in there puts them back by hand, without this program.")
	d.pair("here", 8, d.t.hint("H, then u", "history"))
	if command := m.opts.shell("rollback"); command != "" {
		d.pair("or run", 8, command)
	}
	if s.undoes == "" {
		if m.opts.Sandbox {
			d.heading("The same on a node of yours")
		} else {
			d.heading("The same from the command line")
		}
		d.command(2, append(m.command(d.w-commandRoom), s.accepted()...))
	}
}

// keepsOnly says that of what was applied to the node nothing is touched.
func (s *reviewScreen) keepsOnly() bool {
	return len(s.targets) > 0 && !slices.ContainsFunc(s.plans, func(p harden.Plan) bool { return !p.Empty() && !p.Keeps() })
}

// consequences come first: what happens, and what it can hurt.
func (s *reviewScreen) consequences(m *Model, d *doc) {
	d.raw(paint(d.t.Strong, "What happens"))
	n := 0
	for _, p := range s.plans {
		for _, stage := range p.Stages {
			for _, e := range stage.Effects {
				n++
				d.item("  "+paint(d.t.Warn, "! "), 4, m.effect(e, stage.Gates))
			}
			if said := stage.Sharing.Words(); !said.IsZero() {
				d.item("  "+paint(d.t.Warn, "! "), 4, said.String())
			}
			for _, g := range stage.Gates {
				if len(g.Objects) > 0 {
					d.item("  - ", 4, plural(len(g.Objects), "object is", "objects are")+" written to the cluster and read back")
				}
				if len(g.Traffic) > 0 {
					d.item("  - ", 4, "Afterwards it is asked whether pods can still be made, aggregated APIs answer, and Services have ready endpoints, where they did before")
				}
			}
		}
	}
	if n == 0 {
		d.text(2, "Nothing restarts.")
	}
	if m.offline() {
		d.text(2, "Offline: only files change, and nothing can be proven.")
	}
	for _, c := range s.risks(m) {
		d.item("  "+paint(d.t.Bad, "! "), 4, c)
	}
	if s.undoes == "" && !m.offline() {
		d.text(2, "A check that fails afterwards undoes everything by itself.")
	}
}

// deadMan says what is undone by itself unless it is confirmed.
func (s *reviewScreen) deadMan(d *doc) {
	for _, p := range s.plans {
		if p.Switch == nil {
			continue
		}
		d.raw(paint(d.t.Strong, "Dead man's switch"))
		for i, said := range p.Switch.Review() {
			lead := "  - "
			if i == 0 {
				lead = "  " + paint(d.t.Bad, "! ")
			}
			d.item(lead, 4, said.String())
		}
		d.pair("here", 8, d.t.hint("C confirms, once it is asked for", "confirm"))
		d.raw("")
	}
}

// rehearsal says how each component is tried before it is touched, and what only its gate will tell.
func (s *reviewScreen) rehearsal(d *doc) {
	headed := false
	for _, p := range s.plans {
		for _, stage := range p.Stages {
			for _, r := range stage.Rehearsals {
				if !headed {
					d.heading("Rehearsal, before anything restarts")
					headed = true
				}
				d.text(2, string(r.Component))
				for _, means := range r.Means() {
					d.item("    - ", 6, means.String())
				}
				if !r.Unrehearsed.IsZero() {
					said := r.Unrehearsed.String()
					if p.Accepts(r.Component) {
						said += "  - accepted on your word"
					}
					d.item("    "+paint(d.t.Warn, "! "), 6, said)
				}
				d.styled(4, d.t.Faint, "only the gate tells: "+r.GateOnly.String())
			}
		}
	}
}

// risks of the choices that can hurt more than this node.
func (s *reviewScreen) risks(m *Model) []string {
	var out []string
	if s.undoes != "" {
		for _, k := range skipped(s.plans) {
			out = append(out, k.Reason.String())
		}
		return out
	}
	said := map[string]bool{} // a control may have a part in several plans
	for _, p := range s.plans {
		for _, choice := range p.Choices {
			_, c, ok := harden.FindControl(m.areas, choice.Control)
			if !ok || said[c.ID] {
				continue
			}
			said[c.ID] = true
			if r, ok := c.Remedy(choice.Remedy); ok && r.Risk != harden.RiskNode {
				out = append(out, c.ID+": "+risk(r.Risk))
				for _, b := range r.Breaks {
					out = append(out, c.ID+": "+b.String())
				}
			}
		}
	}
	return out
}

func (m *Model) offline() bool { return m.facts != nil && m.facts.Identity.Offline }

// effect in a sentence.
func (m *Model) effect(e harden.Effect, gates []harden.Gate) string {
	what := ""
	switch e.Kind {
	case harden.EffectStaticPod, harden.EffectUnit:
		if m.offline() {
			what = string(e.Component) + " will take it up at its next start"
			break
		}
		what = string(e.Component) + " restarts on this node, once"
		for _, g := range gates {
			if g.Component == e.Component && g.Timeout > 0 {
				what += fmt.Sprintf("; it has %s to prove that it is well", seconds(g.Timeout))
			}
		}
	case harden.EffectSysctl:
		var keys []string
		for k, v := range e.Sysctls {
			keys = append(keys, k+" = "+v)
		}
		slices.Sort(keys)
		what = "kernel settings are loaded: "
		if m.offline() {
			what = "kernel settings will be loaded at the next boot: "
		}
		what += strings.Join(keys, ", ")
	default:
		what = e.Words().String()
	}
	return what + "  (" + strings.Join(e.Controls, ", ") + ")"
}

func (s *reviewScreen) changes(d *doc) {
	d.heading(d.t.hint("Changes (d shows the exact lines)", "Changes (the exact lines follow)"))
	for _, f := range s.targets {
		tally := fmt.Sprintf("+%d -%d", f.short.Added, f.short.Removed)
		if f.step.Kind == harden.StepDir || f.step.Secret {
			tally = ""
		}
		for i, l := range d.t.wrap(f.name, d.w-len(tally)-4) {
			if i > 0 {
				tally = ""
			}
			d.raw("  " + paint(d.t.Strong, l) + "  " + tally)
		}
		said := slices.Clone(f.notes)
		if f.hidden != "" {
			said = append(said, f.hidden)
		}
		if by := f.step.Controls(); len(by) > 0 {
			said = append(said, "by "+strings.Join(by, ", "))
		}
		for _, line := range said {
			d.styled(4, d.t.Faint, line)
		}
	}
}

func (s *reviewScreen) preflight(m *Model, d *doc) {
	d.heading("Preflight")
	n := 0
	// What stands in the way first.
	for _, state := range []harden.PreconditionState{harden.Unmet, harden.PreconditionUnknown, harden.Met} {
		for _, p := range s.plans {
			for _, c := range p.Preflight {
				if c.State != state {
					continue
				}
				n++
				of := c.Control
				if of == "" {
					of = string(c.Component)
				}
				if c.Blocks && c.State != harden.Met {
					of = strings.TrimPrefix(of+", forbids the plan", ", ")
				}
				m.preconditionLines(d, c.Precondition, of, m.choices[c.Control].Accept)
			}
		}
	}
	if n == 0 {
		d.text(2, "Nothing is to be checked.")
	}
}
