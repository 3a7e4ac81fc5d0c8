package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"
)

// list is a cursor over n rows, of which some height is visible.
type list struct {
	cursor, offset int
}

// window keeps the cursor within n rows and visible within height, and gives the rows to draw.
func (l *list) window(n, height int) (from, to int) {
	l.cursor = clamp(l.cursor, 0, n-1)
	height = max(height, 1)
	if l.cursor < l.offset {
		l.offset = l.cursor
	}
	if l.cursor >= l.offset+height {
		l.offset = l.cursor - height + 1
	}
	l.offset = clamp(l.offset, 0, n-height)
	return l.offset, min(n, l.offset+height)
}

// draw shows n rows in h lines. Where they do not fit, the last line says how many are above and below.
func (l *list) draw(t *Theme, n, h int, row func(int) string) []string {
	rows := h
	if n > h && h > 1 {
		rows--
	}
	from, to := l.window(n, rows)
	var out []string
	for i := from; i < to; i++ {
		out = append(out, row(i))
	}
	switch below := n - to; {
	case rows == h:
	case from == 0:
		out = append(out, paint(t.Faint, fmt.Sprintf("   (%d more: down)", below)))
	case below == 0:
		out = append(out, paint(t.Faint, fmt.Sprintf("   (%d more: up)", from)))
	default:
		out = append(out, paint(t.Faint, fmt.Sprintf("   (%d more: up, %d: down)", from, below)))
	}
	return out
}

// key moves the cursor; it says whether the key was one of its own.
func (l *list) key(k tea.KeyPressMsg, n, page int) bool {
	step, ok := scroll(k, page)
	if !ok {
		return false
	}
	l.cursor = clamp(l.cursor+step, 0, n-1)
	return true
}

// scroller is the first visible line of a text.
type scroller struct{ top int }

func (s *scroller) window(n, height int) (from, to int) {
	s.top = clamp(s.top, 0, n-height)
	return s.top, min(n, s.top+max(height, 0))
}

func (s *scroller) key(k tea.KeyPressMsg, page int) bool {
	step, ok := scroll(k, page)
	if ok {
		s.top = max(s.top+step, 0)
	}
	return ok
}

const far = 1 << 30

func scroll(k tea.KeyPressMsg, page int) (int, bool) {
	page = max(page, 1)
	switch {
	case is(k, Keys.Up):
		return -1, true
	case is(k, Keys.Down):
		return 1, true
	case is(k, Keys.PageUp):
		return -page, true
	case is(k, Keys.PageDown):
		return page, true
	case is(k, Keys.HalfUp):
		return -max(page/2, 1), true
	case is(k, Keys.HalfDown):
		return max(page/2, 1), true
	case is(k, Keys.Top):
		return -far, true
	case is(k, Keys.Bottom):
		return far, true
	}
	return 0, false
}

func clamp(v, low, high int) int { return max(low, min(v, high)) }

// typingKey moves the cursor by keys that are not text.
func (l *list) typingKey(k tea.KeyPressMsg, n, page int) bool {
	if k.Text != "" || is(k, Keys.DeleteLine, Keys.LineStart, Keys.LineEnd, Keys.CharLeft, Keys.CharRight) {
		return false
	}
	return l.key(k, n, page)
}
