package apply_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func proving(w *world, id string, p harden.Proof, log bool) {
	p.Control = id
	intents := []harden.Intent{harden.SetFlag(harden.APIServer, "profiling", "false")}
	if log {
		p.Path = logDir + "/audit.log"
	}
	w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{control(id, []harden.Proof{p}, intents...)}}}
}

// AlwaysAllow answers the administrator as RBAC does; a change that left it in force was taken for proven.
func TestAlwaysAllowIsNotProvenByTheAdministratorsAnswer(t *testing.T) {
	for _, open := range []bool{false, true} {
		w := newWorld(t)
		proving(w, "modes", harden.Proof{Kind: harden.ProofRefused, Path: "list secrets"}, false)
		w.cluster.open = open
		r := w.apply(w.plan("modes"))
		if want := map[bool]harden.Outcome{false: harden.OutcomeApplied, true: harden.OutcomeRefused}[open]; r.Outcome != want {
			t.Errorf("everybody may do everything: %v: %s: %s, want %s", open, r.Outcome, r.Message, want)
		}
		if open != strings.Contains(r.Message.String(), "somebody without any role may list secrets") {
			t.Errorf("%s", r.Message)
		}
		if !slices.Contains(w.cluster.reviewed, "kubectl-harden:stranger list secrets") {
			t.Errorf("asked %v", w.cluster.reviewed)
		}
	}
}

// A modes' change that takes from somebody what they cannot work without is found out at the canary.
func TestWhoCannotWorkRefusesThePlan(t *testing.T) {
	const scheduler, access = "system:kube-scheduler", "create pods/binding"
	for _, granted := range []string{scheduler + " system:authenticated " + access, scheduler + " " + access, "system:kube-scheduler system:authenticated create pods"} {
		w := newWorld(t)
		proving(w, "modes", harden.Proof{Kind: harden.ProofGranted, Path: scheduler, Request: access, Want: []string{"system:authenticated"}}, false)
		w.cluster.granted = []string{granted}
		r := w.apply(w.plan("modes"))
		right := granted == scheduler+" system:authenticated "+access
		if right && r.Outcome != harden.OutcomeApplied || !right && (r.Outcome != harden.OutcomeRefused || !strings.Contains(r.Message.String(), scheduler+" may not "+access)) {
			t.Errorf("%s: %s: %s", granted, r.Outcome, r.Message)
		}
		if right && len(w.cluster.reviewed) != 2 {
			t.Errorf("the canary and the live one are asked once each, not %v", w.cluster.reviewed)
		}
	}
}

// What a policy records nothing of is said, and not waited for.
func TestNothingToAskOfAPolicyIsSaid(t *testing.T) {
	w := newWorld(t)
	proving(w, "audit", harden.Proof{Kind: harden.ProofAuditLog}, true)
	if r := w.apply(w.plan("audit")); r.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", r.Outcome, r.Message)
	}
	if !slices.ContainsFunc(w.events, func(e harden.Event) bool {
		return e.Kind == harden.EventUnproven && strings.Contains(e.Message.String(), "records no request that may be made")
	}) {
		t.Error("it is not said")
	}
}

// A probe without a host was asked on the loopback address, where a server that binds to the node's own does not listen.
func TestProbeWithoutAHostAsksTheNodesAddress(t *testing.T) {
	w := newWorld(t)
	text := string(w.before[apiserverManifest].Data)
	w.write(apiserverManifest, hardentest.Replace("        host: 192.0.2.11\n", "")(t, text))
	w = worldOn(t, w.fsys)
	asked := map[string]bool{}
	w.node.answer = func(_ *node, p harden.Probe, _ string) *apply.ProbeResult {
		asked[p.Host] = true
		if p.Host != "192.0.2.11" {
			return &apply.ProbeResult{Status: 503}
		}
		return nil
	}
	if r := w.apply(w.plan("profiling")); r.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", r.Outcome, r.Message)
	}
	if asked[""] || !asked["192.0.2.11"] {
		t.Errorf("asked at %v", asked)
	}
	if !maps.Equal(w.cluster.hosts, map[string]bool{"192.0.2.11": true}) {
		t.Errorf("the administrator asked at %v", w.cluster.hosts)
	}
}

// What a component besides the API server does not serve any more is asked of itself. That it refuses the administrator says nothing
// about the change; what it still serves does.
func TestAnotherComponentIsAskedItself(t *testing.T) {
	tests := map[string]struct {
		status   int
		err      error
		outcome  harden.Outcome
		says     string
		unproven string
	}{
		"gone":          {status: 404, outcome: harden.OutcomeApplied},
		"still served":  {status: 200, outcome: harden.OutcomeRolledBack, says: "GET /debug/pprof/: wanted 404, got 200"},
		"refused":       {status: 403, outcome: harden.OutcomeApplied, unproven: "it refuses the administrator with 403"},
		"not reachable": {err: errors.New("connection refused"), outcome: harden.OutcomeApplied, unproven: "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{
				control("quiet", []harden.Proof{harden.NoProfiles("quiet", harden.Scheduler)}, harden.SetFlag(harden.Scheduler, "profiling", "false")),
			}}}
			w.cluster.at = func(host string, port int) (int, error) {
				if host != "127.0.0.1" || port != 10259 {
					t.Errorf("asked at %s:%d", host, port)
				}
				return tt.status, tt.err
			}
			res := w.apply(w.plan("quiet"))
			if res.Outcome != tt.outcome || !strings.Contains(res.Message.String(), tt.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			said := ""
			for _, e := range w.events {
				if e.Kind == harden.EventUnproven {
					said += e.Message.String()
				}
			}
			if !strings.Contains(said, tt.unproven) || tt.unproven == "" && strings.Contains(said, "quiet") {
				t.Errorf("unproven: %q", said)
			}
		})
	}
}
