package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// controlsScreen lists the controls of an area, with the one under the cursor explained below or beside.
type controlsScreen struct {
	area int // its number, or allAreas
	list list
}

const allAreas = -1

// rows are the controls that the filter lets through, of so many.
func (s *controlsScreen) rows(m *Model) (rows []*harden.Control, of int) {
	for i := range m.areas {
		if s.area != allAreas && s.area != i {
			continue
		}
		for j := range m.areas[i].Controls {
			of++
			if c := &m.areas[i].Controls[j]; m.passes(c.ID) {
				rows = append(rows, c)
			}
		}
	}
	return rows, of
}

func (s *controlsScreen) title(m *Model) (string, string) {
	title, right := "All areas", "showing "+m.filter.String()
	if s.area != allAreas {
		title = m.theme.inert(m.areas[s.area].Title)
	}
	if m.filter != filterAll {
		rows, of := s.rows(m)
		right += fmt.Sprintf(" (%d of %d)", len(rows), of)
	}
	return title, right
}

func (s *controlsScreen) actions(m *Model) []action {
	var out []action
	var own controlActions
	if rows, _ := s.rows(m); s.list.cursor < len(rows) {
		own = m.controlActions(*rows[s.list.cursor])
		out = append(append(out, act(Keys.Open, "why")), own.first...)
	}
	if len(m.choices) > 0 {
		out = append(out, act(Keys.Plan, "plan"))
	}
	out = append(out, act(Keys.Filter, "filter"), act(Keys.Back, "back"), act(Keys.Search, "search"))
	return append(append(out, own.then...), act(Keys.ChooseArea, ""), act(Keys.Save, ""), act(Keys.Reread, ""))
}

// controlActions are the keys that do something about one control as it is.
type controlActions struct{ first, then []action }

func (m *Model) controlActions(c harden.Control) (out controlActions) {
	switch {
	case m.isChosen(c):
		out.first = append(out.first, act(Keys.Choose, "leave out"))
	case m.choosable(c) == "":
		out.first = append(out.first, act(Keys.Choose, "choose"))
	}
	if m.settable(c) {
		out.then = append(out.then, act(Keys.Options, "options"))
	}
	if m.choosable(c) != "" {
		return out
	}
	out.first = append(out.first, act(Keys.Diff, "diff"))
	if m.unknownOf(c) {
		out.then = append(out.then, act(Keys.Accept, "accept unknown"))
	}
	return out
}

func (s *controlsScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	rows, _ := s.rows(m)
	switch {
	case is(k, Keys.Filter):
		s.refilter(m, rows)
		return nil
	case is(k, Keys.ChooseArea) && s.area == allAreas:
		m.chooseAreas("all areas", m.areas...)
		return nil
	case is(k, Keys.ChooseArea):
		m.chooseAreas(m.areas[s.area].Title, m.areas[s.area])
		return nil
	}
	if len(rows) > 0 {
		s.list.cursor = clamp(s.list.cursor, 0, len(rows)-1)
		c := *rows[s.list.cursor]
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
func (s *controlsScreen) refilter(m *Model, rows []*harden.Control) {
	id := ""
	if s.list.cursor < len(rows) {
		id = rows[s.list.cursor].ID
	}
	m.cycleFilter()
	rows, _ = s.rows(m)
	for i, c := range rows {
		if c.ID == id {
			s.list.cursor = i
		}
	}
}

func (s *controlsScreen) view(m *Model, w, h int) []string {
	rows, _ := s.rows(m)
	asides := s.asides(m, rows)
	if len(rows) == 0 {
		return []string{"", m.filter.none(), "f shows others, esc goes back."}
	}
	s.list.cursor = clamp(s.list.cursor, 0, len(rows)-1)
	here := *rows[s.list.cursor]
	if w >= splitWidth {
		left := w * 9 / 20
		right := newDoc(m.theme, w-left-3)
		right.styled(0, m.theme.Strong, here.Title)
		m.describe(right, here)
		about := right.head(h, Keys.Open.Help().Key)
		listed := s.list.draw(m.theme, len(rows), h, func(i int) string { return s.row(m, rows[i], asides[rows[i].ID], i == s.list.cursor, left) })
		var out []string
		for i := range h {
			line := spaces(left)
			if i < len(listed) {
				line = listed[i] + spaces(left-ansi.StringWidth(listed[i]))
			}
			if i < len(about) {
				line += "   " + about[i]
			}
			out = append(out, line)
		}
		return out
	}
	preview := clamp(h-len(rows)-1, h/3, h*2/3)
	out := s.list.draw(m.theme, len(rows), h-preview-1, func(i int) string { return s.row(m, rows[i], asides[rows[i].ID], i == s.list.cursor, w) })
	for len(out) < h-preview {
		out = append(out, "")
	}
	d := newDoc(m.theme, w)
	m.brief(d, here)
	return append(out, d.head(preview, Keys.Open.Help().Key)...)
}

// aside is what a row of several areas has at its end: the area, which may give way to the title where that is the only one of its
// kind.
type aside struct {
	area string
	twin bool // another row has the same title
}

// asides of rows, by control; none in the list of one area.
func (s *controlsScreen) asides(m *Model, rows []*harden.Control) map[string]aside {
	if s.area != allAreas {
		return nil
	}
	titles := map[string]int{}
	for _, c := range rows {
		titles[c.Title]++
	}
	out := map[string]aside{}
	for _, a := range m.areas {
		for _, c := range a.Controls {
			out[c.ID] = aside{area: m.theme.inert(a.Title), twin: titles[c.Title] > 1}
		}
	}
	return out
}

func (s *controlsScreen) row(m *Model, c *harden.Control, beside aside, here bool, w int) string {
	f, ok := m.finding(c.ID)
	_, chosen := m.choices[c.ID]
	verdict := spaces(9)
	if ok {
		verdict = m.theme.verdict(f.Status)
	}
	return m.theme.row(here, chosen, verdict, pad(string(c.Severity), 8), m.theme.inert(c.Title), beside, w)
}

// row of a list of controls: cursor, whether it is chosen, verdict, one column, text, and what stands at the end.
func (t *Theme) row(here, chosen bool, verdict, column, text string, beside aside, w int) string {
	cursor, box := " ", "["+t.glyphs.Unchosen+"]"
	if here {
		cursor = t.glyphs.Cursor
	}
	if chosen {
		box = paint(t.Strong, "["+t.glyphs.Chosen+"]")
	}
	room, end := w-(2+3+2+9+2+cells(column)+2), ""
	area := t.cut(beside.area, room/2)
	if n := cells(area) + 2; area != "" && (beside.twin || cells(text)+n <= room) {
		room, end = room-n, "  "+paint(t.Faint, area)
	}
	text = t.fit(text, room)
	if here {
		text = paint(t.Selected, text)
	}
	return cursor + " " + box + "  " + verdict + "  " + column + "  " + text + end
}
