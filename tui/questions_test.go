package tui

import (
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// The footer offered to stop and undo what was being undone already, and what was reverted stayed listed as written.
func TestAskedWhileItIsBeingUndoneTheFooterSaysWhatSDoes(t *testing.T) {
	e := newFake(t)
	e.gate = make(chan struct{}, 100)
	w := begun(t, e, Options{})
	w.apply(2)
	w.keys("q").want("S stop and undo", "written: "+apiserverPath)
	w.keys("ctrl+c", "ctrl+c").want("S leave this screen", "written: "+apiserverPath).wantNot("stop and undo")
	p := w.m.following()
	p.events = append(p.events, harden.Event{Kind: harden.EventReverted, Target: apiserverPath})
	w.want("taken back: " + apiserverPath).wantNot("written: " + apiserverPath)
}

// Of a name that was typed at once the first letters were left out and the rest was kept.
func TestANameTypedTooSoonIsLeftOutAsAWhole(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("*", "p", "d", "A")
	for range 4 { // longer than the time of grace
		w.keys("'c")
		w.e.clock.add(grace - 100*time.Millisecond)
	}
	w.keys("enter").want("Apply on cp1?", "pause, then type it again").wantNot("> c")
	w.send(tea.PasteMsg{Content: "cp1"})
	w.wantNot("> c")
	w.settle().keys("'cp1", "enter").want("Applied.")
}

// Of a control that has no remedy in any version it was said that there is none for this one.
func TestWhatIsDecidedByHandIsNoMatterOfTheVersion(t *testing.T) {
	e := newFake(t)
	e.areas[0].Controls[3].Remedies = nil
	w := begun(t, e, Options{})
	w.keys("enter", "j", "j", "j", "space").want("to be decided or done by hand; its detail says how").wantNot("for this version")
}
