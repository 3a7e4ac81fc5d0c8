package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// broken is a screen with a bug wherever it is touched.
type broken struct{}

func (broken) title(*Model) (string, string)       { return "", "" }
func (broken) actions(*Model) []action             { return nil }
func (broken) key(*Model, tea.KeyPressMsg) tea.Cmd { panic("a bug in a key\x1b[2J") }
func (broken) view(*Model, int, int) []string      { panic("a bug in a frame") }
func (broken) batch() tea.Msg                      { return tea.BatchMsg{nil, func() tea.Msg { panic("a bug in a batch") }} }
func quits(t *testing.T, m *Model, cmd tea.Cmd) string {
	t.Helper()
	if _, ok := cmd().(tea.QuitMsg); !ok || m.bug == nil {
		t.Fatal("the program does not end")
	}
	return m.bug.Error()
}

// TestBugsEndTheProgramInOrder: wherever a panic comes from, the program quits as it does on q, and the bug is known.
func TestBugsEndTheProgramInOrder(t *testing.T) {
	broke := func() *Model {
		m := begun(t, newFake(t), Options{}).m
		m.push(broken{})
		return m
	}
	m := broke()
	_, cmd := m.Update(keyPress("j"))
	if got := quits(t, m, cmd); !strings.HasSuffix(got, "this program has a bug: a bug in a key^[[2J") {
		t.Errorf("%q", got)
	}
	m = broke()
	for _, c := range guarded(broken{}.batch)().(tea.BatchMsg) {
		if c == nil {
			continue
		}
		_, cmd := m.Update(c())
		if got := quits(t, m, cmd); !strings.Contains(got, "a bug in a batch") {
			t.Errorf("%q", got)
		}
	}
	m = broke()
	left := false
	m.leave = func() { left = true }
	if _ = m.View(); !left || m.bug == nil || !strings.Contains(m.bug.stack, "broken.view") {
		t.Errorf("left %v, %+v", left, m.bug)
	}
}
