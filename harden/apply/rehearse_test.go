package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/patches"
)

// logged asks for an audit log whose directory the kubelet makes.
func logged() []harden.Area {
	return []harden.Area{{ID: "test", Controls: []harden.Control{control("logged", []harden.Proof{{Control: "c", Kind: harden.ProofAuditLine, Path: logDir + "/audit.log"}},
		harden.WriteFile("/etc/kubernetes/pki/policy.yaml", []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"), 0o600, harden.APIServer),
		harden.MountPath(harden.APIServer, patches.Mount{Name: "logs", HostPath: logDir, MountPath: logDir, Type: "DirectoryOrCreate"}),
		harden.SetFlag(harden.APIServer, "audit-log-path", logDir+"/audit.log"),
		harden.SetFlag(harden.APIServer, "audit-policy-file", "/etc/kubernetes/pki/policy.yaml"))}}}
}

type rehearsalRow struct {
	name     string
	controls []string // empty: audit and pids
	arrange  func(w *world, cancel func())
	plan     func(p harden.Plan) harden.Plan
	outcome  harden.Outcome // empty: refused
	says     string
	hint     string
	begun    bool // a transaction was begun, and undone
}

func accept(ids ...harden.ComponentID) func(harden.Plan) harden.Plan {
	return func(p harden.Plan) harden.Plan { return p.Accept(ids...) }
}

func TestRehearsalRefuses(t *testing.T) {
	on := func(change func(*canary)) func(*world, func()) {
		return func(w *world, _ func()) { change(&w.node.canary) }
	}
	own := func(o ...own) func(*world, func()) {
		return func(w *world, _ func()) { w.node.own = o }
	}
	refused := func(p harden.Probe) *apply.ProbeResult {
		if p.Name == "liveness" {
			return &apply.ProbeResult{Status: 401}
		}
		return nil
	}
	for _, row := range []rehearsalRow{
		{name: "an unknown flag", begun: true, says: "rehearsing kube-apiserver: Error: unknown flag: --audit-log-path", hint: "plan",
			arrange: own(own1("--audit-log-path", "Error: unknown flag: --audit-log-path\n", 1))},
		{name: "a value", begun: true, says: `rehearsing kube-apiserver: plugin "x" is unknown`,
			arrange: own(own1("--goaway-chance=1", `E1 "command failed" err="[--goaway-chance can not be less than 0 or greater than 0.02, plugin \"x\" is unknown]"`, 1))},
		{name: "a kubelet's value", begun: true, says: "rehearsing kubelet: failed to validate kubelet configuration",
			arrange: own(own1("podPidsLimit: 4096", `E1 "command failed" err="failed to validate kubelet configuration"`, 1))},
		{name: "a program that cannot be asked", begun: true, says: "rehearsing kube-apiserver: its own program cannot be asked: no runtime", hint: "--accept kube-apiserver",
			arrange: own(ownErr("--audit-log-path", errors.New("no runtime")))},
		{name: "a program that cannot be asked, accepted", outcome: harden.OutcomeApplied, plan: accept(harden.APIServer),
			arrange: own(ownErr("--goaway-chance", errors.New("no runtime")))},
		{name: "another component's acceptance", begun: true, says: "cannot be asked", plan: accept(harden.Kubelet),
			arrange: own(ownErr("--audit-log-path", errors.New("no runtime")))},
		{name: "a directory that is not there", begun: true, says: "the kubelet would not start it: volume policies: /etc/kubernetes/policies is not a directory",
			controls: []string{"audit"}, plan: func(p harden.Plan) harden.Plan { return p },
			arrange: func(w *world, _ func()) {
				state := w.node.state
				w.node.state = func(p string) (harden.State, error) {
					s, err := state(p)
					if p == "/etc/kubernetes/policies" && w.node.canary.starts == 0 && w.events != nil {
						return harden.State{}, nil
					}
					return s, err
				}
			}},
		{name: "its last words", begun: true, says: "a second instance as planned: it has exited; it said: open /x: no such file", arrange: on(func(k *canary) { k.dies = "open /x: no such file" })},
		{name: "it never starts", begun: true, says: "timed out: it has not started", arrange: on(func(k *canary) { k.never = true })},
		{name: "a refusal that stays", begun: true, says: "its liveness probe (https://127.0.0.1:16443/livez) answered 401: the kubelet would kill it",
			arrange: on(func(k *canary) { k.answer = refused })},
		{name: "an unhealthy one", begun: true, says: "timed out: its readiness probe (https://127.0.0.1:16443/readyz) answered 500", arrange: on(func(k *canary) {
			k.answer = func(p harden.Probe) *apply.ProbeResult {
				if p.Name == "readiness" {
					return &apply.ProbeResult{Status: 500}
				}
				return nil
			}
		})},
		{name: "other arguments", begun: true, says: "runs with other arguments than planned", arrange: on(func(k *canary) { k.args = []string{"kube-apiserver"} })},
		{name: "its own checks", begun: true, says: `its own checks fail: ["etcd"]`, arrange: on(func(k *canary) { k.checks = []string{"etcd"} })},
		{name: "a write", begun: true, says: "it does not take a write that the live one takes: forbidden", arrange: on(func(k *canary) { k.write = errors.New("forbidden") })},
		{name: "a write that the live one does not take either", outcome: harden.OutcomeApplied, arrange: func(w *world, _ func()) {
			w.node.canary.write, w.cluster.trial = errors.New("no dry run"), errors.New("no dry run")
		}},
		{name: "a proof", controls: []string{"profiling"}, begun: true, says: "proving profiling: timed out: GET /debug/pprof/: wanted 404, got 200", arrange: on(func(k *canary) { k.status = 200 })},
		{name: "its audit log", begun: true, says: "our own request is not in " + logDir + "/" + harden.CanaryLog, arrange: on(func(k *canary) {
			k.answer = func(p harden.Probe) *apply.ProbeResult {
				if strings.Contains(p.Path, "kubectl-harden=") {
					return &apply.ProbeResult{Status: 403}
				}
				return nil
			}
		})},
		{name: "its removal cannot be armed", begun: true, says: "its removal cannot be armed, so no second instance is started: no bus", arrange: func(w *world, _ func()) { w.node.armErr = errors.New("no bus") }},
		{name: "no port", says: "no port for a second instance", hint: "plan --accept kube-apiserver", arrange: func(w *world, _ func()) { w.node.noPort = true }},
		{name: "no port, and that is accepted", outcome: harden.OutcomeApplied, plan: func(p harden.Plan) harden.Plan { return p.Accept(harden.APIServer) },
			arrange: func(w *world, _ func()) { w.node.noPort = true }},
		{name: "one that is left", says: "is there already, left by an earlier run", hint: "status --clean", arrange: func(w *world, _ func()) {
			w.write(canaryFile, "kind: Pod\n")
			w.before = w.snapshot()
		}},
		{name: "its manifest cannot be written", begun: true, says: "writing " + canaryFile, outcome: harden.OutcomeRolledBack,
			arrange: func(w *world, _ func()) { w.failing("Rename", harden.CanaryFile, 1, 1, syscall.EIO) }},
		{name: "interrupted before it starts", begun: true, outcome: harden.OutcomeRolledBack, says: "interrupted",
			arrange: func(w *world, cancel func()) { w.on("Rename", policyFile, 1, cancel) }, controls: []string{"audit"}},
		{name: "interrupted while it runs", begun: true, outcome: harden.OutcomeRolledBack, says: "interrupted",
			arrange: func(w *world, cancel func()) { w.on("Rename", harden.CanaryFile, 1, cancel) }},
		{name: "the kubelet does not stop it", outcome: harden.OutcomeApplied, arrange: on(func(k *canary) { k.stays = true })},
		{name: "no administrator's credentials", outcome: harden.OutcomeApplied, arrange: func(w *world, _ func()) { w.cluster = nil }},
		{name: "the API is down", begun: true, says: "timed out: unreachable", arrange: func(w *world, _ func()) {
			w.cluster.down = func() error { return errors.New("unreachable") }
		}},
	} {
		t.Run(row.name, func(t *testing.T) { row.run(t) })
	}
}

func own1(has, says string, code int) own { return own{has: has, says: says, code: code} }
func ownErr(has string, err error) own    { return own{has: has, err: err} }

func (row rehearsalRow) run(t *testing.T) {
	w := newWorld(t)
	controls := row.controls
	if len(controls) == 0 {
		controls = []string{"audit", "pids"}
	}
	p := w.plan(controls...)
	if row.plan != nil {
		p = row.plan(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	row.arrange(w, cancel)
	live := *w.node.pods[harden.APIServer].running
	want := row.outcome
	if want == "" {
		want = harden.OutcomeRefused
	}
	res := w.applyUntil(ctx, p)
	if res.Outcome != want || !strings.Contains(res.Message.String(), row.says) {
		t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, want, row.says)
	}
	if row.hint != "" && !strings.Contains(strings.Join(res.Hints, "\n"), row.hint) {
		t.Errorf("hints %q, want %q", res.Hints, row.hint)
	}
	w.noCanary()
	if want == harden.OutcomeApplied {
		if !w.planned(p) {
			t.Errorf("applied, and not as planned: %q", w.changes())
		}
		return
	}
	if left := w.changes(); len(left) > 0 {
		t.Errorf("refused, and these are otherwise than before: %q", left)
	}
	if now := w.node.pods[harden.APIServer].running; now == nil || now.ID != live.ID || w.node.restarts > 0 {
		t.Errorf("refused, and something was restarted: %+v, the kubelet %d times", now, w.node.restarts)
	}
	stored := map[bool]string{true: backups.RolledBack, false: "none"}[row.begun]
	if got := w.outcome(); got != stored {
		t.Errorf("stored as %q, want %q", got, stored)
	}
	if row.begun {
		if last := w.events[len(w.events)-1]; last.Kind != harden.EventFinished || last.Outcome != want {
			t.Errorf("the last event is %+v", last)
		}
	}
}

// noCanary wants nothing left of a canary: no manifest, no process, nothing armed, nothing that was made for it.
func (w *world) noCanary() {
	w.t.Helper()
	if err := w.canaryLeft(); err != nil {
		w.t.Error(err)
	}
}

// TestRuntimeThatDoesNotAnswerIsNoEndOfACanary: one question that failed was taken for proof that the canary had gone.
func TestRuntimeThatDoesNotAnswerIsNoEndOfACanary(t *testing.T) {
	slow := errors.New("context deadline exceeded")
	for _, row := range []struct {
		name    string
		deaf    func(asked int) error // once the canary's manifest is gone
		outcome harden.Outcome
		says    string
		runs    bool // it still does then, and is not said to have gone
	}{
		{name: "at first", outcome: harden.OutcomeApplied, deaf: func(asked int) error {
			if asked == 1 {
				return slow
			}
			return nil
		}},
		{name: "now and then", outcome: harden.OutcomeApplied, deaf: func(asked int) error {
			if asked%3 == 1 {
				return slow
			}
			return nil
		}},
		{name: "ever again", outcome: harden.OutcomeMixed, deaf: func(int) error { return slow }, runs: true,
			says: "waiting for the canary's end: timed out: context deadline exceeded"},
		{name: "as there is none", outcome: harden.OutcomeApplied, deaf: func(int) error { return apply.ErrNoRuntime }, runs: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.node.canary.stays = true
			w.on("Remove", harden.CanaryFile, 1, func() {
				asked := 0
				w.node.canary.deaf = func() error { asked++; return row.deaf(asked) }
			})
			res := w.apply(w.plan("audit"))
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			if runs := w.node.canary.running != nil; runs != row.runs {
				t.Errorf("the canary runs: %v", runs)
			}
			if row.outcome != harden.OutcomeMixed {
				return
			}
			if _, log := w.node.logs[logDir+"/"+harden.CanaryLog]; !log || len(w.node.guards) != 1 || strings.Contains(w.said(harden.EventPassed), "the second instance is gone") {
				t.Errorf("its log is there: %v; armed: %v; said %q", log, w.node.guards, w.said(harden.EventPassed))
			}
			w.node.canary.deaf = nil
			if res := w.recover(res.Transaction, false); res.Outcome != harden.OutcomeRolledBack || w.canaryLeft() != nil || len(w.changes()) > 0 {
				t.Errorf("at last: %s: %s; %v; %q", res.Outcome, res.Message, w.canaryLeft(), w.changes())
			}
		})
	}
}

func (w *world) canaryLeft() error {
	if s, err := w.State(canaryFile); err == nil && s.Exists && !strings.HasPrefix(string(s.Data), "kind: Pod\n") {
		return fmt.Errorf("%s is left", canaryFile)
	}
	if i := w.node.canary.running; i != nil {
		return fmt.Errorf("the canary's process %d still runs", i.PID)
	}
	if _, left := w.node.logs[logDir+"/"+harden.CanaryLog]; left {
		return errors.New("its log is left")
	}
	if len(w.node.guards) > 0 {
		return fmt.Errorf("something is armed: %q", slices.Collect(maps.Keys(w.node.guards)))
	}
	return nil
}

// TestRehearsalIsHeard: what is asked of whom, and in which order, when everything is well.
func TestRehearsalIsHeard(t *testing.T) {
	w := newWorld(t)
	p := w.plan("audit", "anonymous", "pids", "scheduler")
	var at []string
	watched := []string{policyFile, canaryFile, apiserverManifest, kubeletConfig}
	w.watch.After = func(op backupstest.Op) {
		if op.Name == "Rename" && slices.Contains(watched, op.Path) {
			at = append(at, op.Path)
		}
	}
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	if !slices.Equal(at, []string{policyFile, canaryFile, apiserverManifest, kubeletConfig}) {
		t.Errorf("written in the order %q", at)
	}
	want := []string{
		"kube-apiserver --version", "kube-apiserver --goaway-chance=1", "kube-scheduler --version", "kube-scheduler --kubeconfig=/kubectl-harden/rehearsal",
		"kubelet --version", "kubelet --exit-on-lock-contention=true",
	}
	if !slices.Equal(w.node.askedOf, want) {
		t.Errorf("asked %q", w.node.askedOf)
	}
	for _, path := range []string{"/livez", "/readyz", "/api"} {
		if !slices.Contains(w.node.canary.asked, path) {
			t.Errorf("the canary was not asked for %s", path)
		}
	}
	if w.node.canary.starts != 1 {
		t.Errorf("it was started %d times", w.node.canary.starts)
	}
	w.noCanary()
}

// TestCanaryIsJournaledFirst: in the journal, then armed, then written.
func TestCanaryIsJournaledFirst(t *testing.T) {
	w := newWorld(t)
	p := w.plan("audit")
	armed := false
	w.watch.Before = func(op backupstest.Op) error {
		if op.Name == "Rename" && strings.HasSuffix(op.Path, harden.CanaryFile) {
			g := w.node.guards[harden.CanaryName]
			armed = slices.Contains(g.Remove, canaryFile) && slices.Contains(g.Remove, logDir+"/"+harden.CanaryLog)
		}
		return nil
	}
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	if !armed {
		t.Error("it was written before its removal was armed")
	}
}

// TestWhatTheKubeletMakesForACanary is taken away when the plan is refused.
func TestWhatTheKubeletMakesForACanary(t *testing.T) {
	w := newWorld(t)
	w.areas = logged()
	p := w.plan("logged")
	w.node.canary.checks = []string{"etcd"}
	if res := w.apply(p); res.Outcome != harden.OutcomeRefused {
		t.Fatal(res.Outcome, res.Message)
	}
	if left := w.changes(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestUndoIsNotRehearsedByACanary: it goes back to what has run, and may be what brings the API back. Its flags are checked.
func TestUndoIsNotRehearsedByACanary(t *testing.T) {
	w := newWorld(t)
	done := w.apply(w.plan("audit"))
	starts := w.node.canary.starts
	undo := w.undo(done.Transaction, "")
	w.node.askedOf = nil
	if res := w.apply(undo); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	if w.node.canary.starts != starts || len(w.node.askedOf) == 0 {
		t.Errorf("%d canaries, asked %q", w.node.canary.starts-starts, w.node.askedOf)
	}
	if left := w.changes(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestUndoGoesBackWithoutBeingAsked: a program that cannot be asked does not keep it.
func TestUndoGoesBackWithoutBeingAsked(t *testing.T) {
	w := newWorld(t)
	done := w.apply(w.plan("audit"))
	undo := w.undo(done.Transaction, "")
	w.node.own = []own{ownErr("", errors.New("no runtime"))}
	if res := w.apply(undo); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
}

// TestNoRoomForACanary is refused, and done without one where that was accepted.
func TestNoRoomForACanary(t *testing.T) {
	w := newWorld(t)
	p := w.plan("audit")
	a := w.process()
	a.Facts.Machine.MemAvailable = 100 << 20
	res := a.Apply(context.Background(), p)
	w.end()
	if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "it needs 450 MiB of memory") || w.outcome() != "none" {
		t.Fatal(res.Outcome, res.Message)
	}
	a = w.process()
	a.Facts.Machine.MemAvailable = 100 << 20
	res = a.Apply(context.Background(), p.Accept(harden.APIServer))
	w.end()
	if res.Outcome != harden.OutcomeApplied || w.node.canary.starts != 0 {
		t.Fatal(res.Outcome, res.Message, w.node.canary.starts)
	}
}

// TestNoCanaryWhereTheProgramCannotBeAsked: a second instance was waited for, for two minutes, and the accepted plan refused.
func TestNoCanaryWhereTheProgramCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	w.node.own = []own{ownErr("", errors.New("no runtime"))}
	if res := w.apply(w.plan("audit").Accept(harden.APIServer)); res.Outcome != harden.OutcomeApplied || w.node.canary.starts != 0 {
		t.Fatal(res.Outcome, res.Message, w.node.canary.starts)
	}
}

// TestKilledDuringTheRehearsal kills the process at some moments of a canary's life, lets time pass or the machine restart, and
// recovers.
func TestKilledDuringTheRehearsal(t *testing.T) {
	for _, when := range []time.Duration{0, time.Second, 3 * time.Second} {
		for _, later := range []struct {
			name string
			do   func(*world)
		}{
			{"at once", func(*world) {}},
			{"after a reboot", func(w *world) { w.bootGuards(); w.reboot() }},
			{"after its time is over", func(w *world) { must(w.t, w.clock.Sleep(context.Background(), 10*time.Minute)) }},
		} {
			for _, finish := range []bool{false, true} {
				t.Run(fmt.Sprint(when, " ", later.name, " ", finish), func(t *testing.T) {
					w := newWorld(t)
					w.areas = logged()
					p := w.plan("logged")
					id := w.killApply(p, func() {
						w.on("Rename", harden.CanaryFile, 1, func() { w.clock.in(when, func() { panic(killed{}) }) })
					})
					later.do(w)
					if later.name != "at once" {
						// Nobody has recovered yet, and it is gone: it was armed outside of the process.
						if s, err := w.State(canaryFile); err != nil || s.Exists || w.node.canary.running != nil {
							t.Errorf("the canary is left: %v %v", s.Exists, w.node.canary.running)
						}
					}
					res := w.recover(id, finish)
					want := map[bool]harden.Outcome{false: harden.OutcomeRolledBack, true: harden.OutcomeApplied}[finish]
					if res.Outcome != want {
						t.Fatal(res.Outcome, res.Message)
					}
					must(t, w.clock.Sleep(context.Background(), 10*time.Second))
					w.noCanary()
					if left := w.changes(); !finish && len(left) > 0 {
						t.Errorf("left: %q", left)
					}
					if finish && !w.planned(p) {
						t.Errorf("not as planned: %q", w.changes())
					}
				})
			}
		}
	}
}

// bootGuards does what is armed for the boot, before the kubelet starts.
func (w *world) bootGuards() {
	for name, g := range w.node.guards {
		for _, p := range g.Remove {
			_ = w.node.remove(p)
		}
		delete(w.node.guards, name)
	}
	w.node.canary = canary{}
}
