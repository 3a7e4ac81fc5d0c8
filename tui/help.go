package tui

import (
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// helpScreen lists every key, those that are valid on the screen below first. It can be searched, and enter runs an entry.
type helpScreen struct {
	entries []entry
	input   input
	list    list
	x       int
}

// entry is a line of the help; without a binding it is the legend.
type entry struct {
	group   string
	binding key.Binding
	label   string
	text    string
	valid   bool
	status  harden.Status
}

func newHelp(m *Model) *helpScreen {
	s := &helpScreen{}
	var here []string
	offer := func(group string, valid bool, b key.Binding, text string) {
		h := b.Help()
		if id := h.Key + h.Desc; !slices.Contains(here, id) {
			here = append(here, id)
			s.entries = append(s.entries, entry{group: group, binding: b, label: h.Key, text: text, valid: valid})
		}
	}
	add := func(group string, valid bool, b key.Binding) { offer(group, valid, b, b.Help().Desc) }
	for _, a := range m.top().actions(m) {
		offer("Here", true, a.binding, a.help())
	}
	if m.run.live() {
		offer("Here", true, Keys.Quit, m.quits())
	} else {
		add("Here", true, Keys.History)
	}
	for _, g := range Keys.elsewhere() {
		for _, b := range g.bindings {
			add(g.where, false, b)
		}
	}
	for _, st := range harden.Statuses {
		s.entries = append(s.entries, entry{group: "Verdicts", label: m.theme.glyph(st) + " " + word(st), text: meaning(st), status: st})
	}
	for _, b := range Keys.everywhere() {
		add("Everywhere", true, b)
	}
	return s
}

type group struct {
	where    string
	bindings []key.Binding
}

// everywhere are the keys of every screen on which nothing is typed.
func (k KeyMap) everywhere() []key.Binding {
	return []key.Binding{k.Up, k.Down, k.PageUp, k.PageDown, k.HalfUp, k.HalfDown, k.Top, k.Bottom, k.Back, k.Redraw, k.Suspend, k.Quit, k.Stop}
}

// elsewhere are the other keys, with where they are valid.
func (k KeyMap) elsewhere() []group {
	return []group{
		{"On a control", []key.Binding{k.Open, k.Diff, k.Choose, k.Options, k.Accept}},
		{"On options", []key.Binding{k.Change, k.Done}},
		{"On lists", []key.Binding{k.Plan, k.ChooseArea, k.Search, k.Filter, k.Save, k.Reread}},
		{"On a plan", []key.Binding{k.Apply}},
		{"In the history", []key.Binding{k.Undo}},
		{"After apply", []key.Binding{k.Confirm}},
		{"On a diff", []key.Binding{k.NextHunk, k.PrevHunk, k.Expand, k.Split, k.Write, k.Yank}},
		{"To stop applying", []key.Binding{k.StopApply}},
	}
}

func (s *helpScreen) title(*Model) (string, string) {
	return "Help: type to search, enter runs a key", ""
}

func (s *helpScreen) actions(*Model) []action {
	return []action{act(Keys.Submit, "run"), act(arrows, "move"), act(Keys.DeleteLine, "clear"), act(Keys.Cancel, "close")}
}

func (s *helpScreen) line() *input { return &s.input }

func (s *helpScreen) caret() (int, int) { return s.x, 0 }

func (s *helpScreen) matches() []entry {
	words := strings.Fields(strings.ToLower(s.input.value()))
	if len(words) == 0 {
		return s.entries
	}
	var out []entry
	for _, e := range s.entries {
		if containsAll(strings.ToLower(e.label+" "+e.text+" "+e.group), words) {
			out = append(out, e)
		}
	}
	return out
}

func (s *helpScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	matches := s.matches()
	if s.list.typingKey(k, len(matches), m.height-6) {
		return nil
	}
	switch {
	case is(k, Keys.Cancel):
		m.pop()
	case is(k, Keys.Submit):
		if s.list.cursor >= len(matches) {
			return nil
		}
		e := matches[s.list.cursor]
		if len(e.binding.Keys()) == 0 {
			return nil
		}
		if !e.valid {
			m.warn("not here: " + strings.ToLower(e.group[:1]) + e.group[1:])
			return nil
		}
		m.pop()
		return m.press(press(e.binding))
	case s.input.key(k):
		s.list = list{}
	}
	return nil
}

func (s *helpScreen) view(m *Model, w, h int) []string {
	t := m.theme
	text, x := s.input.render(t, w-4)
	s.x = x + 2
	out := []string{"? " + text, ""}
	matches := s.matches()
	if len(matches) == 0 {
		return append(out, "No key does this.")
	}
	rows := h - 2
	if len(matches) > rows {
		rows--
	}
	from, to := s.list.window(len(matches), rows)
	for i := from; i < to; i++ {
		e := matches[i]
		where := ""
		if i == from || matches[i-1].group != e.group {
			where = e.group
		}
		cursor := "  "
		label, about := t.fit(e.label, 10), t.fit(e.text, w-31)
		switch {
		case i == s.list.cursor:
			cursor = t.glyphs.Cursor + " "
			about = paint(t.Selected, about)
		case e.status != "":
			label = paint(t.status[e.status], label)
		case !e.valid:
			about = paint(t.Faint, about)
		}
		if e.valid {
			label = paint(t.Key, label)
		}
		out = append(out, cursor+paint(t.Faint, t.fit(where, 16))+" "+label+" "+about)
	}
	if to < len(matches) {
		out = append(out, paint(t.Faint, "  (more: down)"))
	}
	return out
}
