package tui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// input is one line of text that is being typed.
type input struct {
	text   []rune
	cursor int
}

func newInput(s string) input { return input{[]rune(s), utf8.RuneCountInString(s)} }

func (i *input) value() string { return string(i.text) }

// key edits the line; it says whether the key was one of its own.
func (i *input) key(k tea.KeyPressMsg) bool {
	switch {
	case is(k, Keys.DeleteBack):
		i.remove(max(i.cursor-1, 0))
	case is(k, Keys.DeleteWord):
		at := i.cursor
		for at > 0 && i.text[at-1] == ' ' {
			at--
		}
		for at > 0 && i.text[at-1] != ' ' {
			at--
		}
		i.remove(at)
	case is(k, Keys.DeleteLine):
		i.remove(0)
	case is(k, Keys.LineStart):
		i.cursor = 0
	case is(k, Keys.LineEnd):
		i.cursor = len(i.text)
	case is(k, Keys.CharLeft):
		i.cursor = max(i.cursor-1, 0)
	case is(k, Keys.CharRight):
		i.cursor = min(i.cursor+1, len(i.text))
	case k.Text != "" && k.Mod&(tea.ModCtrl|tea.ModAlt) == 0:
		i.insert(k.Text)
	default:
		return false
	}
	return true
}

// insert puts text in, without what cannot be typed.
func (i *input) insert(s string) {
	var add []rune
	for _, r := range s {
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if unicode.IsPrint(r) {
			add = append(add, r)
		}
	}
	const most = 4096
	if len(i.text)+len(add) > most {
		return
	}
	rest := append(add, i.text[i.cursor:]...)
	i.text = append(i.text[:i.cursor:i.cursor], rest...)
	i.cursor += len(add)
}

func (i *input) remove(from int) {
	i.text = append(i.text[:from:from], i.text[i.cursor:]...)
	i.cursor = from
}

// render shows the part around the cursor in w cells and says in which of them the cursor stands.
func (i *input) render(t *Theme, w int) (string, int) {
	before, after := t.inert(string(i.text[:i.cursor])), t.inert(string(i.text[i.cursor:]))
	at := cells(before)
	if at >= w {
		before = ansi.TruncateLeft(before, at-w+1, "")
		at = cells(before)
	}
	return ansi.Truncate(strings.TrimRight(before+after, " ")+strings.Repeat(" ", w), w, ""), at
}
