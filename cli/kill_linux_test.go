package cli

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// killSeed makes the killed runs the same ones each time.
const killSeed = 20260923

// A run that is killed at a random moment loses nothing: recover, and where it had finished rollback, bring everything back.
func TestKilledWhileApplying(t *testing.T) {
	killed, interrupted := 0, 0
	for i, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			random := rand.New(rand.NewPCG(killSeed, uint64(i)))
			root := tempRoot(t)
			makeVersion(t, root, minor, "")
			before := tree(t, root)
			for range kills {
				killed++
				if killedOnce(t, root, before, random.IntN(11), time.Duration(random.IntN(800))*time.Microsecond) {
					interrupted++
				}
			}
		})
	}
	t.Logf("%d runs were killed, %d of them on their way", killed, interrupted)
	if interrupted == 0 {
		t.Errorf("none of %d runs was killed on its way", killed)
	}
}

// killedOnce applies, is killed and brings everything back. It says whether there was something to undo.
func killedOnce(t *testing.T, root string, before map[string]entry, lines int, more time.Duration) (interrupted bool) {
	t.Helper()
	said := killedAfter(t, root, lines, more)
	when := fmt.Sprintf("killed %s after line %d (%q)", more, lines, said)
	code, stdout, stderr := run(at(root, "recover")...)
	if code != exitDone {
		t.Fatalf("%s: recover: exit code %d\n%s%s", when, code, stdout, stderr)
	}
	was := "proven" // every gate had passed, and recover has settled it forward
	switch {
	case strings.Contains(stdout, "is undone"):
		was, interrupted = "interrupted", true
	case strings.Contains(stdout, "nothing to recover"):
		was = "finished"
	}
	if !interrupted {
		must(t, exitDone, at(root, "rollback", "--yes")...)
	}
	t.Logf("%s: %s", when, was)
	if d := differences(before, tree(t, root)); len(d) > 0 {
		t.Fatalf("%s: %q", when, d)
	}
	must(t, exitDone, at(root, "status")...)
	return interrupted
}

// killedAfter kills an applying process some time after it has said so many lines of progress. It gives the last one.
func killedAfter(t *testing.T, root string, lines int, more time.Duration) string {
	t.Helper()
	cmd := exec.Command(program, at(root, "apply", "--all", "--yes")...)
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, in := "", bufio.NewScanner(progress)
	for range lines {
		if !in.Scan() {
			break
		}
		said = in.Text()
	}
	time.Sleep(more)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return said
}
