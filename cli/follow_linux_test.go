package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/host"
)

// apartNode is a sandbox node on which appliers of their own would run; here they run in goroutines.
type apartNode struct {
	*engine
	t       *testing.T
	applier func(d desk, digest string) // what is started
	events  []harden.Event
}

func newApartNode(t *testing.T) *apartNode {
	t.Helper()
	e, _, clock := demoEngine(t, &app{areas: catalog.Areas()})
	n := &apartNode{engine: e, t: t}
	other := *e.m
	n.applier = func(d desk, digest string) {
		served := newEngine(&other, e.areas, e.meta)
		served.clock = clock
		if _, err := served.serve(context.Background(), d, digest, func(harden.Event) {}); err != nil {
			t.Error(err)
		}
	}
	e.m.desks = filepath.Join(t.TempDir(), "desks")
	e.m.start = func(_ context.Context, _ string, args []string) error {
		if args[0] != "applier" {
			t.Errorf("started with %q", args)
		}
		go n.applier(desk(args[1]), args[2])
		return nil
	}
	return n
}

func (n *apartNode) plan() harden.Plan {
	n.t.Helper()
	return lockOutAgain(n.t, n.engine)
}

func (n *apartNode) apply(ctx context.Context) harden.Result {
	return n.Apply(ctx, n.plan(), func(ev harden.Event) { n.events = append(n.events, ev) })
}

// idle waits until nobody is at a desk any more, and says that none is left.
func (n *apartNode) idle() {
	n.t.Helper()
	for {
		if _, err := os.Stat(n.m.desks); errors.Is(err, os.ErrNotExist) {
			return
		}
		if n.t.Context().Err() != nil {
			n.t.Fatal("a desk is left")
		}
	}
}

func TestAnApplierOfItsOwnIsFollowed(t *testing.T) {
	n := newApartNode(t)
	res := n.apply(t.Context())
	if res.Outcome != harden.OutcomeApplied || res.Transaction == "" || !strings.Contains(manifestOf(t, n.engine), "--profiling=false") {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	journal, err := n.Events(t.Context(), res.Transaction)
	if err != nil || len(journal) != len(n.events) || n.events[len(n.events)-1].Kind != harden.EventFinished {
		t.Errorf("%d of %d events were followed, %v", len(n.events), len(journal), err)
	}
	n.idle()
}

func TestErrandsAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(n *apartNode)
		says    string
	}{
		"systemd does not start it": {func(n *apartNode) {
			n.m.start = func(context.Context, string, []string) error { return errors.New(`running "x.service": Access denied`) }
		}, "starting the applier: running \"x.service\": Access denied; nothing was changed"},
		"the plan is not the one that was shown": {func(n *apartNode) {
			serve := n.applier
			n.applier = func(d desk, digest string) {
				data, err := os.ReadFile(d.at(deskErrand))
				if err != nil {
					n.t.Error(err)
				}
				changed := strings.Replace(string(data), `"scope":"node"`, `"scope":"cluster"`, 1)
				if err := os.WriteFile(d.at(deskErrand), []byte(changed), 0o600); err != nil || changed == string(data) {
					n.t.Error("the errand is not changed", err)
				}
				serve(d, digest)
			}
		}, "it is not what was handed over"},
		"the directory is not ours alone": {func(n *apartNode) {
			if err := os.Mkdir(n.m.desks, 0o755); err != nil {
				n.t.Fatal(err)
			}
		}, "not a directory of ours alone"},
		"it dies before it begins": {func(n *apartNode) {
			n.applier = func(d desk, _ string) { dies(n.t, d) }
		}, "the applier has ended before it began anything"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newApartNode(t)
			tt.arrange(n)
			res := n.apply(t.Context())
			if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), tt.says) {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			if list, err := n.History(t.Context()); err != nil || len(list) > 0 {
				t.Errorf("%d transactions, %v", len(list), err)
			}
		})
	}
}

// dies is an applier that says who it is and is killed.
func dies(t *testing.T, d desk) {
	c := exec.Command("/bin/sleep", "3600")
	if err := c.Start(); err != nil {
		t.Error(err)
		return
	}
	start, err := host.ProcessTicks("/proc", c.Process.Pid)
	if err == nil {
		_, err = d.put(deskRunner, runner{c.Process.Pid, start})
	}
	if err != nil {
		t.Error(err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
}

func TestAnApplierThatDiesIsTold(t *testing.T) {
	n := newApartNode(t)
	n.applier = func(d desk, _ string) {
		if err := writeNew(d.at(deskTransaction), []byte("20261123T090000.000Z-0a1b\n"), 0o600); err != nil {
			t.Error(err)
		}
		dies(t, d)
	}
	res := n.apply(t.Context())
	if res.Outcome != harden.OutcomeUnsettled || res.Transaction != "20261123T090000.000Z-0a1b" || !strings.Contains(res.Message.String(), "without a word") {
		t.Errorf("%s: %s (%s)", res.Outcome, res.Message, res.Transaction)
	}
	n.idle()
}

// TestApplierThatComesLateIsFollowed: an applier that took its errand while the one who asked gave it up applied the plan, and
// they were told that it never came.
func TestApplierThatComesLateIsFollowed(t *testing.T) {
	n := newApartNode(t)
	self, err := thisRunner()
	if err != nil {
		t.Fatal(err)
	}
	plan, late := n.plan(), time.Now().Add(-2*applierWait)
	lay := func(name string) (*follower, string) {
		d, err := makeDesk(n.m.desks, name)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := d.put(deskErrand, errand{Plan: &plan, From: self})
		if err != nil {
			t.Fatal(err)
		}
		return &follower{engine: n.engine, desk: d, name: name}, digest
	}
	f, digest := lay("taken")
	if _, err := takeErrand(f.desk, digest); err != nil {
		t.Fatal(err)
	}
	if res, gone := f.gone(late); gone {
		t.Errorf("taken at the last moment: %s: %s", res.Outcome, res.Message)
	}
	f.desk.clear()
	if res, gone := f.gone(late); !gone || res.Outcome != harden.OutcomeUnsettled {
		t.Errorf("what came of it was not read: %v, %s: %s", gone, res.Outcome, res.Message)
	}
	f, digest = lay("never taken")
	if res, gone := f.gone(late); !gone || res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "never came") {
		t.Errorf("one that never came: %v, %s: %s", gone, res.Outcome, res.Message)
	}
	if _, err := n.engine.serve(t.Context(), f.desk, digest, func(harden.Event) {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it comes after all, and says %v", err)
	}
	if list, err := n.History(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%d transactions, %v", len(list), err)
	}
	f.desk.clear()
}

// TestStartThatFailsAfterTheJobWasTaken: systemd had begun the applier when the connection to it broke, and the operator was told
// that nothing was changed.
func TestStartThatFailsAfterTheJobWasTaken(t *testing.T) {
	n := newApartNode(t)
	start := n.m.start
	n.m.start = func(ctx context.Context, name string, args []string) error {
		if err := start(ctx, name, args); err != nil {
			return err
		}
		for {
			if _, err := os.Stat(desk(args[1]).at(deskErrand)); errors.Is(err, os.ErrNotExist) {
				return errors.New("connection reset by peer")
			}
		}
	}
	if res := n.apply(t.Context()); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	n.idle()
}

func TestInterruptionIsPassedOnToTheApplier(t *testing.T) {
	n := newApartNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	serve := n.applier
	n.applier = func(d desk, digest string) {
		close(began)
		for {
			if _, err := os.Stat(d.at(deskStop)); err == nil {
				break
			}
		}
		serve(d, digest)
	}
	go func() { <-began; cancel() }()
	res := n.apply(ctx)
	if res.Outcome != harden.OutcomeRolledBack && res.Outcome != harden.OutcomeRefused && res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if res := n.apply(ctx); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "interrupted before") {
		t.Errorf("interrupted before it is handed over: %s: %s", res.Outcome, res.Message)
	}
	n.idle()
}

// TestHangupLeavesTheApplierAlone: what was begun goes on without a terminal, and another one can follow it.
func TestHangupLeavesTheApplierAlone(t *testing.T) {
	n := newApartNode(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	serve, hung := n.applier, make(chan struct{})
	var at desk
	n.applier = func(d desk, digest string) {
		at = d
		cancel(errHangup)
		<-hung
		serve(d, digest)
	}
	res := n.apply(ctx)
	if res.Outcome != harden.OutcomeUnsettled || !strings.Contains(res.Message.String(), "goes on without it") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if _, err := os.Stat(at.at(deskStop)); err == nil {
		t.Error("the applier is asked to stop")
	}
	close(hung)
	for {
		var done harden.Result
		if _, err := at.get(deskResult, &done); err == nil {
			if done.Outcome != harden.OutcomeApplied {
				t.Errorf("%s: %s", done.Outcome, done.Message)
			}
			break
		}
	}
	at.clear()
	n.idle()
}

func TestDesksThatNobodyUsesAreCleared(t *testing.T) {
	above := filepath.Join(t.TempDir(), "desks")
	used, err := makeDesk(above, "used")
	if err != nil {
		t.Fatal(err)
	}
	left, err := makeDesk(above, "left")
	if err != nil {
		t.Fatal(err)
	}
	self, err := thisRunner()
	if err != nil {
		t.Fatal(err)
	}
	for d, r := range map[desk]runner{used: self, left: {self.PID, self.Start + 1}} {
		if _, err := d.put(deskRunner, r); err != nil {
			t.Fatal(err)
		}
	}
	fresh, err := makeDesk(above, "fresh")
	if err != nil {
		t.Fatal(err)
	}
	forgotten, err := makeDesk(above, "forgotten")
	if err != nil {
		t.Fatal(err)
	}
	ago := time.Now().Add(-2 * freshDesk)
	if err := os.Chtimes(string(forgotten), ago, ago); err != nil {
		t.Fatal(err)
	}
	if err := clearDesks(above); err != nil {
		t.Fatal(err)
	}
	for _, d := range []desk{used, fresh} {
		if _, err := os.Stat(string(d)); err != nil {
			t.Error(err)
		}
	}
	for _, d := range []desk{left, forgotten} {
		if _, err := os.Stat(string(d)); err == nil {
			t.Errorf("%s, which nobody uses, is left", d)
		}
	}
}

// TestTheNextRunClearsTheDeskOfAKilledOne: it stayed until "status --clean", or the next boot.
func TestTheNextRunClearsTheDeskOfAKilledOne(t *testing.T) {
	n := newApartNode(t)
	left, err := makeDesk(n.m.desks, "left")
	if err != nil {
		t.Fatal(err)
	}
	self, err := thisRunner()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.put(deskRunner, runner{self.PID, self.Start + 1}); err != nil {
		t.Fatal(err)
	}
	if res := n.apply(t.Context()); res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	n.idle()
}
