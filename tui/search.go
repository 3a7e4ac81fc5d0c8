package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// searchScreen finds controls of all areas by words, ids and references.
type searchScreen struct {
	input input
	list  list
	x     int

	found []*harden.Control // for these words and findings
	of    string
	seen  int
}

func (s *searchScreen) title(m *Model) (string, string) {
	return "Search all controls", plural(len(s.matches(m)), "match", "matches")
}

func (s *searchScreen) actions(*Model) []action {
	return []action{act(Keys.Submit, "open"), act(arrows, "move"), act(Keys.DeleteLine, "clear"), act(Keys.Cancel, "back")}
}

func (s *searchScreen) line() *input { return &s.input }

func (s *searchScreen) caret() (int, int) { return s.x, 0 }

// matches have every word in their id, title, area, verdict or references.
func (s *searchScreen) matches(m *Model) []*harden.Control {
	if s.seen == m.learned && s.of == s.input.value() {
		return s.found
	}
	s.seen, s.of = m.learned, s.input.value()
	words := strings.Fields(strings.ToLower(s.of))
	var out []*harden.Control
	for i := range m.areas {
		for j := range m.areas[i].Controls {
			if c := &m.areas[i].Controls[j]; containsAll(m.words[c.ID], words) {
				out = append(out, c)
			}
		}
	}
	s.found = out
	return out
}

func (m *Model) searchWords() map[string]string {
	out := map[string]string{}
	for _, a := range m.areas {
		for _, c := range a.Controls {
			f, _ := m.finding(c.ID)
			out[c.ID] = strings.ToLower(strings.Join([]string{c.ID, c.Title, a.Title, word(f.Status), string(c.Severity),
				benchmarkIDs(c.Refs), strings.Join(c.Refs.STIG, " ")}, " "))
		}
	}
	return out
}

// benchmarkIDs are the control's ids in every benchmark, so that it is found by the one of whoever follows an older one.
func benchmarkIDs(r harden.Refs) string {
	var out []string
	for _, asked := range r.Recommendations() {
		out = append(out, asked.ID)
	}
	return strings.Join(out, " ")
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func (s *searchScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	matches := s.matches(m)
	if moved := s.list.typingKey(k, len(matches), m.height-6); moved {
		return nil
	}
	switch {
	case is(k, Keys.Cancel):
		m.pop()
	case is(k, Keys.Submit):
		if s.list.cursor < len(matches) {
			m.push(&detailScreen{control: *matches[s.list.cursor]})
		}
	case s.input.key(k):
		s.list = list{}
	}
	return nil
}

func (s *searchScreen) view(m *Model, w, h int) []string {
	text, x := s.input.render(m.theme, w-4)
	s.x = x + 2
	out := []string{"/ " + text, ""}
	matches := s.matches(m)
	if len(matches) == 0 {
		return append(out, "Nothing has these words in its id, title, area, verdict or references.")
	}
	return append(out, s.list.draw(m.theme, len(matches), h-2, func(i int) string {
		c := matches[i]
		f, ok := m.finding(c.ID)
		verdict := spaces(9)
		if ok {
			verdict = m.theme.verdict(f.Status)
		}
		_, chosen := m.choices[c.ID]
		return m.theme.row(i == s.list.cursor, chosen, verdict, m.theme.fit(m.theme.inert(c.ID), w*2/5), m.theme.inert(c.Title), aside{}, w)
	})...)
}
