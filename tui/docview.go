package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// doc is a text that is being written, line by line, for a width. Everything that goes in is made inert.
type doc struct {
	t     *Theme
	w     int
	lines []string
}

func newDoc(t *Theme, w int) *doc { return &doc{t: t, w: max(w, 1)} }

// heading begins a section.
func (d *doc) heading(s string) {
	if len(d.lines) > 0 {
		d.lines = append(d.lines, "")
	}
	d.lines = append(d.lines, paint(d.t.Strong, s))
}

// raw puts in a line that is inert and painted.
func (d *doc) raw(s string) { d.lines = append(d.lines, s) }

// text wraps a paragraph behind an indent.
func (d *doc) text(indent int, s string) { d.styled(indent, ansi.Style{}, s) }

func (d *doc) styled(indent int, style ansi.Style, s string) {
	for _, l := range d.t.wrap(s, d.w-indent) {
		d.lines = append(d.lines, spaces(indent)+paint(style, l))
	}
}

// item wraps text behind a painted lead of some cells, once.
func (d *doc) item(lead string, w int, s string) {
	for i, l := range d.t.wrap(s, d.w-w) {
		if i == 0 {
			d.lines = append(d.lines, lead+l)
		} else {
			d.lines = append(d.lines, spaces(w)+l)
		}
	}
}

// pair is a label and its text. A path or another word that does not fit beside its label stands below it.
func (d *doc) pair(label string, column int, s string) {
	if !strings.Contains(s, " ") && cells(d.t.inert(s)) > d.w-2-column {
		d.raw(spaces(2) + paint(d.t.Faint, label))
		d.text(4, s)
		return
	}
	d.item(spaces(2)+paint(d.t.Faint, pad(label, column)), 2+column, s)
}

// head is the first n lines; where more follow, the last one says how they are seen.
func (d *doc) head(n int, how string) []string {
	if len(d.lines) <= n {
		return d.lines
	}
	if n <= 0 {
		return nil
	}
	return append(d.lines[:n-1:n-1], paint(d.t.Faint, "(more: "+how+")"))
}

// larger is how more is seen of what neither scrolls nor opens.
const larger = "in a larger terminal"

// window shows the text from where the scroller stands, and says at its end whether more follows.
func (d *doc) window(s *scroller, h int) []string {
	from, to := s.window(len(d.lines), h)
	out := append([]string(nil), d.lines[from:to]...)
	if to < len(d.lines) && len(out) > 1 {
		out[len(out)-1] = paint(d.t.Faint, "(more: down)")
	}
	return out
}
