package apply_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// hands lead connections of the world's node.
type hands struct {
	t    testing.TB
	node *node
	to   harden.Redirect
	held bool // something is there that must not stay
	over bool // what is held was let go

	// What may go wrong.
	try, hold, lead, release, end, sweep error
	lost                                 func() error
}

func (h *hands) did(what string) { h.node.did(what) }

func (h *hands) Try(_ context.Context, r harden.Redirect) error {
	h.to = r
	h.did("try")
	return h.try
}

func (h *hands) Hold(_ context.Context, r harden.Redirect, _ apply.Instance) (apply.Held, error) {
	h.to, h.held, h.over = r, h.hold == nil, false
	h.did("hold")
	if h.hold != nil {
		return nil, h.hold
	}
	return h, nil
}

func (h *hands) Lead() error {
	h.node.led = h.lead == nil
	h.did("lead")
	return h.lead
}

func (h *hands) Release() error {
	h.node.led = false
	h.did("release")
	return h.release
}

func (h *hands) Lost() error {
	if h.lost == nil {
		return nil
	}
	err := h.lost()
	if err != nil {
		h.node.led, h.held = false, false
	}
	return err
}

func (h *hands) End() error {
	if h.over {
		h.t.Error("it is let go twice")
	}
	h.over = true
	h.did("let go")
	if h.end == nil {
		h.node.led, h.held = false, false
	}
	return h.end
}

func (h *hands) Sweep(context.Context) error {
	h.did("sweep")
	if h.sweep == nil {
		h.node.led, h.held = false, false
	}
	return h.sweep
}

func (h *hands) KeepLog(from, to string) error {
	if text, ok := h.node.logs[from]; ok {
		h.node.logs[to] = text
		delete(h.node.logs, from)
	}
	return nil
}

// handing is a world whose API server may hand over, and a plan that asks for it.
func handing(t testing.TB, controls ...string) (*world, harden.Plan) {
	w := newWorld(t)
	w.hands = &hands{t: t, node: w.node}
	w.cluster.service = "10.96.0.1:443"
	w.members.endpoints = func() ([]string, error) { return []string{"192.0.2.11:6443"}, nil }
	w.node.backOff, w.node.grace = true, 30*time.Second
	return w, w.asked(controls...)
}

func (w *world) asked(controls ...string) harden.Plan {
	p := w.plan(controls...)
	w.process()
	defer w.end()
	p.Handover = w.applier.HandoverOf(context.Background(), p)
	w.node.deeds = nil
	return p
}

// silences counts the moments in which new connections to the API server's own address got no answer.
func (w *world) silences() *[]time.Time {
	out := &[]time.Time{}
	tick := w.clock.tick
	w.clock.tick = func() {
		tick()
		r := w.node.Probe(context.Background(), harden.Probe{Name: "client", Scheme: "HTTPS", Host: "192.0.2.11", Port: 6443, Path: "/readyz"})
		if r.Err != nil || r.Status != 200 {
			*out = append(*out, w.clock.now)
		}
	}
	return out
}

func TestHandover(t *testing.T) {
	w, p := handing(t, "anonymous", "scheduler")
	if p.Handover == nil || !p.Handover.Obstacle.IsZero() {
		t.Fatalf("%+v", p.Handover)
	}
	silent := w.silences()
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied || !w.planned(p) {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if got, want := strings.Join(w.node.deeds, " "), "try hold lead freeze end release let go sweep"; got != want {
		t.Errorf("it did %q, want %q", got, want)
	}
	if len(*silent) > 0 {
		t.Errorf("new connections got no answer at %d moments, first at %s", len(*silent), (*silent)[0].Sub(begin))
	}
	if !reflect.DeepEqual(w.hands.to, harden.Redirect{Address: "192.0.2.11", Secure: 6443, To: canaryPort, Service: "10.96.0.1:443"}) {
		t.Errorf("led: %+v", w.hands.to)
	}
	if w.node.led || w.hands.held || w.node.canary.running != nil || len(w.node.guards) > 0 || w.cluster.restored > 0 {
		t.Errorf("left: led %v, held %v, canary %v, guards %v; restored %d", w.node.led, w.hands.held, w.node.canary.running, w.node.guards, w.cluster.restored)
	}
	if !strings.Contains(w.node.canary.last, "--bind-address=192.0.2.11") || !strings.Contains(w.node.canary.last, "terminationGracePeriodSeconds: 20") {
		t.Errorf("the canary that others were served by: %s", w.node.canary.last)
	}
}

// TestPlainWithoutHandover: who did not ask gets what there was before.
func TestPlainWithoutHandover(t *testing.T) {
	w, p := handing(t, "anonymous")
	p.Handover = nil
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied || slices.ContainsFunc(w.node.deeds, func(d string) bool { return d != "end" }) {
		t.Errorf("%s: %s: it did %q", res.Outcome, res.Message, w.node.deeds)
	}
	if !strings.Contains(w.node.canary.last, "--bind-address=127.0.0.1") {
		t.Errorf("its canary: %s", w.node.canary.last)
	}
	if w.asked("scheduler").Handover != nil {
		t.Error("a plan that leaves the API server alone says how it hands over")
	}
}

func TestHandoverObstacles(t *testing.T) {
	for _, row := range []struct {
		name, says string
		arrange    func(w *world)
		facts      func(f *harden.Facts)
	}{
		{name: "no hands", says: "this is no live node", arrange: func(w *world) { w.hands = nil }},
		{name: "no API", says: "no API to ask", arrange: func(w *world) { w.cluster, w.members = nil, nil }},
		{name: "three control planes", says: "it is one of 3", arrange: func(w *world) { w.members.nodes = []string{"cp1", "cp2", "cp3"} }},
		{name: "another control plane", says: "it is one of 1", arrange: func(w *world) { w.members.nodes = []string{"cp2"} }},
		{name: "members are not known", says: "whether it is the only one is not known: no route", arrange: func(w *world) { w.members.down = errors.New("no route") }},
		{name: "endpoints elsewhere", says: `leads to ["192.0.2.1:6443"], and not to 192.0.2.11:6443 alone`, arrange: func(w *world) {
			w.members.endpoints = func() ([]string, error) { return []string{"192.0.2.1:6443"}, nil }
		}},
		{name: "endpoints are not known", says: "leads to is not known: no route", arrange: func(w *world) {
			w.members.endpoints = func() ([]string, error) { return nil, errors.New("no route") }
		}},
		{name: "no Service", says: "by which address pods reach it is not known", arrange: func(w *world) { w.cluster.service = "" }},
		{name: "no port", says: "every port is taken", arrange: func(w *world) { w.node.noPort = true }},
		{name: "a trial that fails", says: "by the ClusterIP it does not arrive", arrange: func(w *world) { w.hands.try = errors.New("by the ClusterIP it does not arrive") }},
		{name: "no memory for a second one", says: "no second one can run beside it: it needs", facts: func(f *harden.Facts) { f.Machine.MemAvailable = 1 }},
		{name: "no systemd", says: "without systemd nothing would take it away", facts: func(f *harden.Facts) { f.Machine.Systemd = false }},
		{name: "an unknown filter", says: "what filters packets for this node is not known", facts: func(f *harden.Facts) { f.Firewall = nil }},
		{name: "a filter that cannot be read", says: "is not known: denied", facts: func(f *harden.Facts) { f.Firewall.Unread = harden.Msg("denied") }},
		{name: "eBPF", says: "Cilium sees connections before", facts: func(f *harden.Facts) { f.Firewall.EBPF = []string{"Cilium"} }},
		{name: "ufw", says: "ufw filters packets", facts: func(f *harden.Facts) { f.Firewall.Managers = []string{"ufw"} }},
		{name: "the older iptables", says: "the older iptables", facts: func(f *harden.Facts) { f.Firewall.Legacy = []string{"filter"} }},
		{name: "a policy that drops", says: "chain in of table inet fw", facts: func(f *harden.Facts) {
			f.Firewall.Hooks = []harden.HookFact{{Family: "inet", Table: "fw", Chain: "in", Drops: true}}
		}},
		{name: "clients at the loopback address", says: "by its loopback address", facts: func(f *harden.Facts) {
			f.Kubeconfigs = append(f.Kubeconfigs, harden.KubeconfigFact{Servers: []string{"127.0.0.1"}})
		}},
		{name: "no address of its own", says: "it has no --advertise-address", arrange: func(w *world) { w.rewrite("--advertise-address=192.0.2.11", "--allow-privileged=true") }},
		{name: "one address", says: "it listens at 192.0.2.11 only", arrange: func(w *world) {
			w.rewrite("--advertise-address=192.0.2.11", "--advertise-address=192.0.2.11\n    - --bind-address=192.0.2.11")
		}},
		{name: "audit events in batches", says: "would lose those that it has not sent", arrange: func(w *world) {
			w.rewrite("--advertise-address=192.0.2.11", "--advertise-address=192.0.2.11\n    - --audit-log-mode=batch")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := handing(t, "anonymous")
			if row.arrange != nil {
				row.arrange(w)
			}
			p := w.plan("anonymous")
			a := w.process()
			defer w.end()
			if row.facts != nil {
				row.facts(a.Facts)
			}
			h := a.HandoverOf(t.Context(), p)
			if h == nil || !strings.Contains(h.Obstacle.String(), row.says) {
				t.Fatalf("%+v", h)
			}
			if said := h.Review().String(); !strings.Contains(said, "restarts the plain way: ") {
				t.Errorf("the review says %q", said)
			}
		})
	}
	w, p := handing(t, "anonymous")
	p = w.undo(w.apply(p).Transaction, "")
	w.process()
	defer w.end()
	if h := w.applier.HandoverOf(t.Context(), p); h == nil || !strings.Contains(h.Obstacle.String(), "an undo") {
		t.Errorf("an undo: %+v", h)
	}
}

// rewrite changes the API server's manifest, and lets it run so.
func (w *world) rewrite(old, now string) {
	w.write(apiserverManifest, strings.Replace(w.node.text(apiserverManifest), old, now, 1))
	w.reboot()
}

// TestHandoverFallsBack: whatever is found out late or fails leaves the plain way, or the undo.
func TestHandoverFallsBack(t *testing.T) {
	for _, row := range []struct {
		name    string
		arrange func(w *world)
		outcome harden.Outcome
		event   string
		deeds   string
		silent  bool
	}{
		{name: "something is in the way by now", arrange: func(w *world) { w.hands.try = errors.New("ufw was started") },
			outcome: harden.OutcomeApplied, event: "it restarts the plain way: ufw was started", deeds: "try end", silent: true},
		{name: "nothing can hold", arrange: func(w *world) { w.hands.hold = errors.New("no unit") },
			outcome: harden.OutcomeApplied, event: "it restarts the plain way: no unit", deeds: "try hold sweep end", silent: true},
		{name: "nothing leads", arrange: func(w *world) { w.hands.lead = errors.New("no rule") },
			outcome: harden.OutcomeApplied, event: "it restarts the plain way: no rule", deeds: "try hold lead let go sweep end", silent: true},
		{name: "it cannot be stopped", arrange: func(w *world) { w.node.freezeErr = errors.New("not permitted") },
			outcome: harden.OutcomeRolledBack, event: "stopping the old instance: not permitted", deeds: "try hold lead freeze thaw let go sweep"},
		{name: "the manifest cannot be written", arrange: func(w *world) { w.failing("Rename", apiserverManifest, 1, 1, errors.New("i/o")) },
			outcome: harden.OutcomeRolledBack, event: "i/o", deeds: "try hold lead freeze thaw let go sweep"},
		{name: "the new one dies", arrange: func(w *world) { w.node.dies = has("--goaway-chance") },
			outcome: harden.OutcomeRolledBack, event: "2 new instances have exited", deeds: "try hold lead freeze end let go sweep", silent: true},
		{name: "the new one is refused", arrange: func(w *world) { w.node.answer = answers("liveness", "--goaway-chance", answerOf(401)) },
			outcome: harden.OutcomeRolledBack, event: "answered 401", deeds: "try hold lead freeze end let go sweep end", silent: true},
		{name: "what leads is lost", arrange: func(w *world) {
			w.hands.lost = func() error {
				if slices.Contains(w.node.deeds, "end") {
					return errors.New("killed")
				}
				return nil
			}
			w.hands.release = errors.New("killed")
		}, outcome: harden.OutcomeApplied, event: "connections wait for the new instance", deeds: "try hold lead freeze end release sweep release sweep let go sweep", silent: true},
		{name: "the canary dies", arrange: func(w *world) {
			w.on("Rename", apiserverManifest, 1, func() { w.node.canary.dies = "out of memory" })
		}, outcome: harden.OutcomeApplied, event: "the second one has exited; it said: out of memory", deeds: "try hold lead freeze end release release let go sweep", silent: true},
		{name: "the endpoints are gone for a moment", arrange: func(w *world) {
			w.members.endpoints = func() ([]string, error) {
				if slices.Contains(w.node.deeds, "end") && w.cluster.restored == 0 {
					return nil, nil
				}
				return []string{"192.0.2.11:6443"}, nil
			}
		}, outcome: harden.OutcomeApplied, event: "the Service default/kubernetes leads to where it did", deeds: "try hold lead freeze end release let go sweep"},
		{name: "the endpoints stay gone", arrange: func(w *world) {
			w.members.endpoints = func() ([]string, error) {
				if p := w.node.pods[harden.APIServer]; slices.Contains(w.node.deeds, "end") && p.running == nil {
					return nil, nil
				}
				return []string{"192.0.2.11:6443"}, nil
			}
		}, outcome: harden.OutcomeApplied, event: "pods may be without it until the new instance serves", deeds: "try hold lead freeze end release let go sweep"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, p := handing(t, "anonymous")
			row.arrange(w)
			silent := w.silences()
			res := w.apply(p)
			if res.Outcome != row.outcome || res.Outcome == harden.OutcomeRolledBack && len(w.changes()) > 0 {
				t.Fatalf("%s: %s: %q", res.Outcome, res.Message, w.changes())
			}
			if !slices.ContainsFunc(w.events, func(e harden.Event) bool { return strings.Contains(e.Message.String(), row.event) }) {
				t.Errorf("no event says %q", row.event)
			}
			if got := strings.Join(w.node.deeds, " "); got != row.deeds {
				t.Errorf("it did %q, want %q", got, row.deeds)
			}
			if !row.silent && len(*silent) > 0 {
				t.Errorf("new connections got no answer at %d moments, first at %s", len(*silent), (*silent)[0].Sub(begin))
			}
			if w.node.led || w.hands.held || w.node.canary.running != nil || len(w.node.guards) > 0 || w.node.pods[harden.APIServer].frozen {
				t.Errorf("left: led %v, held %v, canary %v, guards %v", w.node.led, w.hands.held, w.node.canary.running, w.node.guards)
			}
		})
	}
}

// TestTableThatCannotBeTakenAway: a second attempt panicked, and a run that never saw the table go said that every gate had passed.
func TestTableThatCannotBeTakenAway(t *testing.T) {
	stuck := errors.New("table inet kubectl-harden is still there")
	const unknown = "not proven is that nothing leads connections elsewhere any more: taking away what leads connections: " +
		"table inet kubectl-harden is still there"
	for _, row := range []struct {
		name          string
		arrange       func(w *world)
		outcome       harden.Outcome
		message, hint string
		deeds         string
		then          harden.Outcome // once it can be
	}{
		{name: "when all is done", outcome: harden.OutcomeApplied, message: unknown, hint: "kubectl-harden status --clean",
			deeds: "try hold lead freeze end release let go sweep sweep"},
		{name: "when all is done, at first", outcome: harden.OutcomeApplied, message: "applied, every gate has passed",
			arrange: func(w *world) { w.on("Rename", schedulerManifest, 1, func() { w.hands.sweep = nil }) },
			deeds:   "try hold lead freeze end release let go sweep sweep"},
		{name: "and another component's gate fails", outcome: harden.OutcomeMixed, message: "the undo failed too: taking away what leads connections",
			arrange: func(w *world) {
				w.node.dies = func(c harden.ComponentID, text string) bool {
					return c == harden.Scheduler && strings.Contains(text, "--profiling=false")
				}
			},
			hint: "kubectl-harden recover", deeds: "try hold lead freeze end release let go sweep sweep end sweep", then: harden.OutcomeRolledBack},
		{name: "when nothing was restarted yet", outcome: harden.OutcomeMixed, message: "the undo failed too: taking away what leads connections",
			arrange: func(w *world) { w.hands.lead = errors.New("no rule") },
			hint:    "kubectl-harden recover", deeds: "try hold lead let go sweep sweep sweep", then: harden.OutcomeRolledBack},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, p := handing(t, "anonymous", "scheduler")
			w.hands.end, w.hands.sweep = stuck, stuck
			if row.arrange != nil {
				row.arrange(w)
			}
			res := w.apply(p)
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.message) || row.hint != "" && !slices.Contains(res.Hints, row.hint) {
				t.Fatalf("%s: %s; hints %q", res.Outcome, res.Message, res.Hints)
			}
			if got := strings.Join(w.node.deeds, " "); got != row.deeds {
				t.Errorf("it did %q, want %q", got, row.deeds)
			}
			if row.then == "" {
				return
			}
			w.hands.sweep = nil
			if res := w.recover(res.Transaction, false); res.Outcome != row.then || w.hands.held || len(w.changes()) > 0 {
				t.Errorf("at last: %s: %s; held %v, left %q", res.Outcome, res.Message, w.hands.held, w.changes())
			}
		})
	}
}

// TestDeathInAHandover kills the process after each deed of a handover; what holds connections has gone with it then.
func TestDeathInAHandover(t *testing.T) {
	for _, finish := range []bool{false, true} {
		for _, deed := range []string{"try", "hold", "lead", "freeze", "end", "release", "let go", "sweep"} {
			t.Run(fmt.Sprintf("%s, finish %v", deed, finish), func(t *testing.T) {
				w, p := handing(t, "anonymous")
				id := w.killApply(p, func() { w.node.kill = deed })
				w.node.led = false // the kernel has taken the table away
				w.node.pods[harden.APIServer].frozen = false
				w.node.deeds = nil
				res := w.recover(id, finish)
				want := harden.OutcomeRolledBack
				if finish {
					want = harden.OutcomeApplied
				}
				if res.Outcome != want || !finish && len(w.changes()) > 0 {
					t.Fatalf("%s: %s: %q", res.Outcome, res.Message, w.changes())
				}
				if swept := slices.Contains(w.node.deeds, "sweep"); swept != (deed != "try") {
					t.Errorf("it did %q", w.node.deeds)
				}
				if w.hands.held || w.node.canary.running != nil || len(w.node.guards) > 0 {
					t.Errorf("left: held %v, canary %v, guards %v", w.hands.held, w.node.canary.running, w.node.guards)
				}
			})
		}
	}
}

// TestAuditOfAHandoverIsKept: requests of others are in the canary's log.
func TestAuditOfAHandoverIsKept(t *testing.T) {
	w, p := handing(t, "audit")
	w.on("Rename", apiserverManifest, 1, func() { w.node.logs[logDir+"/"+harden.CanaryLog] += "somebody else\n" })
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if got := w.node.logs[logDir+"/kubectl-harden-"+res.Transaction+".log"]; !strings.Contains(got, "somebody else") {
		t.Errorf("logs: %q", w.node.logs)
	}
	if _, ok := w.node.logs[logDir+"/"+harden.CanaryLog]; ok {
		t.Error("it is still under its first name")
	}
}

// TestScriptTakesTheTableAway: promise 17.
func TestScriptTakesTheTableAway(t *testing.T) {
	w, p := handing(t, "anonymous")
	script := func(res harden.Result) string { return w.node.text(res.Script) }
	if got := script(w.apply(p)); !strings.Contains(got, "nft delete table inet 'kubectl-harden' 2>/dev/null || :") || !strings.Contains(got, "systemctl kill --signal=KILL 'kubectl-harden-handover.service'") {
		t.Errorf("%s", got)
	}
	w, p = handing(t, "anonymous")
	p.Handover = nil
	if got := script(w.apply(p)); strings.Contains(got, "nft") {
		t.Errorf("without a handover: %s", got)
	}
}
