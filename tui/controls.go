package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// controlsScreen lists the controls of an area, with the one under the cursor explained below or beside.
type controlsScreen struct {
	area int // its number, or allAreas
	list list
}

const allAreas = -1

// in is the area, or all of them as one.
func (s *controlsScreen) in(m *Model) harden.Area {
	if s.area != allAreas {
		return m.areas[s.area]
	}
	all := harden.Area{Title: "All areas"}
	for _, a := range m.areas {
		all.Controls = append(all.Controls, a.Controls...)
	}
	return all
}

func (s *controlsScreen) title(m *Model) (string, string) {
	a := s.in(m)
	right := "showing " + m.filter.String()
	if m.filter != filterAll {
		right += fmt.Sprintf(" (%d of %d)", len(m.controls(a)), len(a.Controls))
	}
	return m.theme.inert(a.Title), right
}

func (s *controlsScreen) actions(m *Model) []action {
	choose := "choose"
	if rows := m.controls(s.in(m)); s.list.cursor < len(rows) && m.isChosen(rows[s.list.cursor]) {
		choose = "leave out"
	}
	out := []action{act(Keys.Open, "why"), act(Keys.Choose, choose), act(Keys.Diff, "diff")}
	if len(m.choices) > 0 {
		out = append(out, act(Keys.Plan, "plan"))
	}
	return append(out, act(Keys.Filter, "filter"), act(Keys.Back, "back"), act(Keys.Search, "search"), act(Keys.Options, "options"),
		act(Keys.ChooseArea, ""), act(Keys.Accept, ""), act(Keys.Save, ""), act(Keys.Reread, ""))
}

func (s *controlsScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	rows := m.controls(s.in(m))
	switch {
	case is(k, Keys.Filter):
		s.refilter(m, rows)
		return nil
	case is(k, Keys.ChooseArea) && s.area != allAreas:
		m.chooseArea(m.areas[s.area])
		return nil
	}
	if len(rows) > 0 {
		s.list.cursor = clamp(s.list.cursor, 0, len(rows)-1)
		c := rows[s.list.cursor]
		switch {
		case s.list.key(k, len(rows), m.height/2):
			return nil
		case is(k, Keys.Open):
			m.push(&detailScreen{control: c})
			return nil
		case is(k, Keys.Choose):
			m.toggle(c)
			return nil
		}
		if cmd, ok := m.controlKey(k, c); ok {
			return cmd
		}
	}
	return m.listKey(k)
}

// controlKey are the keys that act on one control.
func (m *Model) controlKey(k tea.KeyPressMsg, c harden.Control) (tea.Cmd, bool) {
	switch {
	case is(k, Keys.Choose):
		m.toggle(c)
	case is(k, Keys.Diff):
		return m.openControlDiff(c), true
	case is(k, Keys.Options):
		m.openForm(c)
	case is(k, Keys.Accept):
		m.accept(c)
	default:
		return nil, false
	}
	return nil, true
}

// refilter keeps the cursor on its control where that is still shown.
func (s *controlsScreen) refilter(m *Model, rows []harden.Control) {
	id := ""
	if s.list.cursor < len(rows) {
		id = rows[s.list.cursor].ID
	}
	m.cycleFilter()
	for i, c := range m.controls(s.in(m)) {
		if c.ID == id {
			s.list.cursor = i
		}
	}
}

func (s *controlsScreen) view(m *Model, w, h int) []string {
	rows := m.controls(s.in(m))
	if len(rows) == 0 {
		return []string{"", "No control here is shown: " + m.filter.String() + ".", "f shows others, esc goes back."}
	}
	s.list.cursor = clamp(s.list.cursor, 0, len(rows)-1)
	here := rows[s.list.cursor]
	if w >= splitWidth {
		left := w * 9 / 20
		right := newDoc(m.theme, w-left-3)
		right.styled(0, m.theme.Strong, here.Title)
		m.describe(right, here)
		from, to := s.list.window(len(rows), h)
		var out []string
		for i := range h {
			line := spaces(left)
			if from+i < to {
				line = s.row(m, rows[from+i], from+i == s.list.cursor, left)
			}
			if i < len(right.lines) {
				line += "   " + right.lines[i]
			}
			out = append(out, line)
		}
		return out
	}
	preview := clamp(h-len(rows)-1, h/3, h*2/3)
	from, to := s.list.window(len(rows), h-preview-1)
	var out []string
	for i := from; i < to; i++ {
		out = append(out, s.row(m, rows[i], i == s.list.cursor, w))
	}
	for len(out) < h-preview {
		out = append(out, "")
	}
	d := newDoc(m.theme, w)
	m.brief(d, here)
	return append(out, d.head(preview)...)
}

func (s *controlsScreen) row(m *Model, c harden.Control, here bool, w int) string {
	f, ok := m.finding(c.ID)
	_, chosen := m.choices[c.ID]
	verdict := spaces(9)
	if ok {
		verdict = m.theme.verdict(f.Status)
	}
	return m.theme.row(here, chosen, verdict, pad(string(c.Severity), 8), m.theme.inert(c.Title), w)
}

// row of a list of controls: cursor, whether it is chosen, verdict, one column, text.
func (t *Theme) row(here, chosen bool, verdict, column, text string, w int) string {
	cursor, box := " ", "["+t.glyphs.Unchosen+"]"
	if here {
		cursor = t.glyphs.Cursor
	}
	if chosen {
		box = paint(t.Strong, "["+t.glyphs.Chosen+"]")
	}
	used := 2 + 3 + 2 + 9 + 2 + cells(column) + 2
	text = t.fit(text, w-used)
	if here {
		text = paint(t.Selected, text)
	}
	return cursor + " " + box + "  " + verdict + "  " + column + "  " + text
}
