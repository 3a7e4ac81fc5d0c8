package tui

import (
	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Theme holds every style and every sign of the UI. It uses the terminal's own foreground, background and 16 colours, so
// that light and dark terminals look as their owners want; a colour never says what a sign and a word do not say too.
type Theme struct {
	ascii  bool
	plain  bool // words only: signs would be read aloud
	glyphs Glyphs

	Title    ansi.Style // what a screen shows
	Strong   ansi.Style
	Faint    ansi.Style // what may be skipped
	Selected ansi.Style // the line that keys act on
	Key      ansi.Style // a key in the footer
	Banner   ansi.Style // sandbox, read only
	Warn     ansi.Style
	Bad      ansi.Style
	Good     ansi.Style
	Added    ansi.Style // the sign of a line
	Removed  ansi.Style
	AddedW   ansi.Style // words that differ within a line
	RemovedW ansi.Style

	status map[harden.Status]ansi.Style
}

// Glyphs are the signs of the UI. None of them is of ambiguous width, so they take one cell in East Asian locales too;
// box drawing is not among them for that reason.
type Glyphs struct {
	Fail, Manual, Unknown, Pass, NotApplicable, Waived string

	Cursor, Chosen, Unchosen string

	Ellipsis, Tab, Trailing, Wrapped string
}

var unicodeGlyphs = Glyphs{
	Fail: "✗", Manual: "!", Unknown: "?", Pass: "✓", NotApplicable: "-", Waived: "~",
	Cursor: ">", Chosen: "x", Unchosen: " ",
	Ellipsis: "⋯", Tab: "⇥", Trailing: "␣", Wrapped: "↪",
}

var asciiGlyphs = Glyphs{
	Fail: "x", Manual: "!", Unknown: "?", Pass: "+", NotApplicable: "-", Waived: "~",
	Cursor: ">", Chosen: "x", Unchosen: " ",
	Ellipsis: "~", Tab: ">", Trailing: "_", Wrapped: "\\",
}

// NewTheme makes the theme; without color it keeps bold, underline and reverse.
func NewTheme(color, ascii bool) *Theme {
	t := &Theme{ascii: ascii, glyphs: unicodeGlyphs}
	if ascii {
		t.glyphs = asciiGlyphs
	}
	ink := func(c ansi.BasicColor) ansi.Style {
		if !color {
			return ansi.NewStyle()
		}
		return ansi.NewStyle().ForegroundColor(c)
	}
	t.Title = ansi.NewStyle().Bold()
	t.Strong = ansi.NewStyle().Bold()
	t.Faint = ansi.NewStyle().Faint()
	t.Selected = ansi.NewStyle().Reverse(true)
	t.Key = ansi.NewStyle().Bold()
	t.Banner = ansi.NewStyle().Bold().Reverse(true)
	t.Warn = ink(ansi.Yellow).Bold()
	t.Bad = ink(ansi.Red).Bold()
	t.Good = ink(ansi.Green)
	t.Added = ink(ansi.Green).Bold()
	t.Removed = ink(ansi.Red).Bold()
	t.AddedW = ink(ansi.Green).Bold().Underline(true)
	t.RemovedW = ink(ansi.Red).Bold().Underline(true)
	t.status = map[harden.Status]ansi.Style{
		harden.StatusFail:          t.Bad,
		harden.StatusManual:        t.Warn,
		harden.StatusUnknown:       ink(ansi.Magenta).Bold(),
		harden.StatusPass:          t.Good,
		harden.StatusNotApplicable: t.Faint,
		harden.StatusWaived:        ink(ansi.Cyan),
	}
	return t
}

// inert makes text of others safe to show on one line of this terminal.
func (t *Theme) inert(s string) string { return Inert(s, t.ascii) }

// msg renders a message on one line.
func (t *Theme) msg(m harden.Message) string { return t.inert(m.String()) }

// glyph of a verdict.
func (t *Theme) glyph(s harden.Status) string {
	switch s {
	case harden.StatusFail:
		return t.glyphs.Fail
	case harden.StatusManual:
		return t.glyphs.Manual
	case harden.StatusPass:
		return t.glyphs.Pass
	case harden.StatusNotApplicable:
		return t.glyphs.NotApplicable
	case harden.StatusWaived:
		return t.glyphs.Waived
	}
	return t.glyphs.Unknown
}

// word of a verdict.
func word(s harden.Status) string {
	if s == harden.StatusNotApplicable {
		return "n/a"
	}
	return string(s)
}

// verdict is sign and word, filled to a column.
func (t *Theme) verdict(s harden.Status) string {
	if t.plain {
		return pad(word(s), 9)
	}
	return paint(t.status[s], t.glyph(s)+" "+pad(word(s), 7))
}

// preconditionGlyph and its word.
func (t *Theme) precondition(s harden.PreconditionState) string {
	if t.plain {
		return pad(string(s), 9)
	}
	switch s {
	case harden.Met:
		return paint(t.Good, t.glyphs.Pass+" met    ")
	case harden.Unmet:
		return paint(t.Bad, t.glyphs.Fail+" unmet  ")
	}
	return paint(t.status[harden.StatusUnknown], t.glyphs.Unknown+" unknown")
}

// hint is a word on which key does what; where there are no keys it is what is said instead.
func (t *Theme) hint(keys, otherwise string) string {
	if t.plain {
		return otherwise
	}
	return keys
}

// paint styles text; the empty style leaves it as it is.
func paint(s ansi.Style, text string) string {
	if len(s) == 0 || text == "" {
		return text
	}
	return s.Styled(text)
}

// pad fills our own words, which are ASCII.
func pad(s string, w int) string {
	for len(s) < w {
		s += " "
	}
	return s
}

// meaning of a verdict, for the legend.
func meaning(s harden.Status) string {
	switch s {
	case harden.StatusFail:
		return "not as recommended"
	case harden.StatusManual:
		return "a person must decide"
	case harden.StatusUnknown:
		return "could not be seen; never counted as pass"
	case harden.StatusPass:
		return "as recommended"
	case harden.StatusNotApplicable:
		return "does not hold for this node or version"
	}
	return "left as it is on purpose"
}
