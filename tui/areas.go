package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// areasScreen is the first one: the areas with their tallies.
type areasScreen struct{ list list }

func (s *areasScreen) title(m *Model) (string, string) {
	if m.facts != nil && harden.NotANode(m.facts) {
		return "This machine is no Kubernetes node", ""
	}
	n := 0
	for _, a := range m.areas {
		n += len(a.Controls)
	}
	return fmt.Sprintf("Areas (%d controls)", n), plural(len(m.choices), "control", "controls") + " chosen"
}

func (s *areasScreen) actions(m *Model) []action {
	if m.facts != nil && harden.NotANode(m.facts) {
		return []action{act(Keys.Reread, "read again")}
	}
	out := []action{act(Keys.Open, "look"), act(Keys.ChooseArea, "choose all safe")}
	if len(m.choices) > 0 {
		out = append(out, act(Keys.Plan, "plan"), act(Keys.Save, "save choices"))
	}
	return append(out, act(Keys.Filter, "all that fails"), act(Keys.Search, "search"), act(Keys.History, "history"), act(Keys.Reread, "read again"))
}

func (s *areasScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case len(m.areas) == 0:
	case m.facts != nil && harden.NotANode(m.facts):
		if is(k, Keys.Reread) {
			return m.readFacts()
		}
	case s.list.key(k, len(m.areas), m.height-8):
	case is(k, Keys.Open):
		m.filter = filterAll
		m.push(&controlsScreen{area: s.list.cursor})
	case is(k, Keys.ChooseArea):
		m.chooseAreas(m.areas[s.list.cursor].Title, m.areas[s.list.cursor])
	case is(k, Keys.Filter):
		m.filter = filterFail
		m.push(&controlsScreen{area: allAreas})
	default:
		return m.listKey(k)
	}
	return nil
}

// listKey are the keys that the lists have in common.
func (m *Model) listKey(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Back):
		m.pop()
	case is(k, Keys.Plan):
		return m.openReview()
	case is(k, Keys.Save):
		return m.openSaveChoices()
	case is(k, Keys.Search):
		m.push(&searchScreen{})
	case is(k, Keys.Reread):
		return m.readAgain()
	case is(k, Keys.Confirm):
		m.say("nothing stands open: there is nothing to confirm")
	default:
		m.nothingHere(k)
	}
	return nil
}

// nothingHere says where a key does something that does nothing here.
func (m *Model) nothingHere(k tea.KeyPressMsg) {
	for _, g := range Keys.elsewhere() {
		for _, b := range g.bindings {
			if is(k, b) {
				m.say(b.Help().Key + " works " + strings.ToLower(g.where[:1]) + g.where[1:] + ": " + b.Help().Desc)
				return
			}
		}
	}
	if k.Text != "" {
		m.say(k.Text + " does nothing here; ? shows what does")
	}
}

func (s *areasScreen) view(m *Model, w, h int) []string {
	if m.facts != nil && harden.NotANode(m.facts) {
		return m.notANode(w, h)
	}
	t := m.theme
	columns := harden.Statuses
	name := 10
	for _, a := range m.areas {
		name = max(name, cells(t.inert(a.Title)))
	}
	name = min(name, w/3)
	room := w - 3 - name - len(chosenColumn)
	for i, c := range columns {
		if room -= tallyColumn(c); room < 0 {
			columns = columns[:i]
			break
		}
	}
	head := "   " + spaces(name)
	for _, c := range columns {
		head += "  " + t.glyph(c) + " " + word(c)
	}
	out := []string{paint(t.Faint, head+chosenColumn)}

	s.list.cursor = clamp(s.list.cursor, 0, len(m.areas)-1)
	out = append(out, s.list.draw(t, len(m.areas), h-1, func(i int) string { return s.row(m, i, name, columns) })...)
	walk := t.wrap(walkLine(w), w)
	walk = append(walk, t.wrap("Nothing is changed before you have seen the diff and typed this node's name.", w)...)
	spare := h - len(out)
	if about := s.about(m, w); spare >= 1+min(len(about), 2) {
		room := spare - 1
		if room >= 2+len(walk) {
			room -= len(walk)
		}
		out = append(append(out, ""), t.clip(about, room)...)
	}
	if h-len(out) < len(walk) {
		return out
	}
	for len(out) < h-len(walk) {
		out = append(out, "")
	}
	for _, l := range walk {
		out = append(out, paint(t.Faint, l))
	}
	return out
}

// about is what the area under the cursor is about.
func (s *areasScreen) about(m *Model, w int) []string {
	if len(m.areas) == 0 {
		return nil
	}
	d, a := newDoc(m.theme, min(w-2, 100)), m.areas[s.list.cursor]
	d.styled(0, m.theme.Strong, a.Title)
	d.text(0, a.About.String())
	return d.lines
}

func walkLine(w int) string {
	if w < 84 {
		return "The walk:  enter look > space choose > p plan, diff > A apply > H undo"
	}
	return "The walk:  enter look  >  space choose  >  p plan and its diff  >  A apply  >  H undo"
}

func (s *areasScreen) row(m *Model, i, name int, columns []harden.Status) string {
	t := m.theme
	a := m.areas[i]
	tally, chosen := m.tally(i)
	title := t.fit(t.inert(a.Title), name)
	line := "   " + title
	if i == s.list.cursor {
		line = " " + t.glyphs.Cursor + " " + paint(t.Selected, title)
	}
	for _, c := range columns {
		n := fmt.Sprintf("%*d", tallyColumn(c), tally[c])
		switch {
		case m.facts == nil:
			line += paint(t.Faint, fmt.Sprintf("%*s", tallyColumn(c), "."))
		case tally[c] == 0:
			line += paint(t.Faint, n)
		default:
			line += paint(t.status[c], n)
		}
	}
	return line + fmt.Sprintf("%*d", len(chosenColumn), chosen)
}

// tally of an area, and how many of it are chosen.
func (m *Model) tally(area int) (harden.Tally, int) {
	tally, chosen := harden.Tally{}, 0
	for i := range m.areas[area].Controls {
		id := m.areas[area].Controls[i].ID
		if at, ok := m.index[id]; ok {
			tally[m.findings[at].Status]++
		}
		if _, ok := m.choices[id]; ok {
			chosen++
		}
	}
	return tally, chosen
}

const chosenColumn = "  chosen"

// tallyColumn is the width of a verdict's column: two cells, sign, space, word.
func tallyColumn(s harden.Status) int { return 4 + len(word(s)) }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// chooseAreas takes what can hurt no more than this node's own components, as --area does.
func (m *Model) chooseAreas(title string, areas ...harden.Area) {
	if m.facts == nil {
		m.warn("nothing was read yet")
		return
	}
	var ids []string
	for _, a := range areas {
		ids = append(ids, a.ID)
	}
	choices, skipped, err := harden.Select(m.facts, m.areas, harden.Selection{Areas: ids})
	if err != nil {
		m.warn(err.Error())
		return
	}
	added, risky := 0, 0
	for _, c := range choices {
		if _, ok := m.choices[c.Control]; !ok {
			m.choices[c.Control] = c
			added++
		}
	}
	for _, s := range skipped {
		if _, ok := m.choices[s.Control]; !ok && s.Way == harden.ByControl && s.Remedy != "" {
			risky++
		}
	}
	said := "chose " + plural(added, "control", "controls") + " of " + title
	if risky > 0 {
		said += "; " + plural(risky, "other that fails", "others that fail") + " can hurt more than this node: read, then choose one by one"
	}
	m.say(said)
}

// notANode says what was looked for, in place of verdicts about nothing.
func (m *Model) notANode(w, h int) []string {
	d := newDoc(m.theme, min(w, 100))
	d.raw("")
	m.describeNotANode(d)
	return d.head(h, larger)
}

func (m *Model) describeNotANode(d *doc) {
	where := "on this machine"
	if id := m.facts.Identity; id.Offline {
		where = "below " + id.Root
	}
	d.text(0, "Nothing of Kubernetes was found "+where+", so there is nothing to assess.")
	d.raw("")
	d.text(0, "Run it on a node; as root it sees more. To look around without a node, or without risk:")
	d.text(2, m.opts.Demo)
	d.raw("")
	d.text(0, "Looked for:") // last: the list is longer than a small screen
	for _, e := range m.facts.LookedFor {
		d.text(2, e.Source)
	}
}
