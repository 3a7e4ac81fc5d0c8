package apply_test

import (
	"context"
	"errors"
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
)

// filtered is the control of a world with such a machine.
func filtered(rules string) harden.Control {
	return lockingOut(control("firewall", nil,
		harden.WriteFile(harden.FilterRules, []byte(rules), 0o600, harden.PacketFilter),
		harden.WriteFile(filterUnit, []byte("[Service]\n"), 0o600, harden.PacketFilter),
		harden.WriteFile(filterHook, []byte("[Unit]\nWants="+harden.FilterUnit+"\n"), 0o600, harden.PacketFilter)))
}

const (
	oldLogin = "198.51.100.7:40001 to 192.0.2.11:22"
	newLogin = "198.51.100.7:40002 to 192.0.2.11:22"
)

func filterOn(w *world) *world {
	w.dead = &deadMan{w: w}
	w.filter = &packetFilter{w: w, open: []string{oldLogin}, own: oldLogin}
	w.cluster.status = 200
	w.areas[0].Controls = append(w.areas[0].Controls, filtered("rules\n"))
	return w
}

// filters applies the table and wants it to wait.
func (w *world) filters(t *testing.T) string {
	t.Helper()
	res := w.apply(w.plan("firewall"))
	if res.Outcome != harden.OutcomeWaiting || string(w.filter.rules) != "rules\n" {
		t.Fatalf("%s: %s; in force: %q", res.Outcome, res.Message, w.filter.rules)
	}
	return res.Transaction
}

func TestATableWaitsForANewConnection(t *testing.T) {
	w := filterOn(newWorld(t))
	p := w.plan("firewall")
	if !p.Switch.NewConnection || !slices.ContainsFunc(p.Switch.Review(), func(m harden.Message) bool { return strings.Contains(m.String(), "new SSH connection") }) {
		t.Errorf("the review does not say how to confirm: %v", p.Switch.Review())
	}
	w.on("Rename", harden.FilterRules, 1, func() {
		if !w.dead.armed || w.filter.tried == 0 {
			t.Errorf("the rules are written when the switch is armed: %v, and they were tried: %d times", w.dead.armed, w.filter.tried)
		}
	})
	res := w.apply(p)
	if res.Outcome != harden.OutcomeWaiting || !strings.Contains(res.Message.String(), "over a new SSH connection") || !w.planned(p) {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	for _, tt := range []struct {
		name, own, says string
		open            []string
		lost            error
	}{
		{"a connection from before", oldLogin, "which proves nothing", []string{oldLogin, newLogin}, nil},
		{"one that has ended", newLogin, "is not open any more", []string{oldLogin}, nil},
		{"one that cannot be told", "", "how you are logged in cannot be told: gone", nil, errors.New("gone")},
	} {
		w.filter.own, w.filter.open, w.filter.lost = tt.own, tt.open, tt.lost
		refused := w.confirm(res.Transaction)
		if refused.Outcome != harden.OutcomeRefused || !strings.Contains(refused.Message.String(), tt.says) || len(refused.Hints) != 1 {
			t.Errorf("%s: %s: %s %q", tt.name, refused.Outcome, refused.Message, refused.Hints)
		}
		if !w.dead.armed || w.outcome() != "" {
			t.Errorf("%s: armed %v, stored as %q", tt.name, w.dead.armed, w.outcome())
		}
	}
	w.filter.own, w.filter.open, w.filter.lost = newLogin, []string{oldLogin, newLogin}, nil
	if done := w.confirm(res.Transaction); done.Outcome != harden.OutcomeApplied || w.dead.armed || string(w.filter.rules) != "rules\n" {
		t.Errorf("a new connection: %s: %s; armed %v", done.Outcome, done.Message, w.dead.armed)
	}
	if again := w.plan("firewall"); !again.Empty() {
		t.Errorf("a second plan has %d steps", len(again.Steps()))
	}
}

func TestATableIsConfirmedAtAConsole(t *testing.T) {
	w := filterOn(newWorld(t))
	id := w.filters(t)
	w.filter.own = ""
	if done := w.confirm(id); done.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", done.Outcome, done.Message)
	}
}

// gone wants everything as it was before.
func (w *world) gone(t *testing.T, what string) {
	t.Helper()
	if left := w.changes(); w.filter.rules != nil || len(left) > 0 || w.dead.armed {
		t.Errorf("%s: in force %q, left %q, armed %v", what, w.filter.rules, left, w.dead.armed)
	}
}

func TestATableThatNobodyConfirmsGoes(t *testing.T) {
	w := filterOn(newWorld(t))
	if res := w.expire(w.filters(t)); res.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.gone(t, "expired")
}

// At boot only the files come back; without them the unit loads nothing. What the switch does later finds nothing left to do.
func TestATableThatABootTakesAway(t *testing.T) {
	w := filterOn(newWorld(t))
	id := w.filters(t)
	w.filter.rules = nil // the kernel is another one
	a := w.process()
	must(t, a.PutBack(id))
	w.end()
	if names, _ := w.List("/etc/kubectl-harden"); len(names) > 0 {
		t.Errorf("before the kubelet starts there are %q", names)
	}
	if res := w.expire(id); res.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.gone(t, "after the boot")
}

func TestATableThatHurtsIsTakenAway(t *testing.T) {
	for name, tt := range map[string]struct {
		hurt func(w *world)
		says string
	}{
		"it is another one": {func(w *world) {
			w.filter.differs = func() (string, error) { return "chain input is not as it was written", nil }
		}, "chain input is not"},
		"it cannot be loaded": {func(w *world) { w.filter.loads = func() error { return errors.New("no such unit") } }, "loading the table: no such unit"},
		"it cannot be looked at": {func(w *world) {
			w.filter.differs = func() (string, error) { return "", errors.New("operation not permitted") }
		}, "operation not permitted"},
		"the API cannot be asked": {func(w *world) { w.filter.loads = func() error { w.cluster.status = 503; return nil } }, "which worked before: it answers 503"},
		"another control plane does not reach the kubelet any more": {func(w *world) {
			w.members.nodes, w.members.only = []string{"cp1", "cp2"}, "/api/v1/nodes/cp1/proxy/healthz"
			w.filter.loads = func() error {
				w.members.sick = func(node string) error { return errors.New(node + " says 502") }
				return nil
			}
		}, "GET /api/v1/nodes/cp1/proxy/healthz by the API server of cp2, which worked before: cp2 says 502"},
		"the operator interrupts": {nil, "interrupted"},
	} {
		w := filterOn(newWorld(t))
		ctx, stop := context.WithCancel(context.Background())
		if tt.hurt != nil {
			tt.hurt(w)
		} else {
			w.filter.loads = func() error { stop(); return nil }
		}
		res := w.applyUntil(ctx, w.plan("firewall"))
		stop()
		if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), tt.says) {
			t.Errorf("%s: %s: %s", name, res.Outcome, res.Message)
		}
		w.gone(t, name)
	}
}

func TestATableThatCannotBeHadRefusesThePlan(t *testing.T) {
	w := filterOn(newWorld(t))
	w.filter.refuses = errors.New("trying the rules: syntax error")
	res := w.apply(w.plan("firewall"))
	if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "rehearsing packet-filter: trying the rules: syntax error") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.gone(t, "refused")

	w = filterOn(newWorld(t))
	f := w.filter
	w.filter = nil
	if res := w.apply(w.plan("firewall")); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "no table of the packet filter can be loaded here") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.filter = f
	w.gone(t, "elsewhere")
}

// What is wrong later than the gate is noticed while health is watched.
func TestATableThatIsChangedDuringTheSoakIsTakenAway(t *testing.T) {
	w := filterOn(newWorld(t))
	w.clock.in(20*time.Second, func() { w.filter.rules = []byte("others\n") })
	p := w.plan("firewall")
	a := w.process()
	a.Soak = time.Minute
	res := a.Apply(context.Background(), p)
	w.end()
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "it is another one") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.gone(t, "changed")
}

// A change of the rules, and then the undo of each transaction, brings the ones before into force.
func TestUndoBringsTheRulesBeforeIntoForce(t *testing.T) {
	w := filterOn(newWorld(t))
	w.filter.own = ""
	first := w.filters(t)
	w.confirm(first)
	w.areas[0].Controls[len(w.areas[0].Controls)-1] = filtered("more rules\n")
	res := w.apply(w.plan("firewall"))
	w.confirm(res.Transaction)
	if string(w.filter.rules) != "more rules\n" {
		t.Fatalf("%s: %s: %q", res.Outcome, res.Message, w.filter.rules)
	}
	back := w.apply(w.undo(res.Transaction, ""))
	if back.Outcome != harden.OutcomeApplied || string(w.filter.rules) != "rules\n" {
		t.Errorf("undone once: %s: %s: %q", back.Outcome, back.Message, w.filter.rules)
	}
	back = w.apply(w.undo(first, "firewall"))
	if back.Outcome != harden.OutcomeApplied {
		t.Errorf("undone: %s: %s", back.Outcome, back.Message)
	}
	w.gone(t, "undone")
}

func TestScriptTakesATableAway(t *testing.T) {
	w := filterOn(newWorld(t))
	script := w.node.text(w.apply(w.plan("firewall")).Script)
	last := -1
	for _, want := range []string{
		"systemctl stop 'kubectl-harden-firewall.service' 2>/dev/null || :\n", "nft delete table inet kubectl_harden 2>/dev/null || :\n",
		"rm -f \"$p\"", "systemctl daemon-reload\n", "if stays '/etc/kubectl-harden/firewall.nft'; then ", // not back: it may be what keeps the operator out
		"elif [ -e '/etc/kubectl-harden/firewall.nft' ]; then run systemctl restart 'kubectl-harden-firewall.service'; fi\n",
	} {
		at := strings.LastIndex(script, want)
		if at <= last {
			t.Errorf("restore.sh does not have %q after the line before", want)
		}
		last = at
	}
}

// Killed anywhere, there is either everything and it is confirmed, or nothing, once the switch has run out.
func TestKilledWhileATableIsLoaded(t *testing.T) {
	base := t.TempDir()
	build := func(dir string) (*world, harden.Plan) {
		w := filterOn(onDisk(t, filepath.Join(base, dir)))
		w.filter.own = ""
		return w, w.plan("firewall")
	}
	both := func(w *world, p harden.Plan) {
		if res := w.apply(p); res.Outcome == harden.OutcomeWaiting {
			w.confirm(res.Transaction)
		}
	}
	w, p := build("count")
	var writes []backupstest.Op
	w.watch.Before = func(op backupstest.Op) error {
		if op.Writes() && op.Name != "Lock" {
			writes = append(writes, op)
		}
		return nil
	}
	both(w, p)
	outcomes := map[string]int{}
	for i := 0; i < len(writes); i += stride {
		op, dir := writes[i], fmt.Sprint(i)
		w, p := build(dir)
		w.killing(op.N, i%2 == 0)
		survives(func() { both(w, p) })
		w.watch = &backupstest.Watch{FS: w.fsys}
		open, err := (&store{Store: backups.Open(w.fsys, backups.Options{Dir: stateDir})}).Unsettled()
		must(t, err)
		for _, u := range open {
			w.expire(u.ID)
		}
		stored, left := w.outcome(), w.changes()
		switch {
		case stored == backups.Committed && w.planned(p) && string(w.filter.rules) == "rules\n":
		case (stored == backups.RolledBack || stored == backups.Aborted || stored == "none") && len(left) == 0 && w.filter.rules == nil:
		default:
			t.Fatalf("killed at operation %d (%s %s): stored as %q, left %q, in force %q", op.N, op.Name, op.Path, stored, left, w.filter.rules)
		}
		outcomes[stored]++
		must(t, os.RemoveAll(filepath.Join(base, dir)))
	}
	if outcomes[backups.Committed] == 0 || outcomes[backups.RolledBack] == 0 {
		t.Errorf("of %d operations: %v", len(writes), outcomes)
	}
}
