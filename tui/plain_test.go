package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// plainly answers the questions of the plain walk with lines.
func plainly(t *testing.T, e *fakeEngine, o Options, lines ...string) (string, Summary, error) {
	t.Helper()
	var out bytes.Buffer
	o.In, o.Out, o.Now = strings.NewReader(strings.Join(lines, "\n")+"\n"), &out, e.clock.Now
	sum, err := Plain(t.Context(), e, o)
	text := out.String()
	for _, l := range strings.Split(text, "\n") {
		if hostile(l) || strings.Contains(l, "\x1b") {
			t.Fatalf("a line has control bytes: %q", l)
		}
	}
	return text, sum, err
}

func TestPlainWalk(t *testing.T) {
	e := newFake(t)
	text, sum, err := plainly(t, e, Options{Sandbox: true},
		"walk",
		"n",           // anonymous requests
		"d", "c", "n", // admission: diff, choose
		"choose", "?", "", // profiling
		"o", "7", "0", "", "", "", "c", // audit: options, choose
		"b",
		"list",
		"save", "",
		"p", "cp1",
		"h", "1", "3", "no", // undo of one control, cancelled
		"quit",
	)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plain-walk", text)
	if len(e.applied) != 1 || len(sum.Applied) != 1 || sum.ChoicesFile != "harden-choices.json" {
		t.Errorf("applied %d, %+v", len(e.applied), sum)
	}
	if got := e.saved["harden-choices.json"]; got != "apiserver-admission-plugins,apiserver-profiling,audit-policy" {
		t.Errorf("saved %q", got)
	}
}

func TestPlainAppliesOnlyByTheNodesName(t *testing.T) {
	for name, lines := range map[string][]string{
		"enter alone":        {""},
		"yes":                {"yes"},
		"another node":       {"cp2"},
		"the end of input":   nil,
		"in capital letters": {"CP1"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newFake(t)
			text, sum, err := plainly(t, e, Options{Preselect: begin("apiserver-profiling")}, append([]string{"plan"}, lines...)...)
			if err != nil || len(e.applied) != 0 || len(sum.Applied) != 0 {
				t.Errorf("err %v, applied %d", err, len(e.applied))
			}
			if !strings.Contains(text, "+     - --profiling=false") {
				t.Error("the diff was not printed before the question")
			}
		})
	}
	t.Run("read only", func(t *testing.T) {
		e := newFake(t)
		text, _, _ := plainly(t, e, Options{ReadOnly: true, Preselect: begin("apiserver-profiling")}, "plan", "cp1")
		if len(e.applied) != 0 || !strings.Contains(text, "Not applied: read only") {
			t.Error(text)
		}
	})
}

func TestPlainSaysWhatGoesWrong(t *testing.T) {
	e := newFake(t)
	e.cluster, e.planErr, e.historyErr = false, errors.New("planning: no\x1b[2J"), errors.New("reading the history: no")
	text, _, err := plainly(t, e, Options{Preselect: begin("apiserver-profiling")}, "plan", "history", "nonsense", "walk", "x", "d", "b", "q")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"The cluster could not be read", "planning: no^[[2J", "reading the history: no", "nonsense is none of them.", "x is none of them."} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	e = newFake(t)
	e.factsErr = errors.New("reading the node: no")
	if _, _, err := plainly(t, e, Options{}, "walk"); !errors.Is(err, e.factsErr) {
		t.Errorf("err = %v", err)
	}
}

func TestPlainUndo(t *testing.T) {
	e := newFake(t)
	text, sum, err := plainly(t, e, Options{}, "history", "9", "1", "1", "cp1", "quit")
	if err != nil || len(e.applied) != 1 || sum.Applied[0].Undoes == "" {
		t.Fatalf("err %v, applied %d", err, len(e.applied))
	}
	for _, want := range []string{"9 is not a number from 1 to 2.", "This undoes 20261122-081500-7c1e.", "--authorization-mode=AlwaysAllow", "Undone."} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

// TestPlainEndsWithItsContext: a question that nobody answers does not hold the program, and what was begun is undone.
func TestPlainEndsWithItsContext(t *testing.T) {
	t.Run("at a question", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in, _ := io.Pipe()
		asked := &signalWriter{on: "What next?", do: cancel}
		if _, err := Plain(ctx, newFake(t), Options{In: in, Out: asked}); err != nil {
			t.Error(err)
		}
	})
	t.Run("while applying", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := newFake(t)
		e.gate = make(chan struct{}, 1)
		e.gate <- struct{}{}
		begun := &signalWriter{on: "originals saved, restore.sh written", do: cancel}
		sum, err := Plain(ctx, e, Options{In: strings.NewReader("plan\ncp1\n"), Out: begun, Preselect: begin("apiserver-profiling"), Now: func() time.Time { return start }})
		if err != nil || len(sum.Applied) != 1 || sum.Applied[0].Result.Outcome != harden.OutcomeRolledBack {
			t.Errorf("err %v, %+v", err, sum.Applied)
		}
	})
}

// signalWriter does something when a text is written.
type signalWriter struct {
	on string
	do func()
}

func (w *signalWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.on) {
		w.do()
	}
	return len(p), nil
}

func TestPlainEndsWhenTheTerminalIsGone(t *testing.T) {
	_, err := Plain(t.Context(), newFake(t), Options{In: strings.NewReader("list\nlist\n"), Out: brokenWriter{}})
	if err == nil || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("err = %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestPlainConfirm: what waits is said at the start, and confirmed by a word.
func TestPlainConfirm(t *testing.T) {
	e := newFake(t)
	e.standing, e.events = standings("waiting"), openEvents()
	text, sum, err := plainly(t, e, Options{}, "p", "c", "q")
	if err != nil || e.standing != nil || len(sum.Applied) != 1 {
		t.Fatalf("%v, still open: %+v, %+v\n%s", err, e.standing, sum, text)
	}
	inOrder(t, text, "Waiting for confirm", "undone by itself in 4 min 12 s unless you confirm it", "sudo kubectl-harden confirm "+openTX,
		"confirm (c), walk (w)", "Applied.", "What next? walk (w)")
	e = newFake(t)
	e.standing, e.events = standings("interrupted"), openEvents()
	text, _, _ = plainly(t, e, Options{}, "q")
	inOrder(t, text, "A transaction was interrupted", "sudo kubectl-harden recover", "What next? walk (w)")
}

func inOrder(t *testing.T, text string, want ...string) {
	t.Helper()
	rest := strings.Join(strings.Fields(text), " ")
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("%q does not come next in\n%s", w, text)
		}
		rest = after
	}
}

// TestPlainQuestionsBrokeWithinWords: no line is wider than the terminal that is taken for granted; at a control one can quit,
// ask for help, and read the diff of what was just chosen.
func TestPlainQuestionsBrokeWithinWords(t *testing.T) {
	text, _, err := plainly(t, newFake(t), Options{}, "walk", "?", "n", "c", "d", "q", "never read")
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, text, "accept unknown (a), next (n), back (b), quit (q), help (?).", "the exact diff of this control alone", "Control 2 of 6",
		"chosen: apiserver-admission-plugins", "This control: leave out (l), diff (d), options (o), next (n), back (b)", "+ - --enable-admission-plugins")
	if strings.Contains(text, "none of them") || strings.Contains(text, "Control 3") {
		t.Error(text)
	}
	for l := range strings.Lines(text) {
		if (strings.Contains(l, "(q)") || strings.Contains(l, "Enter alone")) && len(l) > 81 {
			t.Errorf("%d cells: %q", len(l), l)
		}
	}
}
