package tui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/patches"
)

// diffRow is one row of a diff on the screen: a text, or a part of one or two lines.
type diffRow struct {
	text        string // painted
	hunk        int    // for the header of a change: its number, from 1
	target      int
	left, right part
}

// part is the piece of a line that fits into a row.
type part struct {
	line     *patches.Line
	mark     string // the number of the control that asked for it, where a change has several
	shown    string // the whole line with everything visible
	from, to int    // bytes of that
}

// layout is what the rows were made for.
type layout struct {
	width        int
	whole, split bool
}

// diffRows lays targets out.
type diffRows struct {
	t       *Theme
	lay     layout
	rows    []diffRow
	starts  []int            // row at which each change begins
	changes [][]patches.Line // its lines
	digits  int
}

func layOut(t *Theme, targets []target, lay layout) *diffRows {
	d := &diffRows{t: t, lay: lay, digits: 3}
	for i := range targets {
		f := &targets[i]
		for _, h := range f.whole.Hunks {
			if n := h.OldLines + h.NewLines; n > 999 {
				d.digits = max(d.digits, len(fmt.Sprint(n)))
			}
		}
	}
	for i := range targets {
		d.target(i, &targets[i])
	}
	return d
}

func (d *diffRows) text(target int, s string) {
	d.rows = append(d.rows, diffRow{text: s, target: target})
}

func (d *diffRows) target(i int, f *target) {
	t := d.t
	if i > 0 {
		d.text(i, "")
	}
	tally := ""
	if f.short.Added+f.short.Removed > 0 {
		tally = fmt.Sprintf("  +%d -%d", f.short.Added, f.short.Removed)
	}
	d.text(i, paint(t.Strong, t.middle(t.inert(f.name), d.lay.width-len(tally)))+tally)
	for _, n := range f.notes {
		for _, l := range t.wrap(n, d.lay.width-2) {
			d.text(i, "  "+l)
		}
	}
	if f.hidden != "" {
		for _, l := range t.wrap(f.hidden, d.lay.width-4) {
			d.text(i, paint(t.Bad, "! ")+l)
		}
		return
	}
	hunks := f.short.Hunks
	if d.lay.whole {
		hunks = f.whole.Hunks
	}
	for _, h := range hunks {
		d.hunk(i, f, h)
	}
}

func (d *diffRows) hunk(i int, f *target, h patches.Hunk) {
	asked := f.asked(h.Lines)
	several := asked
	if len(asked) == 1 {
		several = nil
	}
	where := fmt.Sprintf("@@ -%d,%d +%d,%d @@", h.OldStart, h.OldLines, h.NewStart, h.NewLines)
	if h.Section != "" {
		where += " " + d.t.inert(h.Section)
	}
	row := diffRow{text: d.t.cut(where, d.lay.width), target: i}
	if !d.lay.whole {
		d.change(h.Lines)
		row.hunk = len(d.starts)
	}
	d.rows = append(d.rows, row)
	by := make([]string, len(asked))
	for n, c := range asked {
		by[n] = c
		if several != nil {
			by[n] = fmt.Sprintf("%d %s", n+1, c)
		}
	}
	if len(by) > 0 {
		for _, l := range d.t.wrap("asked by "+strings.Join(by, ", "), d.lay.width-2) {
			d.text(i, paint(d.t.Faint, "  "+l))
		}
	}
	if d.lay.split {
		d.pairs(i, f, h.Lines, several)
		return
	}
	for n := range h.Lines {
		l := &h.Lines[n]
		if d.lay.whole && begins(h.Lines, n) {
			d.change(changed(h.Lines[n:]))
		}
		for _, p := range d.parts(f, l, several) {
			d.rows = append(d.rows, diffRow{target: i, left: p})
		}
		d.noNewline(i, l)
	}
}

// change notes that one that keys can jump to begins with the next row.
func (d *diffRows) change(lines []patches.Line) {
	d.starts = append(d.starts, len(d.rows))
	d.changes = append(d.changes, lines)
}

// begins says that a run of changed lines begins at n.
func begins(lines []patches.Line, n int) bool {
	return lines[n].Op != patches.Equal && (n == 0 || lines[n-1].Op == patches.Equal)
}

// changed is the run of changed lines that lines begin with.
func changed(lines []patches.Line) []patches.Line {
	if n := slices.IndexFunc(lines, func(l patches.Line) bool { return l.Op == patches.Equal }); n >= 0 {
		return lines[:n]
	}
	return lines
}

func (d *diffRows) noNewline(i int, l *patches.Line) {
	if l.EOL == "" {
		d.text(i, paint(d.t.Faint, spaces(d.gutter()-2)+`\ No newline at end of file`))
	}
}

// pairs puts removed lines beside the added ones that replace them.
func (d *diffRows) pairs(i int, f *target, lines []patches.Line, several []string) {
	for n := 0; n < len(lines); {
		if lines[n].Op == patches.Equal {
			d.pair(i, d.parts(f, &lines[n], several), d.parts(f, &lines[n], several))
			d.noNewline(i, &lines[n])
			n++
			continue
		}
		if d.lay.whole {
			d.change(changed(lines[n:]))
		}
		var gone, come []*patches.Line
		for ; n < len(lines) && lines[n].Op != patches.Equal; n++ {
			if lines[n].Op == patches.Remove {
				gone = append(gone, &lines[n])
			} else {
				come = append(come, &lines[n])
			}
		}
		for k := range max(len(gone), len(come)) {
			var left, right []part
			if k < len(gone) {
				left = d.parts(f, gone[k], several)
			}
			if k < len(come) {
				right = d.parts(f, come[k], several)
			}
			d.pair(i, left, right)
		}
		for _, l := range slices.Concat(gone, come) {
			d.noNewline(i, l)
		}
	}
}

func (d *diffRows) pair(i int, left, right []part) {
	for k := range max(len(left), len(right)) {
		row := diffRow{target: i}
		if k < len(left) {
			row.left = left[k]
		}
		if k < len(right) {
			row.right = right[k]
		}
		d.rows = append(d.rows, row)
	}
}

// gutter is the cells before a line's text: numbers, who asked, sign.
func (d *diffRows) gutter() int {
	if d.lay.split {
		return d.digits + 1 + 2 + 2
	}
	return 2*d.digits + 2 + 2 + 2
}

// columns are left for a line's text.
func (d *diffRows) columns() int {
	w := d.lay.width
	if d.lay.split {
		w = (w - 3) / 2
	}
	return max(w-d.gutter(), 1)
}

// parts breaks a line into rows.
func (d *diffRows) parts(f *target, l *patches.Line, several []string) []part {
	w, mark := d.columns(), ""
	if by := f.controls(*l); len(by) > 0 && several != nil {
		mark = fmt.Sprint(1 + slices.Index(several, by[0]))
		if len(by) > 1 {
			mark += "+"
		}
	}
	text := l.Text
	if !plain(text) || strings.HasSuffix(text, " ") || f.mixed {
		text, _ = d.show(l, f.mixed)
	}
	var out []part
	for from := 0; ; {
		to := len(text)
		if cells(text[from:]) > w {
			to = from + max(len(ansi.Truncate(text[from:], w, "")), 1)
		}
		out = append(out, part{line: l, mark: mark, shown: text, from: from, to: to})
		if to >= len(text) {
			return out
		}
		from = to
	}
}

// show is a line with everything visible, and where its changed words are in that.
func (d *diffRows) show(l *patches.Line, mixed bool) (string, []patches.Span) {
	var b strings.Builder
	var spans []patches.Span
	blanks := len(strings.TrimRight(l.Text, " \t"))
	at := 0
	put := func(to int, changed bool) {
		start := b.Len()
		for at < to {
			switch c := l.Text[at]; {
			case c == '\t':
				b.WriteString(d.t.glyphs.Tab + "   ")
				at++
			case c == ' ' && at >= blanks:
				b.WriteString(d.t.glyphs.Trailing)
				at++
			default:
				end := at + 1
				for end < to && l.Text[end] != '\t' && !(l.Text[end] == ' ' && end >= blanks) {
					end++
				}
				b.WriteString(d.t.inert(l.Text[at:end]))
				at = end
			}
		}
		if changed {
			spans = append(spans, patches.Span{Start: start, End: b.Len()})
		}
	}
	for _, s := range l.Spans {
		put(s.Start, false)
		put(s.End, true)
	}
	put(len(l.Text), false)
	if mixed && l.EOL == "\r\n" {
		b.WriteString("^M")
	}
	return b.String(), spans
}

// draw renders a row; current is the number of the change that keys act on.
func (d *diffRows) draw(r diffRow, current int, mixed bool) string {
	switch {
	case r.hunk > 0 && r.hunk == current:
		return paint(d.t.Selected, r.text)
	case r.hunk > 0:
		return paint(d.t.Faint, r.text)
	case r.left.line == nil && r.right.line == nil:
		return r.text
	case d.lay.split:
		half := (d.lay.width - 3) / 2
		left := d.drawPart(r.left, mixed, func(l *patches.Line) int { return l.OldNo })
		right := d.drawPart(r.right, mixed, func(l *patches.Line) int { return l.NewNo })
		return left + spaces(half-ansi.StringWidth(left)) + " | " + right
	}
	return d.drawPart(r.left, mixed, nil)
}

func (d *diffRows) drawPart(p part, mixed bool, number func(*patches.Line) int) string {
	if p.line == nil {
		return ""
	}
	l := p.line
	no := func(n int) string {
		if n == 0 || p.from > 0 {
			return spaces(d.digits)
		}
		return fmt.Sprintf("%*d", d.digits, n)
	}
	numbers := ""
	if number != nil {
		numbers = no(number(l)) + " "
	} else {
		numbers = no(l.OldNo) + " " + no(l.NewNo) + " "
	}
	sign, words := string(l.Op)+" ", d.t.Strong
	if p.from > 0 {
		sign = d.t.glyphs.Wrapped + " "
	}
	switch l.Op {
	case patches.Add:
		sign, words = paint(d.t.Added, sign), d.t.AddedW
	case patches.Remove:
		sign, words = paint(d.t.Removed, sign), d.t.RemovedW
	}
	spans := l.Spans
	if p.shown != l.Text {
		_, spans = d.show(l, mixed)
	}
	var b strings.Builder
	at := p.from
	for _, s := range spans {
		s.Start, s.End = max(s.Start, at), min(s.End, p.to)
		if s.Start >= s.End {
			continue
		}
		b.WriteString(p.shown[at:s.Start])
		b.WriteString(paint(words, p.shown[s.Start:s.End]))
		at = s.End
	}
	b.WriteString(p.shown[at:p.to])
	return paint(d.t.Faint, numbers+pad(p.mark, 2)) + sign + b.String()
}
