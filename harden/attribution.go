package harden

import (
	"bytes"
	"slices"

	"kubectl-harden.io/kubectl-harden/patches"
)

// attribution follows lines through successive edits, to say in the end which control asked for which changed line.
type attribution struct {
	lines   []line           // the current text
	deleted map[int][]string // line of the original -> controls
}

type line struct {
	old      int // line of the original, 0 for a new one
	controls []string
}

func newAttribution(original []byte) *attribution {
	a := &attribution{deleted: map[int][]string{}}
	for n := range countLines(original) {
		a.lines = append(a.lines, line{old: n + 1})
	}
	return a
}

func countLines(b []byte) int {
	n := bytes.Count(b, []byte("\n"))
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

// advance takes one edit made for controls into account.
func (a *attribution) advance(before, after []byte, controls []string) error {
	if bytes.Equal(before, after) {
		return nil
	}
	d, err := patches.Diff(before, after, patches.DiffOptions{})
	if err != nil {
		return err
	}
	if d.TooLarge {
		// No line can be told apart: the whole text is the controls'.
		for _, l := range a.lines {
			if l.old > 0 {
				a.deleted[l.old] = controls
			}
		}
		a.lines = slices.Repeat([]line{{controls: controls}}, countLines(after))
		return nil
	}
	var next []line
	at := 0
	for _, h := range d.Hunks {
		// heritage are the controls whose line is replaced within the run of changed lines: they share what replaces it.
		var heritage []string
		for _, l := range h.Lines {
			switch l.Op {
			case '+':
				next = append(next, line{controls: union(heritage, controls)})
			case '-':
				next = append(next, a.lines[at:l.OldNo-1]...)
				gone := a.lines[l.OldNo-1]
				heritage = union(heritage, gone.controls)
				if gone.old > 0 {
					a.deleted[gone.old] = controls
				}
				at = l.OldNo
			default:
				heritage = nil
				next = append(next, a.lines[at:l.OldNo]...)
				at = l.OldNo
			}
		}
	}
	a.lines = append(next, a.lines[at:]...)
	return nil
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (a *attribution) marks() []Mark {
	var out []Mark
	for i, l := range a.lines {
		if len(l.controls) > 0 {
			out = append(out, Mark{New: i + 1, Controls: l.controls})
		}
	}
	olds := make([]int, 0, len(a.deleted))
	for n := range a.deleted {
		olds = append(olds, n)
	}
	slices.Sort(olds)
	for _, n := range olds {
		out = append(out, Mark{Old: n, Controls: a.deleted[n]})
	}
	return out
}
