package tui

import (
	"maps"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// formScreen sets the remedy and the options of a control.
type formScreen struct {
	control harden.Control
	list    list
}

// optionScreen is one option that is typed.
type optionScreen struct {
	form   *formScreen
	option harden.Option
	input  input
	x, y   int
}

func (m *Model) openForm(c harden.Control) {
	if !m.settable(c) {
		m.warn(m.choosable(c))
		return
	}
	m.push(&formScreen{control: c})
}

func (s *formScreen) title(m *Model) (string, string) {
	chosen := "not chosen"
	if m.isChosen(s.control) {
		chosen = "chosen"
	}
	return "Remedy and options: " + m.theme.inert(s.control.Title), chosen
}

func (s *formScreen) actions(m *Model) []action {
	return []action{act(Keys.Change, "change"), act(Keys.Done, "back"), act(Keys.Diff, "diff"), act(Keys.Right, "next value"), act(Keys.Left, "previous")}
}

// options of the remedy that is taken.
func (s *formScreen) options(m *Model) []harden.Option {
	r, _ := m.remedy(s.control)
	return r.Options
}

func (s *formScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	options := s.options(m)
	switch {
	case s.list.key(k, 1+len(options), m.height/2):
	case is(k, Keys.Right, Keys.Choose):
		s.change(m, options, 1, false)
	case is(k, Keys.Left):
		s.change(m, options, -1, false)
	case is(k, Keys.Change):
		s.change(m, options, 1, true)
	case is(k, Keys.Diff):
		return m.openControlDiff(s.control)
	case is(k, Keys.Done, Keys.Back):
		m.pop()
	default:
		m.nothingHere(k)
	}
	return nil
}

// change cycles what can be cycled; what must be typed is opened on enter only.
func (s *formScreen) change(m *Model, options []harden.Option, by int, open bool) {
	if s.list.cursor == 0 {
		s.cycleRemedy(m, by)
		return
	}
	o := options[clamp(s.list.cursor, 1, len(options))-1]
	switch o.Kind {
	case harden.OptionSwitch:
		m.setOption(s.control, o, cycle([]string{"false", "true"}, m.option(s.control, o), by))
	case harden.OptionOneOf:
		m.setOption(s.control, o, cycle(o.Choices, m.option(s.control, o), by))
	default:
		if open {
			m.push(&optionScreen{form: s, option: o, input: newInput(m.option(s.control, o))})
		}
	}
}

func (s *formScreen) cycleRemedy(m *Model, by int) {
	var ids []string
	for _, r := range m.remedies(s.control) {
		ids = append(ids, r.ID)
	}
	now := ""
	if r, ok := m.remedy(s.control); ok {
		now = r.ID
	}
	choice := m.choice(s.control)
	choice.Remedy = cycle(ids, now, by)
	if choice.Remedy == now {
		m.say("there is no other remedy")
		return
	}
	choice.Options, choice.Accept, choice.Named = nil, false, true
	r, _ := s.control.Remedy(choice.Remedy)
	m.set(choice, s.control.ID+" by "+r.ID, r.Risk)
}

func cycle(values []string, now string, by int) string {
	if len(values) == 0 {
		return now
	}
	i := slices.Index(values, now)
	if i < 0 && by < 0 {
		i = 0
	}
	return values[(i+by+len(values))%len(values)]
}

// option as it is set, else as the facts have it, else its default.
func (m *Model) option(c harden.Control, o harden.Option) string {
	if v, ok := m.choice(c).Options[o.Name]; ok {
		return v
	}
	if r, ok := m.remedy(c); ok && o.Found != nil && m.facts != nil {
		if others, err := r.Fill(c.ID, m.choice(c).Options); err == nil {
			return o.Found(m.facts, others)
		}
	}
	return o.Default
}

func (m *Model) setOption(c harden.Control, o harden.Option, value string) {
	r, ok := m.remedy(c)
	if !ok {
		return
	}
	choice := m.choice(c)
	choice.Remedy = r.ID
	options := harden.Values{}
	maps.Copy(options, choice.Options)
	options[o.Name] = value
	choice.Options = options
	m.set(choice, c.ID+" with "+o.Name+" = "+value, r.Risk)
}

func (s *formScreen) view(m *Model, w, h int) []string {
	options := s.options(m)
	s.list.cursor = clamp(s.list.cursor, 0, len(options))
	r, ok := m.remedy(s.control)
	d := newDoc(m.theme, w)
	remedy := "none yet"
	if ok {
		remedy = r.ID
	}
	if n := len(m.remedies(s.control)); n > 1 {
		remedy += "  (one of " + plural(n, "remedy", "remedies") + ")"
	}
	d.raw("")
	s.field(d, 0, "remedy", remedy)
	from, to := 0, len(options)
	if room := h - 12; to > room && room > 0 {
		from = clamp(s.list.cursor-1-room/2, 0, to-room)
		to = from + room
	}
	for i := from; i < to; i++ {
		o := options[i]
		s.field(d, i+1, o.Name, m.option(s.control, o)+unit(o))
	}
	if s.list.cursor == 0 && ok {
		d.heading(m.theme.msg(r.Title))
		d.pair("effect", 9, r.Impact.String())
		d.pair("risk", 9, risk(r.Risk))
		for _, b := range r.Breaks {
			d.item("  - ", 4, b.String())
		}
	} else if s.list.cursor > 0 {
		o := options[s.list.cursor-1]
		d.heading(m.theme.msg(o.Title))
		d.text(2, "kind: "+string(o.Kind)+"; default: "+o.Default+unit(o))
		if len(o.Choices) > 0 {
			d.text(2, "one of: "+strings.Join(o.Choices, ", "))
		}
	}
	return m.theme.clip(d.lines, h)
}

func (s *formScreen) field(d *doc, i int, name, value string) {
	cursor := "  "
	value = d.t.cut(d.t.inert(value), d.w-30)
	if i == s.list.cursor {
		cursor = d.t.glyphs.Cursor + " "
		value = paint(d.t.Selected, value)
	}
	d.raw(" " + cursor + d.t.fit(d.t.inert(name), 24) + "  " + value)
}

func (s *optionScreen) title(m *Model) (string, string) {
	return s.form.control.ID + ": " + m.theme.inert(s.option.Name), ""
}

func (s *optionScreen) actions(*Model) []action {
	return []action{act(Keys.Submit, "set"), act(Keys.DeleteLine, "clear"), act(Keys.Cancel, "leave as it is")}
}

func (s *optionScreen) line() *input { return &s.input }

func (s *optionScreen) caret() (int, int) { return s.x, s.y }

func (s *optionScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Cancel):
		m.pop()
	case is(k, Keys.Submit):
		if err := s.option.Accepts(s.input.value()); err != nil {
			m.warn(err.Error())
			return nil
		}
		m.pop()
		m.setOption(s.form.control, s.option, s.input.value())
	default:
		s.input.key(k)
	}
	return nil
}

func (s *optionScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, w)
	d.raw("")
	d.text(0, s.option.Title.String())
	d.raw("")
	text, x := s.input.render(m.theme, w-4)
	s.x, s.y = x+2, len(d.lines)
	d.raw("> " + text)
	d.raw("")
	d.styled(0, m.theme.Faint, "kind: "+string(s.option.Kind)+"; default: "+s.option.Default+unit(s.option))
	return d.head(h, larger)
}
