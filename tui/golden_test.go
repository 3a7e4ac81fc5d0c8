package tui

import (
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// screens are walks to every screen of the UI.
var screens = map[string]func(*walk){
	"areas":       func(*walk) {},
	"controls":    func(w *walk) { w.keys("enter", "j") },
	"failing":     func(w *walk) { w.keys("f") },
	"detail":      func(w *walk) { w.keys("enter", "j", "enter") },
	"chosen":      func(w *walk) { w.keys("enter", "j", "j", "space", "j", "space") },
	"diff":        func(w *walk) { w.keys("enter", "j", "j", "d") },
	"form":        func(w *walk) { w.keys("j", "enter", "o") },
	"option":      func(w *walk) { w.keys("j", "enter", "o", "j", "enter") },
	"review":      func(w *walk) { w.keys("*", "j", "*", "p") },
	"review-end":  func(w *walk) { w.keys("*", "j", "*", "p", "G") },
	"plan-diff":   func(w *walk) { w.keys("*", "j", "*", "p", "d") },
	"confirm":     func(w *walk) { w.keys("*", "p", "d", "A"); w.settle().keys("'cp") },
	"history":     func(w *walk) { w.keys("H") },
	"transaction": func(w *walk) { w.keys("H", "enter") },
	"undo":        func(w *walk) { w.keys("H", "u") },
	"search":      func(w *walk) { w.keys("/", "'fail high") },
	"help":        func(w *walk) { w.keys("enter", "?") },
	"help-undo":   func(w *walk) { w.keys("?", "'undo") },
	"save":        func(w *walk) { w.keys("*", "s") },
	"progress": func(w *walk) {
		w.e.gate = make(chan struct{}, 100)
		w.apply(3)
		w.e.clock.add(12 * time.Second)
	},
	"stop": func(w *walk) {
		w.e.gate = make(chan struct{}, 100)
		w.apply(3)
		w.keys("q")
	},
	"waiting":     func(w *walk) { w.opensOn("waiting") },
	"interrupted": func(w *walk) { w.opensOn("interrupted") },
	"other-run":   func(w *walk) { w.opensOn("running", awaitingAPIServer) },
	"unconfirmed": func(w *walk) { w.opensOn("waiting"); w.keys("esc") },
	"result":      func(w *walk) { w.keys("*", "p", "d", "A"); w.settle().keys("'cp1", "enter") },
}

// apply begins to apply all safe controls of the first area, and lets so many events happen.
func (w *walk) apply(events int) {
	w.keys("*", "p", "d", "A")
	w.settle()
	w.keys("'cp1")
	w.hold = true
	w.keys("enter")
	batch := w.queue[0]().(tea.BatchMsg)
	w.queue, w.hold = nil, false
	go batch[0]()
	w.taker = batch[1]
	w.pass(events)
}

// pass lets so many events of the script happen, and waits until the model has them.
func (w *walk) pass(events int) {
	w.t.Helper()
	want := len(w.m.following().events) + events
	for range events {
		w.e.gate <- struct{}{}
	}
	for !w.quit && w.m.following() != nil && len(w.m.following().events) < want {
		w.take()
	}
}

// take is one message of progress.
func (w *walk) take() {
	w.t.Helper()
	msg := w.taker().(progressMsg)
	_, cmd := w.m.Update(msg)
	w.check()
	if msg.ended {
		w.run(cmd)
		return
	}
	w.taker = cmd
}

func TestScreens(t *testing.T) {
	sizes := []struct{ w, h int }{{80, 24}, {132, 43}, {160, 50}}
	for name, to := range screens {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dx%d", name, size.w, size.h), func(t *testing.T) {
				w := begun(t, newFake(t), Options{Width: size.w, Height: size.h, Color: true, Cluster: "kubernetes-admin@kubernetes"})
				to(w)
				w.check()
				golden(t, fmt.Sprintf("%s.%dx%d", name, size.w, size.h), w.frame())
			})
		}
	}
}
