package tui

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestTheFirstChangeHadNoNumber: the title says where one is as soon as the diff is there.
func TestTheFirstChangeHadNoNumber(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("*", "p", "d")
	if title := strings.Split(w.frame(), "\n")[1]; !strings.Contains(title, "change 1 of 2") {
		t.Errorf("the title is %q", title)
	}
}

// TestAWrittenDiffEndedInASeparator: a note that is not followed by another one ends its line.
func TestAWrittenDiffEndedInASeparator(t *testing.T) {
	dir := harden.Step{ID: "/etc/kubernetes/authn", Path: "/etc/kubernetes/authn", Kind: harden.StepDir, After: harden.State{Exists: true, Dir: true, Mode: 0o700}}
	if got, want := string(unified([]target{newTarget(dir)})), "# /etc/kubernetes/authn: new directory, mode 0700, owner 0:0\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

// TestEveryLineOfAnUndoWasMarked: who asked for a line is marked where the lines of a change differ in that, and the sign for
// more than one is explained.
func TestEveryLineOfAnUndoWasMarked(t *testing.T) {
	both := []string{"a", "b"}
	for name, tt := range map[string]struct {
		of   [2][]string
		want string
	}{
		"all lines by all": {of: [2][]string{both, both}, want: "    2    + two"},
		"by one each":      {of: [2][]string{{"a"}, {"b"}}, want: "    2 2  + two"},
		"one line by both": {of: [2][]string{{"a"}, both}, want: "    2 1+ + two"},
	} {
		s := harden.Step{
			ID: "/f", Path: "/f", Kind: harden.StepFile, Before: harden.State{Exists: true, Data: []byte("")},
			After: harden.State{Exists: true, Data: []byte("one\ntwo\n")},
			Marks: []harden.Mark{{New: 1, Controls: tt.of[0]}, {New: 2, Controls: tt.of[1]}},
		}
		w := begun(t, newFake(t), Options{})
		w.m.push(&diffScreen{targets: []target{newTarget(s)}})
		if frame := w.frame(); !strings.Contains(frame, tt.want) || strings.Contains(frame, "(+: and others of them)") != strings.Contains(tt.want, "1+") {
			t.Errorf("%s: %q is not in\n%s", name, tt.want, frame)
		}
	}
}

// On a narrow terminal v said that it works on a diff, while one was looking at a diff.
func TestTooNarrowForTwoSidesSaysHowManyColumnsItNeeds(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 80, Height: 24})
	w.keys("*", "p", "d", "v").want("side by side needs 140 columns, and this terminal has 80")
	w.keys("?", "'side by side").want("from 140 columns")
}
