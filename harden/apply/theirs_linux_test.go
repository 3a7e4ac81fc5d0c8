package apply_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// upgraded is a manifest as an upgrade by others leaves it.
func upgraded(t testing.TB, manifest string) string {
	t.Helper()
	out := strings.Replace(manifest, "kube-apiserver:v1.37", "kube-apiserver:v1.37.99-was-v1.37", 1)
	if out == manifest {
		t.Fatal("the manifest names no image to upgrade")
	}
	return out
}

const theirField = "\n# theirs\nmaxOpenFiles: 2000000\n"

// changedByOthers is a world in which a transaction waits, and others have changed two of its files since. It gives what these
// are to hold once it is undone.
func changedByOthers(t testing.TB, w *world) (id string, want map[string]string) {
	t.Helper()
	w.dead = &deadMan{w: w}
	res := w.apply(w.plan(locking...))
	if res.Outcome != harden.OutcomeWaiting {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	w.write(apiserverManifest, upgraded(t, w.node.text(apiserverManifest)))
	w.write(kubeletConfig, w.node.text(kubeletConfig)+theirField)
	w.events = nil
	return res.Transaction, map[string]string{
		apiserverManifest: upgraded(t, string(w.before[apiserverManifest].Data)),
		kubeletConfig:     string(w.before[kubeletConfig].Data) + theirField,
	}
}

// onlyTheirs says what is wrong with a node where our change is undone and theirs is not.
func (w *world) onlyTheirs(want map[string]string) error {
	for p, text := range want {
		if got := w.node.text(p); got != text {
			return fmt.Errorf("%s is\n%s\nnot\n%s", p, got, text)
		}
	}
	for _, p := range w.changes() {
		if _, theirs := want[p]; !theirs {
			return fmt.Errorf("left %s", p)
		}
	}
	if o := w.outcome(); o != backups.RolledBack || w.dead.armed {
		return fmt.Errorf("stored as %q, armed %v", o, w.dead.armed)
	}
	return nil
}

func (w *world) abandon(shown harden.Plan) harden.Result {
	w.t.Helper()
	a := w.process()
	defer w.end()
	return a.Abandon(context.Background(), shown)
}

// undosOfWhatWaits are the ways in which what waits for confirm is undone.
var undosOfWhatWaits = map[string]func(w *world, id string) harden.Result{
	"by rollback": func(w *world, id string) harden.Result { return w.abandon(w.undo(id, "")) },
	"at expiry":   (*world).expire,
	"by recover":  func(w *world, id string) harden.Result { return w.recover(id, false) },
	"at boot": func(w *world, id string) harden.Result {
		a := w.process()
		must(w.t, a.PutBack(id))
		w.end()
		return w.expire(id)
	},
}

// TestUndoOfWhatWaitsKeepsWhatOthersChanged: it put back whole files, so that it refused the one that others had changed, and
// our change stayed in force; or restore.sh threw theirs away.
func TestUndoOfWhatWaitsKeepsWhatOthersChanged(t *testing.T) {
	for name, undo := range undosOfWhatWaits {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, want := changedByOthers(t, w)
			res := undo(w, id)
			if (res.Outcome != harden.OutcomeRolledBack) != (name == "by rollback") || res.Outcome == harden.OutcomeMixed {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			if err := w.onlyTheirs(want); err != nil {
				t.Error(err)
			}
			if says := res.Message.String(); !strings.Contains(says, "others have changed in") || !strings.Contains(says, apiserverManifest) || !strings.Contains(says, kubeletConfig) {
				t.Errorf("it says %q", says)
			}
			if !strings.Contains(w.kinds(), "passed") {
				t.Errorf("nothing was proven: %s", w.kinds())
			}
		})
	}
}

// TestUndoOfWhatWaitsWritesWhatWasShown: the plan of the undo is what is written, to the mode.
func TestUndoOfWhatWaitsWritesWhatWasShown(t *testing.T) {
	w := newWorld(t)
	id, _ := changedByOthers(t, w)
	must(t, w.fsys.Chmod(policyDir, 0o750))
	must(t, w.fsys.Chmod(apiserverManifest, 0o640))
	shown := w.undo(id, "")
	if res := w.abandon(shown); res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	for _, s := range shown.Steps() {
		if now, err := w.State(s.Path); err != nil || !now.Equal(s.After) {
			t.Errorf("%s: %v, mode %04o; shown was mode %04o and\n%s", s.Path, err, now.Mode, s.After.Mode, s.After.Data)
		}
	}
	if s, _ := w.State(apiserverManifest); s.Mode != 0o640 {
		t.Errorf("their mode became %04o", s.Mode)
	}
}

// TestUndoOfAManifestWithoutOursIsNoFailure: where others had written the manifest anew, without our change, nothing of it was left to
// undo, and for want of a difference the undo found no arguments to prove. It ended as mixed, and restore.sh threw theirs away.
func TestUndoOfAManifestWithoutOursIsNoFailure(t *testing.T) {
	for name, undo := range undosOfWhatWaits {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, want := changedByOthers(t, w)
			w.write(apiserverManifest, want[apiserverManifest])
			if res := undo(w, id); res.Outcome == harden.OutcomeMixed {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			if err := w.onlyTheirs(want); err != nil {
				t.Error(err)
			}
			if i := w.node.pods[harden.APIServer].running; i == nil || slices.Contains(i.Args, "--min-request-timeout=1801") {
				t.Errorf("it ends while %+v runs", i)
			}
		})
	}
}

// addFlag writes a flag into the API server's manifest, as somebody else would.
func (w *world) addFlag(flag string) (text string) {
	const last = "    - --allow-privileged=true\n"
	text = strings.Replace(w.node.text(apiserverManifest), last, last+"    - "+flag+"\n", 1)
	w.write(apiserverManifest, text)
	return text
}

// TestWhatWasBroughtBackIsTheirs: an undo was killed while it proved that the API server runs with the file that it had brought back,
// and restore.sh, or somebody, wrote the file anew. Whoever recovered then waited for arguments that nothing would bring, and ended as
// mixed each time.
func TestWhatWasBroughtBackIsTheirs(t *testing.T) {
	gateFails := func(w *world) func(*apply.Applier) {
		w.node.dies = has("--min-request-timeout")
		p := w.plan(locking...)
		return func(a *apply.Applier) { a.Apply(context.Background(), p) }
	}
	expires := func(w *world) func(*apply.Applier) {
		id, _ := changedByOthers(t, w)
		w.addFlag("--max-requests-inflight=401")
		return func(a *apply.Applier) { a.Expire(context.Background(), id) }
	}
	for name, tt := range map[string]struct {
		begin   func(w *world) func(*apply.Applier)
		renames int // of the manifest, in the process that dies
		script  bool
	}{
		"a run whose gate failed, and somebody":   {gateFails, 2, false},
		"the undo of what waited, and somebody":   {expires, 1, false},
		"the undo of what waited, and restore.sh": {expires, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dead = &deadMan{w: w}
			undo := tt.begin(w)
			w.on("Rename", apiserverManifest, tt.renames, func() { w.clock.in(2*time.Second, func() { panic(killed{}) }) })
			a := w.process()
			if survives(func() { undo(a) }) {
				t.Fatal("it was not killed")
			}
			id := w.reborn()
			want := string(w.before[apiserverManifest].Data)
			if tt.script {
				w.write(apiserverManifest, want)
				w.write(kubeletConfig, string(w.before[kubeletConfig].Data))
				w.write(stateDir+"/transactions/"+id+"/restored", "")
			} else {
				want = w.addFlag("--max-mutating-requests-inflight=201")
			}
			must(t, w.clock.Sleep(t.Context(), time.Minute))
			res := w.recover(id, false)
			if says := res.Message.String(); res.Outcome != harden.OutcomeRolledBack || tt.script == strings.Contains(says, "others have changed") {
				t.Errorf("%s: %s", res.Outcome, says)
			}
			if got := w.node.text(apiserverManifest); got != want || w.outcome() != backups.RolledBack {
				t.Errorf("stored as %q, with the manifest\n%s", w.outcome(), got)
			}
		})
	}
}

const policyDir = "/etc/kubernetes/policies"

// TestUndoThatWasNotShownIsRefused: what changed after the plan of the undo was made is not undone unseen.
func TestUndoThatWasNotShownIsRefused(t *testing.T) {
	for name, change := range map[string]func(w *world, p *harden.Plan){
		"a file has changed again": func(w *world, _ *harden.Plan) {
			w.write(kubeletConfig, w.node.text(kubeletConfig)+"# once more\n")
		},
		"the plan is not what the undo gives": func(w *world, p *harden.Plan) {
			p.Stages = slices.Clone(p.Stages)
			p.Stages[0].Steps = slices.Clone(p.Stages[0].Steps)
			i := slices.IndexFunc(p.Stages[0].Steps, func(s harden.Step) bool { return s.ID == apiserverManifest })
			p.Stages[0].Steps[i].After.Data = []byte("kind: Pod\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, _ := changedByOthers(t, w)
			shown := w.undo(id, "")
			change(w, &shown)
			was := w.snapshot()
			res := w.abandon(shown)
			if res.Outcome != harden.OutcomeRefused || (res.Drift != nil) != strings.HasPrefix(name, "a file") {
				t.Errorf("%s: %s (%v)", res.Outcome, res.Message, res.Drift)
			}
			for p, s := range w.snapshot() {
				if !s.Equal(was[p]) {
					t.Errorf("%s was written", p)
				}
			}
			if _, waiting := w.armedIn(id); !waiting || !w.dead.armed {
				t.Errorf("it waits %v, armed %v", waiting, w.dead.armed)
			}
		})
	}
}

// TestUndoOfWhatWaitsLeavesSettingsOfOthers: a kernel setting that others have set since stays.
func TestUndoOfWhatWaitsLeavesSettingsOfOthers(t *testing.T) {
	w, _, _ := armedWorld(t)
	id := w.apply(w.plan("kernel", "lockout")).Transaction
	w.node.sysctls["vm.overcommit_memory"] = "2"
	if res := w.abandon(w.undo(id, "")); res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if got := w.node.sysctls["vm.overcommit_memory"]; got != "2" {
		t.Errorf("it became %q", got)
	}
}

// TestKilledWhileTheirsIsKept kills the undo of a transaction that waits, in which others have changed files, before or after each
// operation by which it changes something. Whoever recovers takes back our change, and theirs alone stays.
func TestKilledWhileTheirsIsKept(t *testing.T) {
	base := t.TempDir()
	w := onDisk(t, filepath.Join(base, "count"))
	id, want := changedByOthers(t, w)
	var writes []backupstest.Op
	w.watch = &backupstest.Watch{FS: w.fsys}
	w.watch.Before = func(op backupstest.Op) error {
		if op.Writes() && op.Name != "Lock" {
			writes = append(writes, op)
		}
		return nil
	}
	w.expire(id)
	must(t, w.onlyTheirs(want))
	kills := 0
	for i := 0; i < len(writes); i += 4 * stride {
		dir := filepath.Join(base, fmt.Sprint(i))
		w := onDisk(t, dir)
		id, want := changedByOthers(t, w)
		w.watch = &backupstest.Watch{FS: w.fsys}
		w.killing(writes[i].N, kills%2 == 0)
		survives(func() { w.expire(id) })
		w.watch = &backupstest.Watch{FS: w.fsys}
		open, err := (&store{Store: backups.Open(w.fsys, backups.Options{Dir: stateDir})}).Unsettled()
		must(t, err)
		for _, u := range open {
			w.recover(u.ID, false)
		}
		if err := w.onlyTheirs(want); err != nil {
			t.Fatalf("killed at operation %d of %d (%s %s): %v", i, len(writes), writes[i].Name, writes[i].Path, err)
		}
		kills++
		must(t, os.RemoveAll(dir))
	}
	t.Logf("%d kills at %d operations", kills, len(writes))
}
