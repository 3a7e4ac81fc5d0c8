package tui

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write the golden files anew")

// walk drives the real model with messages, as the program would; commands run at once, ticks never.
type walk struct {
	t      testing.TB
	m      *Model
	e      *fakeEngine
	quit   bool
	copied string
	queue  []tea.Cmd // commands that are held back
	hold   bool
	taker  tea.Cmd // waits for progress
}

func newWalk(t testing.TB, e *fakeEngine, o Options) *walk {
	t.Helper()
	o.Now = e.clock.Now
	w := &walk{t: t, e: e}
	w.m = NewModel(context.Background(), e, o)
	w.m.after = func(time.Duration, func(time.Time) tea.Msg) tea.Cmd { return nil }
	return w
}

// begun has read the node.
func begun(t testing.TB, e *fakeEngine, o Options) *walk {
	t.Helper()
	w := newWalk(t, e, o)
	w.run(w.m.Init())
	return w
}

func (w *walk) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if w.hold {
		w.queue = append(w.queue, cmd)
		return
	}
	w.send(cmd())
}

func (w *walk) send(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			w.run(c)
		}
	case tea.QuitMsg:
		w.quit = true
	default:
		if v := msg; strings.HasSuffix(typeName(v), "setClipboardMsg") {
			w.copied = stringOf(v)
			return
		}
		_, cmd := w.m.Update(msg)
		w.check()
		w.run(cmd)
	}
}

// keys presses keys by their names; text in quotes is typed.
func (w *walk) keys(names ...string) *walk {
	w.t.Helper()
	for _, n := range names {
		if text, ok := strings.CutPrefix(n, "'"); ok {
			for _, r := range text {
				w.send(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		w.send(keyPress(n))
	}
	return w
}

func keyPress(name string) tea.KeyPressMsg {
	for code, n := range namedKeys {
		if n == name {
			return tea.KeyPressMsg{Code: code}
		}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	if name == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// settle lets the time of grace pass.
func (w *walk) settle() *walk {
	w.e.clock.add(grace)
	return w
}

// frame is the screen as text.
func (w *walk) frame() string {
	return ansi.Strip(strings.Join(w.m.frame(), "\n"))
}

// check asserts what holds of every frame.
func (w *walk) check() {
	w.t.Helper()
	lines := w.m.frame()
	if want := max(w.m.height, 1); len(lines) != want {
		w.t.Fatalf("the frame has %d lines, not %d:\n%s", len(lines), want, strings.Join(lines, "\n"))
	}
	for i, l := range lines {
		if n := ansi.StringWidth(l); n > max(w.m.width, 1) {
			w.t.Fatalf("line %d is %d cells wide, not %d: %q", i, n, w.m.width, l)
		}
		if n := ansi.StringWidthWc(l); n > max(w.m.width, 1) {
			w.t.Fatalf("line %d is %d cells wide by wcwidth, not %d: %q", i, n, w.m.width, l)
		}
		if hostile(l) {
			w.t.Fatalf("line %d has bytes that are not ours: %q", i, l)
		}
	}
}

// hostile says that something other than SGR sequences and printable text is in a line.
func hostile(l string) bool {
	for len(l) > 0 {
		if strings.HasPrefix(l, "\x1b[") {
			end := strings.IndexFunc(l[2:], func(r rune) bool { return r != ';' && (r < '0' || r > '9') })
			if end < 0 || l[2+end] != 'm' {
				return true
			}
			l = l[2+end+1:]
			continue
		}
		if !ansiPrintable(l[0]) {
			return true
		}
		l = l[1:]
	}
	return false
}

func ansiPrintable(b byte) bool { return b >= 0x20 && b != 0x7f }

func (w *walk) want(texts ...string) *walk {
	w.t.Helper()
	frame := w.frame()
	flat := flatten(frame)
	for _, s := range texts {
		if !strings.Contains(frame, s) && !strings.Contains(flat, flatten(s)) {
			w.t.Fatalf("the screen lacks %q:\n%s", s, frame)
		}
	}
	return w
}

// flatten undoes the wrapping of text and of command lines.
func flatten(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\\\n", " ")), " ")
}

func (w *walk) wantNot(texts ...string) *walk {
	w.t.Helper()
	frame := w.frame()
	for _, s := range texts {
		if strings.Contains(frame, s) {
			w.t.Fatalf("the screen has %q:\n%s", s, frame)
		}
	}
	return w
}

// golden compares a screen with its file.
func golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".txt")
	got = trimLines(got) + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./tui -update writes it)", err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs (go test ./tui -update accepts it)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func stringOf(v any) string { return fmt.Sprintf("%s", v) }
