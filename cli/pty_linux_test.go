package cli

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// onPTY runs the real program on a pseudo-terminal of 80x24 whose screen can be looked at.
type onPTY struct {
	t      testing.TB
	cmd    *exec.Cmd
	master *os.File

	mu      sync.Mutex
	screen  *vt.Emulator
	changed *sync.Cond
	closed  bool
}

func startOnPTY(t testing.TB, args ...string) *onPTY {
	t.Helper()
	p := &onPTY{t: t, cmd: exec.Command(program, args...), screen: vt.NewEmulator(80, 24)}
	p.changed = sync.NewCond(&p.mu)
	p.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	master, err := pty.StartWithSize(p.cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	p.master = master
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		_ = master.Close()
		if answers, ok := p.screen.InputPipe().(io.Closer); ok { // ends the copy below
			_ = answers.Close()
		}
	})
	go p.read()
	// The emulator answers the program's questions about the terminal.
	go func() { _, _ = io.Copy(master, p.screen) }()
	return p
}

func (p *onPTY) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		_, _ = p.screen.Write(buf[:n])
		p.closed = err != nil
		p.changed.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until all words are on the screen.
func (p *onPTY) await(words ...string) string {
	p.t.Helper()
	timeout := time.AfterFunc(time.Minute, func() {
		p.mu.Lock()
		p.closed = true
		p.changed.Broadcast()
		p.mu.Unlock()
	})
	defer timeout.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		text := p.screen.String()
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			return text
		}
		if p.closed {
			p.t.Fatalf("%q did not come onto the screen:\n%s", words, text)
		}
		p.changed.Wait()
	}
}

// until looks at the screen again and again.
func (p *onPTY) until(what string, ok func(text string) bool) {
	p.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 1200 {
		p.mu.Lock()
		text := p.screen.String()
		p.mu.Unlock()
		if ok(text) {
			return
		}
		<-again.C
	}
	p.t.Fatalf("the screen does not show %s", what)
}

// insist presses keys until they show: what is typed just after a question comes up, or without a pause, is swallowed.
func (p *onPTY) insist(keys, word string) {
	p.t.Helper()
	again := time.Now()
	p.until(word, func(text string) bool {
		if time.Since(again) > time.Second {
			again = time.Now()
			p.keys(keys)
		}
		return strings.Contains(text, word)
	})
}

func (p *onPTY) keys(s string) {
	p.t.Helper()
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// TestTheWholeWalkOnATerminal goes through the demo as a person would: look, choose, review, diff, confirm, apply, undo.
func TestTheWholeWalkOnATerminal(t *testing.T) {
	p := startOnPTY(t, "demo")
	p.await("SANDBOX", "API server", "fail")
	p.keys("/profiling\r")
	p.await("Turn profiling off", "not chosen")
	p.keys(" d")
	p.await("--profiling=false")
	p.keys("\x1b")
	p.await("Turn profiling off")
	p.keys("\x1b")
	p.await("Search all controls", "/ profiling")
	p.keys("\x1b")
	p.await("Network policies")
	p.keys("p")
	p.await("Plan: 1 control", "kube-apiserver restarts")
	p.keys("d")
	p.await("Diff of the whole plan", "--profiling=false")
	p.keys("A")
	p.await("Type the node's name")
	p.insist("\x15cp1", "> cp1")
	p.keys("\r")
	p.await("Applied.", "undo", "transaction")
	p.keys("H")
	p.await("History", "applied")
	p.keys("u")
	p.await("Undo of", "nothing is changed yet", "by apiserver-profiling")
	p.keys("q")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("leaving: %v", err)
	}
}

// TestConfirmingOnATerminal: what can lock the operator out is applied, waits with a countdown, and is kept by C.
func TestConfirmingOnATerminal(t *testing.T) {
	p := lockedOutOnPTY(t)
	left := regexp.MustCompile(`undone in (\S+ \S+( \d+ s)?)`)
	first := left.FindString(p.await("Waiting for confirm", "undone in", "keep it", "nothing"))
	p.until("the time running down", func(text string) bool {
		now := left.FindString(text)
		return now != "" && now != first
	})
	// What waits is seen from everywhere, and nothing else is begun meanwhile.
	p.keys("\x1b")
	p.await("UNCONFIRMED", "C shows it", "Areas")
	p.insist("C", "Waiting for confirm")
	p.insist("C", "Result")
	p.await("Result", "Applied.", "looks only")
	p.keys("H")
	p.await("History", "applied", "apiserver-anonym")
	p.leave()
}

// TestUndoingInsteadOfConfirming: u takes back what waits.
func TestUndoingInsteadOfConfirming(t *testing.T) {
	p := lockedOutOnPTY(t)
	p.await("Waiting for confirm", "undo it")
	p.insist("u", "Undo of")
	p.await("Undo of", "nothing is changed yet")
	p.keys("d")
	p.await("Diff of undoing", "--anonymous-auth=false")
	p.keys("A")
	p.await("Type the node's name to undo")
	p.insist("\x15cp1", "> cp1")
	p.keys("\r")
	p.await("Result", "undone, everything is as before")
	p.leave()
}

// lockedOutOnPTY applies in the demo what can lock the operator out, as far as the wait for confirm.
func lockedOutOnPTY(t *testing.T) *onPTY {
	p := startOnPTY(t, "demo")
	p.await("SANDBOX", "API server", "fail")
	p.keys("/apiserver-anonymous\r")
	p.await("Anonymous requests reach health checks only", "are accepted on every path")
	p.keys("o")
	p.await("Remedy and options", "> remedy")
	for !strings.Contains(p.await("> remedy"), "flag-false") {
		p.keys("\x1b[C")
		p.await("set: apiserver-anonymous-auth by")
	}
	p.keys("\x1b")
	p.await("Seen")
	p.keys(" ")
	p.await("chosen: apiserver-anonymous-auth")
	p.keys("p")
	p.await("Plan: 1 control", "Dead man's switch", "can lock you out")
	p.keys("d")
	p.await("Diff of the whole plan")
	p.keys("A")
	p.await("Type the node's name", "unless you confirm it within 5m")
	p.insist("\x15cp1", "> cp1")
	p.keys("\r")
	return p
}

func (p *onPTY) leave() {
	p.t.Helper()
	p.keys("q")
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("leaving: %v", err)
	}
}

// TestInterruptedEverywhere: ctrl+c leads out of every screen, with nothing changed and the code of an interruption or none.
func TestInterruptedEverywhere(t *testing.T) {
	root := tempRoot(t)
	makeVersion(t, root, "1.37", "")
	before := tree(t, root)
	for name, keys := range map[string][]string{
		"areas": {}, "controls": {"\r"}, "search": {"/"}, "help": {"?"}, "history": {"H"},
		"review": {"*", "p"}, "diff": {"*", "p", "d"}, "confirm": {"*", "p", "d", "A"}, "save": {"*", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startOnPTY(t, at(root)...)
			p.await("offline", "API server", "fail")
			for _, k := range keys {
				p.keys(k)
			}
			p.keys("\x03")
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("leaving: %v", err)
			}
			if d := differences(before, tree(t, root)); len(d) > 0 {
				t.Errorf("ctrl+c left these different: %q", d)
			}
		})
	}
}

// TestTheTerminalGoes: a session that is cut while the walk applies leaves nothing half done.
func TestTheTerminalGoes(t *testing.T) {
	root := tempRoot(t)
	makeVersion(t, root, "1.37", "")
	before := tree(t, root)
	p := startOnPTY(t, at(root)...)
	p.await("offline", "API server", "fail")
	p.keys("/apiserver-profiling\r")
	p.await("not chosen")
	p.keys(" p")
	p.await("Plan: 1 control")
	p.keys("d")
	p.await("Diff of the whole plan")
	p.keys("A")
	p.await("Type the node's name")
	p.insist("\x15cp1", "> cp1")
	p.keys("\r")
	_ = p.master.Close()
	_ = p.cmd.Wait()
	// It was undone, or it was done already: never anything between.
	must(t, exitDone, at(root, "status")...)
	must(t, exitDone, at(root, "rollback", "--yes")...)
	if d := differences(before, tree(t, root)); len(d) > 0 {
		t.Errorf("these are not as before: %q", d)
	}
}

// TestATerminalOfOneCell: nothing can be shown there, and q and ctrl+c still lead out.
func TestATerminalOfOneCell(t *testing.T) {
	for _, key := range []string{"q", "\x03"} {
		p := startOnPTY(t, "demo")
		p.await("SANDBOX")
		if err := pty.Setsize(p.master, &pty.Winsize{Cols: 1, Rows: 1}); err != nil {
			t.Fatal(err)
		}
		p.until("that it is too small", func(text string) bool { return !strings.Contains(text, "SANDBOX") })
		p.keys(key)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("leaving: %v", err)
		}
	}
}

// TestSuspended: ctrl+z gives the terminal back, and when the shell continues the program it is where it was, and hears keys.
func TestSuspended(t *testing.T) {
	p := startOnPTY(t, "demo")
	p.await("SANDBOX", "fail")
	p.keys("\r")
	p.await("API server", "One file defines the API server")
	p.keys("\x1a")
	p.until("the screen as it was before", func(text string) bool { return strings.TrimSpace(text) == "" })
	// The process group has no shell, so the kernel does not stop it; it waits to be continued all the same.
	p.until("the walk again", func(text string) bool {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		return strings.Contains(text, "One file defines the API server")
	})
	p.keys("\x1b")
	p.await("Areas")
	p.keys("q")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("leaving: %v", err)
	}
}

// BenchmarkFirstFrame is from exec to the first frame with the areas' names, before slow facts (design.md 6).
func BenchmarkFirstFrame(b *testing.B) {
	root := b.TempDir()
	if err := makeRoot(b, root, "1.37"); err != nil {
		b.Fatal(err)
	}
	for name, args := range map[string][]string{"root": at(root), "demo": {"demo"}} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				p := startOnPTY(b, args...)
				p.await("Areas")
				took = append(took, time.Since(start))
				p.keys("q")
				_ = p.cmd.Wait()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}

// TestTheWalkFollowsAnotherRun: a second terminal sees what the first one does, from the journal, and then its end.
func TestTheWalkFollowsAnotherRun(t *testing.T) {
	root := tempRoot(t)
	makeVersion(t, root, "1.37", "")
	other := exec.Command(program, at(root, "apply", "--control", "apiserver-profiling", "--yes")...)
	progress, full, err := fullPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	other.Stderr = full
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	full.Close()
	for transactionsIn(root) == 0 {
		time.Sleep(time.Millisecond)
	}
	p := startOnPTY(t, at(root)...)
	p.await("Another run is under way", "apply of", "originals", "this walk only looks on")
	_, _ = io.Copy(io.Discard, progress)
	if err := other.Wait(); err != nil {
		t.Fatal(err)
	}
	p.await("It is over", "Applied.")
	p.keys("\x1b")
	p.await("Areas", "looks only")
	p.keys("q")
	_ = p.cmd.Wait()
}
