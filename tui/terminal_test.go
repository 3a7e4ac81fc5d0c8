//go:build unix

package tui

import (
	"context"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/term"

	"kubectl-harden.io/kubectl-harden/harden"
)

// terminal is a pseudo-terminal with an emulator that shows what a person would see, and answers queries.
type terminal struct {
	t       *testing.T
	master  *os.File
	tty     *os.File
	mu      sync.Mutex
	screen  *vt.Emulator
	raw     strings.Builder
	changed chan struct{}
}

func newTerminal(t *testing.T, w, h int) *terminal {
	t.Helper()
	blocking, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	// Closing ends a read that waits only where the descriptor does not block.
	fd, err := syscall.Dup(int(blocking.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "master")
	blocking.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, master: master, tty: tty, screen: vt.NewEmulator(w, h), changed: make(chan struct{}, 1)}
	go func() { _, _ = io.Copy(master, s.screen) }()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.raw.Write(buf[:n])
			_, _ = s.screen.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		tty.Close()
		master.Close()
		if replies, ok := s.screen.InputPipe().(io.Closer); ok { // ends the copy above
			replies.Close()
		}
	})
	return s
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// wait until the screen shows a text.
func (s *terminal) wait(want string) {
	s.t.Helper()
	s.until(func() bool { return strings.Contains(s.text(), want) }, want)
}

func (s *terminal) until(ok func() bool, want string) {
	s.t.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-s.changed:
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q:\n%s", want, s.text())
		}
	}
}

// sent is everything that was written to the terminal.
func (s *terminal) sent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

func (s *terminal) typed(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

type ended struct {
	sum Summary
	err error
}

func (s *terminal) run(ctx context.Context, e *fakeEngine) chan ended {
	out := make(chan ended, 1)
	go func() {
		sum, err := Run(ctx, e, Options{In: s.tty, Out: s.tty, Env: []string{"TERM=xterm-256color"}, Color: true, Now: e.clock.Now})
		out <- ended{sum, err}
	}()
	return out
}

func TestOnATerminal(t *testing.T) {
	s := newTerminal(t, 80, 24)
	e := newFake(t)
	done := s.run(t.Context(), e)
	s.wait("cp1")
	s.typed("\r")
	s.wait("Requests are authorized by Node and RBAC")
	s.typed("jjjd")
	s.wait("--profiling=false")
	if err := pty.Setsize(s.tty, &pty.Winsize{Cols: 40, Rows: 12}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.screen.Resize(40, 12)
	s.mu.Unlock()
	s.typed("q")
	got := <-done
	if got.err != nil || len(got.sum.Applied) != 0 || !strings.Contains(got.sum.String(), "Nothing was changed.") {
		t.Errorf("%+v", got)
	}
	const leave = "\x1b[?1049l"
	s.until(func() bool { return strings.Contains(s.sent(), leave) }, leave)
	if raw := s.sent(); !strings.Contains(raw, "\x1b[?1049h") || strings.Contains(raw, "\x1b[48;") {
		t.Error("the screen was not left as it was found")
	}
}

func TestEndOfTheContextUndoesWhatWasBegun(t *testing.T) {
	s := newTerminal(t, 80, 24)
	e := newFake(t)
	e.gate = make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.run(ctx, e)
	s.wait("cp1")
	s.typed("*p")
	s.wait("Plan: 2 controls")
	s.typed("d")
	s.wait("Diff of the whole plan")
	s.typed("A")
	s.wait("Type the node's name")
	e.clock.add(grace)
	s.typed("cp1\r")
	e.gate <- struct{}{}
	s.wait("originals saved")
	cancel()
	got := <-done
	if got.err != nil || len(got.sum.Applied) != 1 || got.sum.Applied[0].Result.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%+v", got)
	}
}

// TestATerminalThatIsGone: a session that was cut ends the walk, and what was begun is undone.
func TestATerminalThatIsGone(t *testing.T) {
	s := newTerminal(t, 80, 24)
	e := newFake(t)
	e.gate = make(chan struct{}, 10)
	done := s.run(t.Context(), e)
	s.wait("cp1")
	s.typed("*p")
	s.wait("Plan: 2 controls")
	s.typed("d")
	s.wait("Diff of the whole plan")
	s.typed("A")
	s.wait("Type the node's name")
	e.clock.add(grace)
	s.typed("cp1\r")
	e.gate <- struct{}{}
	s.wait("originals saved")
	s.master.Close()
	got := <-done
	if len(got.sum.Applied) != 1 || got.sum.Applied[0].Result.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%+v", got)
	}
}

// panicking is an engine with a bug.
type panicking struct{ *fakeEngine }

func (panicking) Facts(context.Context) (*harden.Facts, error) { panic("a bug in the engine") }

// TestPanicLeavesTheTerminalClean: the terminal is as it was before, the bug is told below the screen that was left, and
// nobody reads the terminal any more.
func TestPanicLeavesTheTerminalClean(t *testing.T) {
	s := newTerminal(t, 80, 24)
	before, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), panicking{newFake(t)}, Options{In: s.tty, Out: s.tty, Env: []string{"TERM=xterm"}})
	if err == nil || !strings.Contains(err.Error(), "this program has a bug: a bug in the engine") {
		t.Errorf("err = %v", err)
	}
	if after, err := term.GetState(int(s.tty.Fd())); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the terminal's modes are not as before: %v", err)
	}
	s.until(func() bool {
		_, after, left := strings.Cut(s.sent(), "\x1b[?1049l")
		return left && strings.Contains(after, "panicking.Facts")
	}, "the stack, on the screen as it was before")
}
