package tui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Inert makes text of others safe to show on one line: what could move the cursor, hide or reorder text, or look like
// nothing becomes visible. It keeps letters of all scripts, unless the terminal shows ASCII only.
func Inert(s string, asciiOnly bool) string {
	if plain(s) {
		return s
	}
	// Terminals count the cells of a text by runes or by what readers see as one letter. Text on which the two differ is
	// spelled out, first its marks, then all of it.
	out := visible(s, asciiOnly, false)
	if differ(out) {
		out = visible(s, asciiOnly, true)
	}
	if differ(out) {
		out = visible(s, true, true)
	}
	return out
}

func differ(s string) bool { return ansi.StringWidth(s) != ansi.StringWidthWc(s) }

func visible(s string, asciiOnly, noMarks bool) string {
	var b strings.Builder
	marks := 4 // combining marks that the last letter has had; a line cannot begin with one
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "<0x%02X>", s[0])
			marks = 4
		case r < 0x20 || r == 0x7f:
			b.WriteByte('^')
			b.WriteRune(r ^ 0x40)
			marks = 4
		case r >= utf8.RuneSelf && (asciiOnly || deceptive(r)):
			fmt.Fprintf(&b, "<U+%04X>", r)
			marks = 4
		case unicode.Is(unicode.M, r):
			// Marks belong on letters. More than a few of them, or one on a sign, draw over what stands there.
			if marks >= 4 || noMarks {
				fmt.Fprintf(&b, "<U+%04X>", r)
			} else {
				b.WriteRune(r)
				marks++
			}
		default:
			b.WriteRune(r)
			marks = 4
			if unicode.IsLetter(r) {
				marks = 0
			}
		}
		s = s[size:]
	}
	return b.String()
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// deceptive says that a rune is invisible, blank, or takes a width on which terminals disagree.
func deceptive(r rune) bool {
	switch {
	case !unicode.IsPrint(r): // controls, bidi overrides, zero-width, odd spaces, private use, unassigned
		return true
	case r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0: // Hangul fillers
		return true
	case r == 0x2800: // the empty Braille pattern
		return true
	case r == 0x034F || r == 0x17B4 || r == 0x17B5 || r >= 0x180B && r <= 0x180F: // joiners that are not seen
		return true
	case unicode.Is(unicode.Variation_Selector, r):
		return true
	case r >= 0x1F3FB && r <= 0x1F3FF: // skin tones join the emoji before them in some terminals only
		return true
	case r >= 0x1F1E6 && r <= 0x1F1FF: // flags are pairs of these
		return true
	}
	return !unicode.Is(unicode.M, r) && differ(string(r))
}

// cells is the number of cells of a line that is inert.
func cells(s string) int {
	if plain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// fit cuts inert text to w cells and fills it up to them.
func (t *Theme) fit(s string, w int) string {
	s = t.cut(s, w)
	if n := w - cells(s); n > 0 {
		s += strings.Repeat(" ", n)
	}
	return s
}

// cut shortens inert text to w cells at its end.
func (t *Theme) cut(s string, w int) string {
	if w <= 0 {
		return ""
	}
	if cells(s) <= w {
		return s
	}
	return ansi.Truncate(s, w, t.ellipsis(w))
}

// clip shortens a text to n lines; the last one says that more followed.
func (t *Theme) clip(lines []string, n int) []string {
	if len(lines) <= n || n <= 0 {
		return lines[:max(min(n, len(lines)), 0)]
	}
	return append(lines[:n-1:n-1], strings.TrimRight(lines[n-1], " .,;:")+" "+t.glyphs.Ellipsis)
}

// middle shortens inert text in its middle: both ends of a path or a context tell more than its centre.
func (t *Theme) middle(s string, w int) string {
	n := cells(s)
	if n <= w {
		return s
	}
	e := t.ellipsis(w)
	left := (w - cells(e) + 1) / 2
	right := w - cells(e) - left
	if left < 1 || right < 1 {
		return t.cut(s, w)
	}
	end := ansi.TruncateLeft(s, n-right, "")
	if cells(end) > right { // a wide rune was cut in two
		end = ansi.TruncateLeft(s, n-right+1, "")
	}
	return ansi.Truncate(s, left, "") + e + end
}

func (t *Theme) ellipsis(w int) string {
	if cells(t.glyphs.Ellipsis) >= w {
		return ""
	}
	return t.glyphs.Ellipsis
}

// wrap breaks text of others into inert lines of at most w cells. Line feeds in it break lines.
func (t *Theme) wrap(s string, w int) []string {
	w = max(w, 1)
	var out []string
	lines := wrapLine
	if t.plain {
		lines = wrapWords
	}
	for _, para := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		out = append(out, lines(t.inert(para), w)...)
	}
	return out
}

// wrapWords breaks between words only: where nothing is drawn a path stays whole, and the terminal breaks it.
func wrapWords(s string, w int) []string {
	out := []string{""}
	for _, word := range strings.Split(s, " ") {
		last := &out[len(out)-1]
		switch {
		case *last == "":
			*last = word
		case cells(*last)+1+cells(word) > w:
			out = append(out, word)
		default:
			*last += " " + word
		}
	}
	return out
}

// wrapLine breaks between words, and within a word that is wider than the line: behind a slash or a comma, if it has one.
func wrapLine(s string, w int) []string {
	var out []string
	for cells(s) > w {
		head := ansi.Truncate(s, w, "")
		if head == "" {
			// A wide rune where one cell is left: it cannot be shown here.
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
			out = append(out, "?")
			continue
		}
		cut := len(head)
		if cut < len(s) && s[cut] != ' ' {
			if i := strings.LastIndexByte(head, ' '); i > 0 && strings.TrimSpace(head[:i]) != "" {
				cut = i
			} else if i := strings.LastIndexAny(head, "/,"); i > len(head)/3 {
				cut = i + 1 // a path or a list
			}
		}
		out = append(out, strings.TrimRight(s[:cut], " "))
		s = strings.TrimLeft(s[cut:], " ")
	}
	return append(out, s)
}
