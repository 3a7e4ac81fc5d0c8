package tui

import (
	"fmt"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// many is an engine with so many controls in one area.
func many(tb testing.TB, n int) *fakeEngine {
	e := newFake(tb)
	model := e.areas[0].Controls[3]
	area := harden.Area{ID: "many", Title: "Many", About: harden.Msg("Many controls.")}
	for i := range n {
		c := model
		c.ID = fmt.Sprintf("many-control-%04d", i)
		c.Title = fmt.Sprintf("Control number %d is as it should be, or else", i)
		area.Controls = append(area.Controls, c)
	}
	e.areas = []harden.Area{area}
	return e
}

// BenchmarkKeyToFrame is what a key costs until its frame is made, on the screens with the most to do.
func BenchmarkKeyToFrame(b *testing.B) {
	frames := func(b *testing.B, w *walk, keys ...string) {
		b.Helper()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = w.m.Update(keyPress(keys[i%len(keys)]))
			_ = w.m.View()
			i++
		}
	}
	b.Run("list of 1000 findings", func(b *testing.B) {
		w := begun(b, many(b, 1000), Options{Color: true})
		w.keys("enter")
		frames(b, w, "j", "pgdown", "G", "f", "f", "f", "f")
	})
	b.Run("search in 1000 findings", func(b *testing.B) {
		w := begun(b, many(b, 1000), Options{Color: true})
		w.keys("/")
		frames(b, w, "9", "backspace")
	})
	b.Run("areas of 1000 findings", func(b *testing.B) {
		w := begun(b, many(b, 1000), Options{Color: true})
		frames(b, w, "j", "k")
	})
	for _, size := range [][2]int{{80, 24}, {160, 50}} {
		b.Run(fmt.Sprintf("diff of 20000 lines, %dx%d", size[0], size[1]), func(b *testing.B) {
			w := longDiff(b, size[0], size[1])
			frames(b, w, "j", "n", "pgdown", "G", "N", "g")
		})
		b.Run(fmt.Sprintf("whole file of 20000 lines, %dx%d", size[0], size[1]), func(b *testing.B) {
			w := longDiff(b, size[0], size[1])
			frames(b, w, "e")
		})
	}
}

func longDiff(tb testing.TB, width, height int) *walk {
	var before, after strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&before, "  key%05d: a value that is there before, number %d\n", i, i)
		if i%3 == 0 {
			fmt.Fprintf(&after, "  key%05d: a value that is there afterwards, number %d, 审计\n", i, i)
		} else {
			fmt.Fprintf(&after, "  key%05d: a value that is there before, number %d\n", i, i)
		}
	}
	w := begun(tb, newFake(tb), Options{Color: true, Width: width, Height: height})
	w.m.push(w.m.newReview("", onePlan("/etc/long.yaml", before.String(), after.String())))
	w.keys("d")
	return w
}

// BenchmarkLayOut is the first frame of a long diff, and the first of its whole file.
func BenchmarkLayOut(b *testing.B) {
	w := longDiff(b, 80, 24)
	ts := w.m.top().(*diffScreen).targets
	for _, whole := range []bool{false, true} {
		b.Run(fmt.Sprintf("whole %v", whole), func(b *testing.B) {
			for b.Loop() {
				layOut(w.m.theme, ts, nil, layout{width: 80, whole: whole})
			}
		})
	}
}
