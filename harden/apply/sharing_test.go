package apply_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// besides is a node that is prepared to encrypt beside another control plane, which has read what is told.
func besides(t *testing.T, read *string) *world {
	t.Helper()
	w := prepared(t)
	w.members.nodes = []string{"cp1", "cp2"}
	w.members.keys = func(string) (string, error) { return *read, nil }
	return w
}

// sharedPlan is planned while the other control plane has read what it has.
func (w *world) sharedPlan(read string) harden.Plan {
	w.t.Helper()
	here, err := w.State(harden.EncryptionFile)
	must(w.t, err)
	w.known = &harden.ClusterFacts{Keys: []harden.KeyFact{{Node: "cp1", SHA256: here.Digest()}, {Node: "cp2", SHA256: read}}}
	return w.storedPlan("encrypt")
}

func (w *world) digests() (was, now string) {
	w.t.Helper()
	was, now, ok := harden.KeyFile(w.storedPlan("encrypt").Steps())
	if !ok {
		w.t.Fatal("the plan does not change what is encrypted with")
	}
	return was, now
}

// TestTheFirstOfTwoWritesNothingAnew: the other one would go on to write plain text.
func TestTheFirstOfTwoWritesNothingAnew(t *testing.T) {
	var read string
	w := besides(t, &read)
	was, now := w.digests()
	read = was
	p := w.sharedPlan(read)
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied || w.vault.rewrote != 0 || w.vault.values["shop/s0"] != plainly || w.vault.writes() != encrypted {
		t.Fatalf("%s: %s; %d written anew", res.Outcome, res.Message, w.vault.rewrote)
	}
	undo := w.undo(res.Transaction, "")
	read = now
	if refused := w.apply(undo); refused.Outcome != harden.OutcomeRefused || !strings.Contains(refused.Message.String(), "plan again") {
		t.Errorf("an undo that would write plain text beside one that encrypts: %s: %s", refused.Outcome, refused.Message)
	}
	read = was
	if back := w.apply(undo); back.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Fatalf("%s: %s: %q", back.Outcome, back.Message, w.changes())
	}
	w.vault.all(t, plainly)
}

// TestTheLastOfTwoIsUndone: what fails on the one leaves the other writing with the key, so that plain text cannot be had and is not
// tried; everything can be read.
func TestTheLastOfTwoIsUndone(t *testing.T) {
	var read string
	w := besides(t, &read)
	_, read = w.digests()
	w.vault.stuck = "shop/s2"
	res := w.apply(w.sharedPlan(read))
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "of 1") || len(w.changes()) > 0 {
		t.Fatalf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	if w.vault.lost != "" || w.vault.values["shop/s0"] != encrypted {
		t.Errorf("%q could not be read; s0 begins with %q", w.vault.lost, w.vault.values["shop/s0"])
	}
	if !slices.ContainsFunc(w.events, func(e harden.Event) bool {
		return e.Kind == harden.EventReverted && strings.Contains(e.Message.String(), "cp2 write with what is undone here")
	}) {
		t.Error("it is not said that nothing is written anew")
	}
	w.vault.stuck = ""
	if res := w.apply(w.sharedPlan(read)); res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	w.vault.all(t, encrypted)
}

// TestTheOtherGoesBackMeanwhile: it had followed when this was planned and checked, and writes plain text when everything is to be
// written anew.
func TestTheOtherGoesBackMeanwhile(t *testing.T) {
	var read string
	w := besides(t, &read)
	was, now := w.digests()
	read = now
	p := w.sharedPlan(read)
	w.node.dies = func(harden.ComponentID, string) bool { read = was; return false }
	res := w.apply(p)
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "cp2 would have to follow, and the plan says none") {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	w.vault.all(t, plainly)
}

// TestTheOtherDropsTheKeyWhileEtcdIsSaved, which takes minutes where it is large: nothing has restarted yet, and nothing does.
func TestTheOtherDropsTheKeyWhileEtcdIsSaved(t *testing.T) {
	var read string
	w := besides(t, &read)
	was, _ := w.digests()
	read = was
	p := w.sharedPlan(read)
	w.vault.saves = func() { read = "" }
	running := w.node.pods[harden.APIServer].running.ID
	res := w.apply(p)
	if !strings.Contains(res.Message.String(), "cp2 encrypts with another configuration") || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	if now := w.node.pods[harden.APIServer].running; now == nil || now.ID != running {
		t.Errorf("the API server has restarted: %+v", now)
	}
}

// TestTheOtherGoesBackRightBeforeEverythingIsWrittenAnew: once this one writes with the key the other is asked twice, after the restart and
// before anything is written anew.
func TestTheOtherGoesBackRightBeforeEverythingIsWrittenAnew(t *testing.T) {
	var read string
	w := besides(t, &read)
	was, now := w.digests()
	read = now
	p := w.sharedPlan(read)
	asked := 0
	w.members.keys = func(string) (string, error) {
		if w.vault.writes() == encrypted {
			asked++
		}
		if asked > 1 {
			return was, nil
		}
		return now, nil
	}
	res := w.apply(p)
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "not all of them write as this node does: cp2") {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	w.vault.all(t, plainly)
}

// TestAKeyThatIsWrittenWithAtOnce is taken over only where all others have read it: the plan may have been made when they had.
func TestAKeyThatIsWrittenWithAtOnce(t *testing.T) {
	from := prepared(t)
	if res := from.apply(from.storedPlan("encrypt")); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	file, err := from.State(harden.EncryptionFile)
	must(t, err)
	w := newWorld(t)
	w.withVault()
	must(t, place(w.fsys, harden.EncryptionDir, harden.State{Exists: true, Dir: true, Mode: 0o700}))
	must(t, place(w.fsys, harden.EncryptionIncoming, file))
	w.before = w.snapshot()
	key := w.areas[0].Controls[slices.IndexFunc(w.areas[0].Controls, func(c harden.Control) bool { return c.ID == "key" })]
	intents, err := key.Remedies[0].Intents(nil, nil)
	must(t, err)
	adopts := append([]harden.Intent{harden.AdoptKeys(harden.EncryptionFile, harden.EncryptionIncoming, file.Digest()), harden.RemoveFile(harden.EncryptionIncoming)}, intents[2:]...)
	w.areas = []harden.Area{{ID: "test", Controls: append(w.areas[0].Controls, control("adopt", nil, adopts...))}}
	w.members.nodes = []string{"cp1", "cp2"}
	var read string
	w.members.keys = func(string) (string, error) { return read, nil }
	p := w.storedPlan("adopt")
	if res := w.apply(p); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "cp2 has not read the key that would be written with here") || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	read = file.Digest()
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied || w.vault.writes() != encrypted {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// TestAKeyIsTakenAwayWithoutTheAPI: an undo needs none of the members, but what is in etcd.
func TestAKeyIsTakenAwayWithoutTheAPI(t *testing.T) {
	w := newWorld(t)
	w.withVault()
	clean := w.before
	first := w.apply(w.storedPlan("key"))
	w.members.down = errors.New("no answer")
	w.before = clean
	if res := w.apply(w.undo(first.Transaction, "")); res.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
}

// beside is a node that makes the first key beside another control plane, which has read what is told.
func beside(t *testing.T, read *string) (*world, harden.Plan) {
	t.Helper()
	w := newWorld(t)
	w.withVault()
	w.members.nodes = []string{"cp1", "cp2"}
	w.members.keys = func(string) (string, error) { return *read, nil }
	w.known = &harden.ClusterFacts{Keys: []harden.KeyFact{{Node: "cp1"}, {Node: "cp2"}}}
	return w, w.storedPlan("key")
}

// TestRecoverTookAKeyThatOthersWriteWith: the run that made the key died in its soak, and the other one went on with it.
func TestRecoverTookAKeyThatOthersWriteWith(t *testing.T) {
	for name, arrange := range map[string]func(w *world, read *string){
		"by what the other one has read": func(_ *world, read *string) { *read = strings.Repeat("c", 64) },
		"by what is in etcd":             func(w *world, _ *string) { w.vault.values["shop/s1"] = encrypted },
		"by neither, as nobody can be asked": func(w *world, _ *string) {
			w.members.down, w.vault.fails = errors.New("no answer"), errors.New("no quorum")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var read string
			w, p := beside(t, &read)
			id := w.killApply(p, func() { w.clock.in(40*time.Second, func() { panic(killed{}) }); w.applier.Soak = 10 * time.Minute })
			arrange(w, &read)
			if res := w.recover(id, false); res.Outcome != harden.OutcomeUnsettled || !strings.Contains(res.Message.String(), "nothing was undone") {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			must(t, w.clock.Sleep(t.Context(), time.Minute))
			if w.vault.lost != "" {
				t.Errorf("%s cannot be read", w.vault.lost)
			}
			read, w.members.down, w.vault.fails = "", nil, nil
			w.vault.values["shop/s1"] = plainly
			if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
				t.Errorf("when nobody needs it any more: %s: %s: %q", res.Outcome, res.Message, w.changes())
			}
		})
	}
}

// TestTheOtherMovedWhileThisOneRestarted: two turn at once, so that nobody would write everything anew, or the other one has dropped the
// key that is written with here.
func TestTheOtherMovedWhileThisOneRestarted(t *testing.T) {
	for name, tt := range map[string]struct {
		moves func(was, now string) string
		says  string
		owed  bool
	}{
		"it turned too":          {func(_, now string) string { return now }, "plan again", false},
		"it has dropped the key": {func(string, string) string { return "" }, "cp2 encrypts with another configuration", true},
	} {
		t.Run(name, func(t *testing.T) {
			var read string
			w := besides(t, &read)
			was, now := w.digests()
			read = was
			p := w.sharedPlan(read)
			w.node.dies = func(harden.ComponentID, string) bool { read = tt.moves(was, now); return false }
			res := w.apply(p)
			want := harden.OutcomeRolledBack
			if tt.owed && strings.Contains(strings.Join(slices.Collect(maps.Values(w.vault.values)), " "), encrypted) {
				want = harden.OutcomeOwed
			}
			if res.Outcome != want || !strings.Contains(res.Message.String(), tt.says) || len(w.changes()) > 0 {
				t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
			}
		})
	}
}

// TestFinishedWhenNobodyIsLeftToWriteAnew: all others have turned since the process died.
func TestFinishedWhenNobodyIsLeftToWriteAnew(t *testing.T) {
	var read string
	w := besides(t, &read)
	was, now := w.digests()
	read = was
	id := w.killApply(w.sharedPlan(read), func() { w.die("Rename", harden.EncryptionFile, 1) })
	read = now
	if res := w.recover(id, true); res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "plan again") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if res := w.apply(w.sharedPlan(read)); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.vault.all(t, encrypted)
}

// TestADeadMemberDoesNotHoldBackAnUndo: what is in etcd says whether the key is needed.
func TestADeadMemberDoesNotHoldBackAnUndo(t *testing.T) {
	var read string
	w, p := beside(t, &read)
	first := w.apply(p)
	if first.Outcome != harden.OutcomeApplied {
		t.Fatal(first.Message)
	}
	w.members.nodes = []string{"cp1", "cp2", "cp3"}
	w.members.keys = func(node string) (string, error) {
		if node == "cp3" {
			return "", errors.New("no answer")
		}
		return read, nil
	}
	undo := w.undo(first.Transaction, "")
	read = strings.Repeat("c", 64)
	if res := w.apply(undo); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "cp2 encrypts with another") {
		t.Errorf("the one that answers is ahead: %s: %s", res.Outcome, res.Message)
	}
	read = ""
	if res := w.apply(undo); res.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
}

// TestAKeyIsNotMadeInARunThatWaitsForConfirm: others could go on with it until then.
func TestAKeyIsNotMadeInARunThatWaitsForConfirm(t *testing.T) {
	w := newWorld(t)
	w.withVault()
	p := w.plan("key", "lockout")
	if p.Switch == nil || slices.Contains(p.Controls(), "key") || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), "a run of its own") {
		t.Errorf("%v, skipped %v", p.Controls(), p.Skipped)
	}
}
