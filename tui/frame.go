package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// View draws the whole frame: header, title, body, perhaps a sentence, footer.
func (m *Model) View() (v tea.View) {
	v.AltScreen = true
	defer func() {
		if what := recover(); what != nil {
			_ = m.fail(caught(what))
			if m.leave != nil {
				m.leave()
			}
		}
	}()
	if m.opts.Mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	lines := m.frame()
	v.SetContent(strings.Join(lines, "\n"))
	if t, ok := m.top().(typist); ok && m.fits() {
		x, y := t.caret()
		v.Cursor = tea.NewCursor(min(x, m.width-1), min(y+2, m.height-1))
	}
	return v
}

// frame is exactly height lines, none wider than width.
func (m *Model) frame() []string {
	w, h := max(m.width, 1), max(m.height, 1)
	if !m.fits() {
		return m.tooSmall(w, h)
	}
	note := m.note(w)
	body := h - 3 - len(note)
	shown := m.top().view(m, w, body) // before its title, which tells where in it one is
	lines := []string{m.header(w), m.titleLine(w)}
	for i := range body {
		line := ""
		if i < len(shown) {
			line = shown[i]
		}
		lines = append(lines, line)
	}
	lines = append(lines, note...)
	lines = append(lines, m.footer(w))
	for i, l := range lines {
		if ansi.StringWidth(l) > w {
			lines[i] = ansi.Truncate(l, w, "")
		}
	}
	return lines
}

func (m *Model) tooSmall(w, h int) []string {
	lines := wrapLine(fmt.Sprintf("This terminal is too small: it has %dx%d cells, and at least %dx%d are needed.", m.width, m.height, MinWidth, MinHeight), w)
	lines = append(lines, "")
	if m.run.live() {
		// Nobody is to end a change because a window is small.
		said := "A change is being made, and goes on by itself. Make the terminal larger to see it."
		if p := m.following(); p != nil && p.stopping {
			said = "A change is being undone. Make the terminal larger to see it."
		}
		lines = append(lines, wrapLine(said, w)...)
		if _, asked := m.top().(*stopScreen); asked {
			lines = append(lines, wrapLine("ctrl+c again stops it: what was written is undone. Any other key goes on.", w)...)
		} else if p := m.following(); p != nil {
			lines = append(lines, "")
			lines = append(lines, wrapLine(m.theme.inert(p.now(m)), w)...)
		}
	} else {
		lines = append(lines, wrapLine("Make it larger, or press q and run:", w)...)
		lines = append(lines, wrapLine(m.theme.inert(m.opts.Walk)+" --plain", w)...)
	}
	for len(lines) < h {
		lines = append(lines, "")
	}
	return lines[:h]
}

// header says where this acts. The context gives way first, the node never.
func (m *Model) header(w int) string {
	t := m.theme
	node, version := "", ""
	var where []string
	if m.facts != nil {
		id := m.facts.Identity
		node, version = t.inert(id.Node), t.inert(id.KubernetesVersion)
		if id.Offline {
			where = append(where, "offline")
		}
		if id.Root != "" && id.Root != "/" && !m.opts.Sandbox {
			where = append(where, "root "+t.inert(id.Root))
		}
	}
	state, loud := "looks only", false
	switch {
	case m.run.live():
		state, loud = "CHANGING", true
	case m.standing.waits():
		state, loud = "UNCONFIRMED", true
	case m.standing != nil && m.standing.Running:
		state = "another run"
	case m.opts.ReadOnly:
		state = "read only"
	case m.opts.DryRun:
		state = "dry run"
	}
	banner := ""
	if m.opts.Sandbox {
		banner = " SANDBOX "
	}
	left := "kubectl-harden"
	if node == "" {
		node = "this node"
	}
	node = t.middle(node, max(w/3, 12))
	fixed := cells(left) + 2 + cells(node) + 2 + cells(state) + 2
	if banner != "" {
		fixed += cells(banner) + 2
	}
	var extra []string
	room := w - fixed
	add := func(s string, least, most int) {
		if s == "" || room < least+2 {
			return
		}
		s = t.middle(s, min(room-2, most))
		room -= cells(s) + 2
		extra = append(extra, s)
	}
	add(version, 6, w)
	for _, s := range where {
		add(s, 7, 29)
	}
	add(t.inert(m.opts.Cluster), 10, w)

	out := paint(t.Strong, left)
	used := cells(left)
	put := func(s string, painted string) {
		out += "  " + painted
		used += 2 + cells(s)
	}
	if banner != "" {
		put(banner, paint(t.Banner, banner))
	}
	put(node, paint(t.Strong, node))
	for _, s := range extra {
		put(s, s)
	}
	painted := paint(t.Faint, state)
	if loud {
		painted = paint(t.Banner, state)
	}
	return out + spaces(w-used-cells(state)) + painted
}

func (m *Model) titleLine(w int) string {
	left, right := m.top().title(m)
	right = m.theme.cut(right, max(w/2, w-cells(left)-2))
	left = m.theme.middle(left, w-cells(right)-2)
	return paint(m.theme.Title, left) + spaces(w-cells(left)-cells(right)) + paint(m.theme.Faint, right)
}

// note is what stands above the footer: what was just said, else what is waited for, else why nothing can be changed here.
func (m *Model) note(w int) []string {
	t := m.theme
	d := newDoc(t, w)
	if m.status != "" && m.statusBad {
		d.item(paint(t.Bad, "! "), 2, m.status)
	} else if m.status != "" {
		d.text(0, m.status)
	} else if s := m.waiting(); s != "" {
		d.styled(0, t.Faint, s)
	} else if s := m.standingNote(); s != "" {
		d.item(paint(t.Warn, "! "), 2, s)
	} else if s := m.damageNote(); s != "" {
		d.item(paint(t.Bad, "! "), 2, s)
	} else if m.facts != nil {
		if why, only := harden.AssessOnly(m.facts); only && !harden.NotANode(m.facts) {
			d.item(paint(t.Warn, "! "), 2, why.String())
		}
	}
	const most = 5
	if len(d.lines) > most {
		d.lines[most-1] = t.cut(d.lines[most-1], w-2)
	}
	return t.clip(d.lines, most)
}

// footer is the keys that are valid now. Hints are left out whole, from the back; help and the way out stay.
func (m *Model) footer(w int) string {
	type hint struct{ key, text string }
	var hints []hint
	for _, a := range m.top().actions(m) {
		if a.short != "" {
			hints = append(hints, hint{a.binding.Help().Key, a.short})
		}
	}
	last := []hint{}
	if _, typing := m.top().(typist); !typing {
		if _, in := m.top().(*helpScreen); !in {
			last = append(last, hint{Keys.Help.Help().Key, "help"})
		}
		if _, asked := m.top().(*stopScreen); !asked {
			last = append(last, hint{Keys.Quit.Help().Key, m.quits()})
		}
	}
	size := func(h hint) int { return len(h.key) + 1 + len(h.text) }
	room := w
	for _, h := range last {
		room -= size(h) + 2
	}
	var kept []hint
	for _, h := range hints {
		if size(h)+2 > room && len(kept) > 0 {
			break
		}
		room -= size(h) + 2
		kept = append(kept, h)
	}
	var out []string
	for _, h := range append(kept, last...) {
		out = append(out, paint(m.theme.Key, h.key)+" "+h.text)
	}
	return strings.Join(out, "  ")
}

// quits says what q does now.
func (m *Model) quits() string {
	if m.run.live() {
		return "stop (asks first)"
	}
	return "quit"
}

func spaces(n int) string {
	if n <= 0 {
		return ""
	}
	return strings.Repeat(" ", n)
}
