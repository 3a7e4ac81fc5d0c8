package apply_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
)

// mortal is the real file system, whose locks end with the process that a test kills.
type mortal struct{ backupstest.OS }

func (mortal) Lock(string, []byte) (func() error, []byte, error) {
	return func() error { return nil }, nil, nil
}

// killing kills the process before its nth operation, or after it.
func (w *world) killing(nth int, after bool) {
	dead := false
	die := func(op backupstest.Op) {
		if dead = dead || op.N >= nth; dead {
			panic(killed{})
		}
	}
	w.watch.Before = func(op backupstest.Op) error {
		if dead || !after {
			die(op)
		}
		return nil
	}
	w.watch.After = func(op backupstest.Op) {
		if after {
			die(op)
		}
	}
}

// onDisk is a world on the real file system.
func onDisk(t testing.TB, dir string) *world {
	must(t, os.Mkdir(dir, 0o755))
	fsys := mortal{backupstest.OS{Root: dir, NoSync: true}}
	populate(t, fsys, "1.37")
	return worldOn(t, fsys)
}

// TestKilled kills a whole apply before or after each operation by which it changes something on the real file system, and
// recovers: back, and on every third occasion forward. Afterwards everything is as it was before, or as planned.
func TestKilled(t *testing.T) {
	base := t.TempDir()
	var earlier []backupstest.Op
	for _, way := range []struct {
		name    string
		arrange func(*world)
	}{
		{"forward", func(*world) {}},
		{"back", func(w *world) { w.node.dies = has(newField) }},
	} {
		w := onDisk(t, filepath.Join(base, way.name))
		p := w.plan(some...)
		way.arrange(w)
		var writes []backupstest.Op
		w.watch.Before = func(op backupstest.Op) error {
			if op.Writes() && op.Name != "Lock" {
				writes = append(writes, op)
			}
			return nil
		}
		w.apply(p)
		outcomes := map[harden.Outcome]int{}
		same := alike(earlier, writes)
		earlier = writes
		for i := same; i < len(writes); i += stride {
			op := writes[i]
			dir := filepath.Join(base, fmt.Sprint(way.name, i))
			outcome, err := killAndRecover(t, dir, p, kill{op.N, i%2 == 0, i%3 == 0}, way.arrange)
			if err != nil {
				t.Fatalf("%s: killed at operation %d (%s %s): %v", way.name, op.N, op.Name, op.Path, err)
			}
			outcomes[outcome]++
			must(t, os.RemoveAll(dir))
		}
		t.Logf("%s: %d operations, %d that change something, killed from number %d: %v", way.name, w.watch.Count(), len(writes), same+1, outcomes)
	}
}

// alike counts the operations that both begin with, whatever their dot-files are called.
func alike(a, b []backupstest.Op) int {
	n := 0
	for n < min(len(a), len(b)) && a[n].Name == b[n].Name && path.Dir(a[n].Path) == path.Dir(b[n].Path) {
		n++
	}
	return n
}

// kill is when an apply is killed, and how it is recovered.
type kill struct {
	at     int // the number of the operation
	after  bool
	finish bool
}

// killAndRecover kills an apply and settles what it has left. The outcome is empty where nothing had begun.
func killAndRecover(t *testing.T, dir string, p harden.Plan, k kill, arrange func(*world)) (harden.Outcome, error) {
	w := onDisk(t, dir)
	arrange(w)
	w.killing(k.at, k.after)
	var last harden.Result
	survives(func() { last = w.apply(p) })
	w.watch = &backupstest.Watch{FS: w.fsys}
	open, err := (&store{Store: backups.Open(w.fsys, backups.Options{Dir: stateDir})}).Unsettled()
	must(t, err)
	for _, u := range open {
		last = w.recover(u.ID, k.finish)
		if last.Outcome == harden.OutcomeUnsettled && k.finish {
			last = w.recover(u.ID, false) // its undo had begun
		}
	}
	if err := noDrafts(dir); err != nil {
		return "", err
	}
	if err := w.canaryLeft(); err != nil {
		return "", err
	}
	stored, left := w.outcome(), w.changes()
	outcome := map[string]harden.Outcome{backups.Committed: harden.OutcomeApplied, backups.RolledBack: harden.OutcomeRolledBack}[stored]
	switch {
	case outcome == harden.OutcomeApplied && w.planned(p):
	case (outcome == harden.OutcomeRolledBack || stored == "none" || stored == backups.Aborted) && len(left) == 0:
	default:
		return "", fmt.Errorf("%s, stored as %q: %s: %q", last.Outcome, stored, last.Message, left)
	}
	// What is on disk is what runs.
	for id, pod := range w.node.pods {
		c, _ := harden.ComponentByID(id)
		if text := w.node.text(manifest(c)); pod.running == nil || pod.runs != text {
			return "", fmt.Errorf("%s: %s does not run what its manifest says", outcome, id)
		}
	}
	if w.node.config != w.node.text(kubeletConfig) {
		return "", fmt.Errorf("%s: the kubelet does not run what its configuration says", outcome)
	}
	return outcome, nil
}

// noDrafts finds dot-files of ours that nobody would remove any more.
func noDrafts(dir string) error {
	return filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(filepath.Base(p), ".kubectl-harden") {
			return fmt.Errorf("%s is left", p)
		}
		return err
	})
}
