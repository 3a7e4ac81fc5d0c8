package cli

import (
	"bufio"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// killSeed makes the killed runs the same ones each time.
const killSeed = 20260923

// A run that is killed at a random moment loses nothing: recover, and where it had finished rollback, bring everything back.
func TestKilledWhileApplying(t *testing.T) {
	random := rand.New(rand.NewPCG(killSeed, 1))
	root := tempRoot(t)
	makeVersion(t, root, "1.37", "")
	before := tree(t, root)
	interrupted := 0
	for i := range kills {
		lines, more := random.IntN(11), time.Duration(random.IntN(800))*time.Microsecond
		said := killedAfter(t, root, lines, more)
		code, stdout, stderr := run(at(root, "recover")...)
		if code != exitDone {
			t.Fatalf("run %d, killed %s after line %d (%q): recover: exit code %d\n%s%s", i, more, lines, said, code, stdout, stderr)
		}
		was := "finished"
		switch {
		case strings.Contains(stdout, "is undone"):
			was = "interrupted"
			interrupted++
		case strings.Contains(stdout, "nothing to recover"):
			must(t, exitDone, at(root, "rollback", "--yes")...)
		default:
			// Every gate had passed: recover has settled it forward.
			was = "proven"
			must(t, exitDone, at(root, "rollback", "--yes")...)
		}
		t.Logf("run %2d: killed %s after line %d (%q): %s", i, more, lines, said, was)
		if d := differences(before, tree(t, root)); len(d) > 0 {
			t.Fatalf("run %d, killed %s after line %d (%q): %q", i, more, lines, said, d)
		}
		must(t, exitDone, at(root, "status")...)
	}
	if interrupted == 0 {
		t.Errorf("none of %d runs was killed on its way", kills)
	}
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
