package tui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/patches"
)

// diffRow is one row of a diff before its lines are broken: a text, or a line, or two lines side by side. Lines are broken
// when they are drawn, so that laying out a long file costs little.
type diffRow struct {
	text        string // painted
	hunk        int    // for the header of a change: its number, from 1
	target      int
	left, right *patches.Line
	by          []string // the controls of a change, where there are several
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
	targets []target
	rows    []diffRow
	starts  []int            // row at which each change begins
	changes [][]patches.Line // its lines
	digits  int
}

// layOut makes the rows of targets, behind what is to be said first.
func layOut(t *Theme, targets []target, lead []string, lay layout) *diffRows {
	d := &diffRows{t: t, lay: lay, targets: targets, digits: 2}
	rows := 0
	for i := range targets {
		f := &targets[i]
		for _, h := range f.whole.Hunks {
			d.digits = max(d.digits, len(fmt.Sprint(max(h.OldLines, h.NewLines))))
		}
		for _, h := range f.hunks(lay) {
			rows += len(h.Lines) + 4
		}
		rows += 16
	}
	d.rows = make([]diffRow, 0, rows)
	for _, said := range lead {
		for n, l := range t.wrap(said, lay.width-2) {
			sign := "  "
			if n == 0 {
				sign = paint(t.Warn, "! ")
			}
			d.text(0, sign+l)
		}
		d.text(0, "")
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
	for n, l := range t.wrap(f.name, d.lay.width-len(tally)) {
		if n > 0 {
			tally = ""
		}
		d.text(i, paint(t.Strong, l)+tally)
	}
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
	for _, h := range f.hunks(d.lay) {
		d.hunk(i, f, h)
	}
}

func (f *target) hunks(lay layout) []patches.Hunk {
	if lay.whole {
		return f.whole.Hunks
	}
	return f.short.Hunks
}

func (d *diffRows) hunk(i int, f *target, h patches.Hunk) {
	asked := f.asked(h.Lines)
	several := asked
	if !f.differ(h.Lines, len(asked)) {
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
		said := "asked by " + strings.Join(by, ", ")
		if several != nil && slices.ContainsFunc(h.Lines, func(l patches.Line) bool { return len(f.controls(l)) > 1 }) {
			said += " (+: and others of them)"
		}
		for _, l := range d.t.wrap(said, d.lay.width-2) {
			d.text(i, paint(d.t.Faint, "  "+l))
		}
	}
	if d.lay.split {
		d.pairs(i, f, h.Lines, several)
		return
	}
	changes := f.short.Hunks
	for n := range h.Lines {
		l := &h.Lines[n]
		if d.lay.whole && len(changes) > 0 && starts(l, changes[0]) {
			d.change(changes[0].Lines)
			changes = changes[1:]
		}
		d.rows = append(d.rows, diffRow{target: i, left: l, by: several})
		d.noNewline(i, l)
	}
}

// change notes that one that keys can jump to begins with the next row.
func (d *diffRows) change(lines []patches.Line) {
	d.starts = append(d.starts, len(d.rows))
	d.changes = append(d.changes, lines)
}

// starts says that a change begins with a line of the whole file, so that changes have the same numbers there as alone.
func starts(l *patches.Line, h patches.Hunk) bool {
	first := &h.Lines[slices.IndexFunc(h.Lines, func(l patches.Line) bool { return l.Op != patches.Equal })]
	return l.Op == first.Op && l.OldNo == first.OldNo && l.NewNo == first.NewNo
}

func (d *diffRows) noNewline(i int, l *patches.Line) {
	if l.EOL == "" {
		d.text(i, paint(d.t.Faint, spaces(d.gutter()-2)+`\ No newline at end of file`))
	}
}

// pairs puts removed lines beside the added ones that replace them.
func (d *diffRows) pairs(i int, f *target, lines []patches.Line, by []string) {
	changes := f.short.Hunks
	for n := 0; n < len(lines); {
		if l := &lines[n]; l.Op == patches.Equal {
			d.rows = append(d.rows, diffRow{target: i, left: l, right: l})
			d.noNewline(i, l)
			n++
			continue
		}
		if d.lay.whole && len(changes) > 0 && starts(&lines[n], changes[0]) {
			d.change(changes[0].Lines)
			changes = changes[1:]
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
			row := diffRow{target: i, by: by}
			if k < len(gone) {
				row.left = gone[k]
			}
			if k < len(come) {
				row.right = come[k]
			}
			d.rows = append(d.rows, row)
		}
		for _, l := range slices.Concat(gone, come) {
			d.noNewline(i, l)
		}
	}
}

// gutter is the cells before a line's text: numbers, who asked, sign.
func (d *diffRows) gutter() int {
	if d.lay.split {
		return d.digits + 1 + markWidth + 2
	}
	return 2*d.digits + 2 + markWidth + 2
}

const markWidth = 3

// columns are left for a line's text.
func (d *diffRows) columns() int {
	w := d.lay.width
	if d.lay.split {
		w = (w - 3) / 2
	}
	return max(w-d.gutter(), 1)
}

// breaks says after which bytes a text is broken to fit; the last one is its end.
func (d *diffRows) breaks(text string) []int {
	w := d.columns()
	var out []int
	if plain(text) {
		for at := w; at < len(text); at += w {
			out = append(out, at)
		}
		return append(out, len(text))
	}
	for from := 0; from < len(text); {
		rest := text[from:min(len(text), from+16*w)] // more bytes than any w cells have
		from += max(len(ansi.Truncate(rest, w, "")), 1)
		out = append(out, from)
	}
	return out
}

// height is the number of lines on the screen that a row takes.
func (d *diffRows) height(r diffRow) int {
	one := func(l *patches.Line) int {
		if l == nil || len(l.Text)+2 <= d.columns() && plain(l.Text) {
			return 1
		}
		text, _ := d.show(l, d.targets[r.target].mixed)
		return max(len(d.breaks(text)), 1)
	}
	return max(one(r.left), one(r.right))
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

// draw renders a row as lines of the screen; current is the number of the change that keys act on.
func (d *diffRows) draw(r diffRow, current int) []string {
	switch {
	case r.hunk > 0 && r.hunk == current:
		return []string{paint(d.t.Selected, r.text)}
	case r.hunk > 0:
		return []string{paint(d.t.Faint, r.text)}
	case r.left == nil && r.right == nil:
		return []string{r.text}
	case !d.lay.split:
		return d.line(r, r.left, func(l *patches.Line) []int { return []int{l.OldNo, l.NewNo} })
	}
	half := (d.lay.width - 3) / 2
	left := d.line(r, r.left, func(l *patches.Line) []int { return []int{l.OldNo} })
	right := d.line(r, r.right, func(l *patches.Line) []int { return []int{l.NewNo} })
	out := make([]string, max(len(left), len(right)))
	for i := range out {
		var a, b string
		if i < len(left) {
			a = left[i]
		}
		if i < len(right) {
			b = right[i]
		}
		out[i] = a + spaces(half-ansi.StringWidth(a)) + " | " + b
	}
	return out
}

// line renders a line of a file, broken to fit.
func (d *diffRows) line(r diffRow, l *patches.Line, numbers func(*patches.Line) []int) []string {
	if l == nil {
		return nil
	}
	text, spans := l.Text, l.Spans
	if f := d.targets[r.target]; !plain(text) || strings.HasSuffix(text, " ") || f.mixed {
		text, spans = d.show(l, f.mixed)
	}
	gutter := ""
	for _, n := range numbers(l) {
		if n == 0 {
			gutter += spaces(d.digits + 1)
		} else {
			gutter += fmt.Sprintf("%*d ", d.digits, n)
		}
	}
	gutter += pad(d.mark(r, l), markWidth)
	sign, words := string(l.Op)+" ", d.t.Strong
	switch l.Op {
	case patches.Add:
		sign, words = paint(d.t.Added, sign), d.t.AddedW
	case patches.Remove:
		sign, words = paint(d.t.Removed, sign), d.t.RemovedW
	}
	var out []string
	from := 0
	for _, to := range d.breaks(text) {
		out = append(out, paint(d.t.Faint, gutter)+sign+highlight(text, spans, from, to, words))
		gutter, sign, from = spaces(len(gutter)), d.t.glyphs.Wrapped+" ", to
	}
	if len(out) == 0 {
		out = append(out, paint(d.t.Faint, gutter)+sign)
	}
	return out
}

// highlight is a piece of a text with its changed words painted.
func highlight(text string, spans []patches.Span, from, to int, words ansi.Style) string {
	var b strings.Builder
	for _, s := range spans {
		s.Start, s.End = max(s.Start, from), min(s.End, to)
		if s.Start >= s.End {
			continue
		}
		b.WriteString(text[from:s.Start])
		b.WriteString(paint(words, text[s.Start:s.End]))
		from = s.End
	}
	b.WriteString(text[from:to])
	return b.String()
}

// mark is the number of the control that asked for a line, where a change has several.
func (d *diffRows) mark(r diffRow, l *patches.Line) string {
	by := d.targets[r.target].controls(*l)
	if len(r.by) == 0 || len(by) == 0 {
		return ""
	}
	mark := fmt.Sprint(1 + slices.Index(r.by, by[0]))
	if len(by) > 1 {
		mark += "+"
	}
	return mark
}
