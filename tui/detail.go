package tui

import (
	"sort"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// detailScreen is all about one control.
type detailScreen struct {
	control harden.Control
	scroll  scroller
}

func (s *detailScreen) title(m *Model) (string, string) {
	right := "not chosen"
	if _, ok := m.choices[s.control.ID]; ok {
		right = "chosen"
	}
	return m.theme.inert(s.control.Title), right
}

func (s *detailScreen) actions(m *Model) []action {
	own := m.controlActions(s.control)
	out := own.first
	if len(m.choices) > 0 {
		out = append(out, act(Keys.Plan, "plan"))
	}
	return append(append(append(out, own.then...), act(Keys.Back, "back")), act(Keys.Save, ""), act(Keys.Search, ""), act(Keys.Reread, ""))
}

func (s *detailScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	if s.scroll.key(k, m.height-5) {
		return nil
	}
	if cmd, ok := m.controlKey(k, s.control); ok {
		return cmd
	}
	return m.listKey(k)
}

func (s *detailScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, min(w, 120))
	m.describe(d, s.control)
	return d.window(&s.scroll, h)
}

// brief says what fails and why in a few lines.
func (m *Model) brief(d *doc, c harden.Control) {
	t := m.theme
	d.raw(paint(t.Strong, t.cut(t.inert(c.Title), d.w-cells(c.ID)-2)) + "  " + paint(t.Faint, c.ID))
	f, ok := m.finding(c.ID)
	if ok {
		m.verdictLines(d, f)
	}
	d.text(0, c.Why.String())
}

func (m *Model) verdictLines(d *doc, f harden.Finding) {
	d.item(m.theme.verdict(f.Status)+" ", 10, f.Message.String())
	for _, e := range f.Evidence {
		if more := unsaid(f.Message.String(), e); more != "" {
			d.text(10, more)
		}
	}
	for _, hint := range f.Hints {
		d.pair("by hand", 10, hint)
	}
}

// unsaid is what of an evidence a verdict has not said already.
func unsaid(verdict string, e harden.Evidence) string {
	value, source := e.Value, "  ("+e.Source+")"
	if strings.Contains(verdict, e.Value) {
		value = ""
	}
	if strings.Contains(verdict, e.Source) {
		source = ""
	}
	return strings.TrimSpace(value + source)
}

// describe says everything about a control.
func (m *Model) describe(d *doc, c harden.Control) {
	f, ok := m.finding(c.ID)
	if ok {
		d.item(m.theme.verdict(f.Status)+" ", 10, f.Message.String())
	} else {
		d.text(0, "not assessed yet")
	}
	d.heading("Why")
	d.text(2, c.Why.String())
	if ends := m.ends(c, d.w); ends != nil {
		d.heading("When they end")
		for _, l := range ends {
			d.raw("  " + d.t.cut(d.t.inert(l), d.w-2))
		}
	} else if len(f.Evidence) > 0 {
		d.heading("Seen")
		for _, e := range f.Evidence {
			d.text(2, e.Value)
			d.styled(4, d.t.Faint, "in "+e.Source)
		}
	}
	if len(f.Hints) > 0 {
		d.heading("By hand")
		for _, hint := range f.Hints {
			d.command(2, shellWords(hint))
		}
	}
	m.describeRemedy(d, c)
	d.heading("References")
	for _, r := range references(c) {
		d.pair(r[0], 15, r[1])
	}
}

// ends is a control's timeline; nil where it has none.
func (m *Model) ends(c harden.Control, w int) []string {
	if c.Ends == nil || m.facts == nil {
		return nil
	}
	return harden.DrawEnds(c.Ends(m.facts), w-2)
}

func (m *Model) describeRemedy(d *doc, c harden.Control) {
	rs := m.remedies(c)
	r, ok := m.remedy(c)
	if !ok {
		if len(rs) > 0 {
			d.heading("Remedy")
			d.text(2, "Only a literal remedy holds for this version: choose it by name"+m.theme.hint(" (o).", " among the options."))
		}
		return
	}
	d.heading("Remedy")
	d.text(2, r.Title.String())
	d.pair("effect", 9, r.Impact.String())
	d.pair("risk", 9, risk(r.Risk))
	if _, err := r.Fill(c.ID, m.choice(c).Options); err != nil {
		d.pair("options", 9, err.Error())
	}
	for _, o := range r.Options {
		d.pair("option", 9, o.Name+" = "+m.option(c, o)+unit(o)+"  "+o.Title.String())
	}
	if len(rs) > 1 {
		var others []string
		for _, x := range rs {
			if x.ID != r.ID {
				others = append(others, x.ID)
			}
		}
		d.pair("others", 9, strings.Join(others, ", ")+m.theme.hint("  (o changes it)", ""))
	}
	if len(r.Breaks) > 0 {
		d.heading("What it may break")
		for _, b := range r.Breaks {
			d.item("  - ", 4, b.String())
		}
	}
	checks, err := m.preconditions(c)
	if err != nil {
		d.heading("Must hold before")
		d.text(2, err.Error())
	}
	if len(checks) > 0 {
		d.heading("Must hold before")
		for _, p := range checks {
			m.preconditionLines(d, p, "", m.choice(c).Accept)
		}
	}
}

// preconditionLines is one precondition with its state and what was seen.
func (m *Model) preconditionLines(d *doc, p harden.Precondition, of string, accepted bool) {
	said := p.Title.String()
	if of != "" {
		said += "  (" + of + ")"
	}
	if p.State == harden.PreconditionUnknown && accepted {
		said += "  - accepted on your word"
	}
	d.item("  "+m.theme.precondition(p.State)+"  ", 13, said)
	if !p.Message.IsZero() && p.State != harden.Met {
		d.styled(13, d.t.Faint, p.Message.String())
	}
	for _, e := range p.Evidence {
		if p.State != harden.Met {
			d.styled(13, d.t.Faint, e.Value+"  ("+e.Source+")")
		}
	}
	for _, hint := range p.Hints {
		if p.State != harden.Met {
			d.command(13, shellWords(hint))
		}
	}
}

func unit(o harden.Option) string {
	if o.Unit == "" {
		return ""
	}
	return " " + o.Unit
}

// references as label and text.
func references(c harden.Control) [][2]string {
	out := [][2]string{{"control", c.ID}, {"severity", string(c.Severity)}}
	add := func(label string, of []string) {
		if len(of) > 0 {
			out = append(out, [2]string{label, strings.Join(of, ", ")})
		}
	}
	for _, l := range c.Refs.BenchmarkLines() {
		out = append(out, [2]string{l.Label, l.Text.String()})
	}
	add("STIG", c.Refs.STIG)
	add("NSA 1.2", c.Refs.NSA)
	add("seed", c.Refs.Seed)
	if c.Versions != (harden.VersionRange{}) {
		out = append(out, [2]string{"versions", c.Versions.String()})
	}
	docs := append([]string(nil), c.Refs.Docs...)
	sort.Strings(docs)
	for _, u := range docs {
		out = append(out, [2]string{"docs", u})
	}
	return out
}
