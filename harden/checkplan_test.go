package harden_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// throughFile is a plan after a way through a plan file.
func throughFile(t *testing.T, p harden.Plan) harden.Plan {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out harden.Plan
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCheckPlanTakes takes every plan of the whole catalogue as it was made, and after a way through a file.
func TestCheckPlanTakes(t *testing.T) {
	areas := catalog.Areas()
	for _, minor := range hardentest.Minors {
		n := hardentest.Fixture(t, minor)
		f := n.Facts(t)
		plan := func(choices ...harden.Choice) harden.Plan {
			plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State, Now: time.Unix(0, 0)})
			if err != nil {
				t.Fatal(err)
			}
			return plans.Node
		}
		count := 0
		check := func(what string, p harden.Plan) {
			t.Helper()
			for _, p := range []harden.Plan{p, throughFile(t, p)} {
				if err := harden.CheckPlan(p, f); err != nil {
					t.Errorf("%s: %s: %v", minor, what, err)
				}
				if unmet, err := harden.Recheck(p, f, areas); err != nil || len(unmet) > 0 {
					t.Errorf("%s: %s: unmet %v, %v", minor, what, unmet, err)
				}
			}
			if !p.Empty() {
				count++
			}
		}
		var all []harden.Choice
		for _, a := range areas {
			for _, c := range a.Controls {
				for _, r := range c.Remedies {
					check(c.ID+" "+r.ID, plan(harden.Choice{Control: c.ID, Remedy: r.ID, Accept: true}))
				}
				all = append(all, harden.Choice{Control: c.ID, Accept: true})
			}
		}
		p := plan(all...)
		check("all", p)
		n.Apply(p)
		undo, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: n.Facts(t), Read: n.State})
		if err != nil {
			t.Fatal(err)
		}
		in := harden.UndoInput{Done: harden.Done{ID: "tx", Plan: throughFile(t, p)}, Facts: n.Facts(t), Read: n.State}
		if err := errors.Join(harden.CheckPlan(undo, in.Facts), harden.CheckUndo(throughFile(t, undo), in)); err != nil {
			t.Errorf("%s: the undo of all: %v", minor, err)
		}
		if count < 10 {
			t.Errorf("%s: only %d plans had anything to do", minor, count)
		}
	}
}

// TestCheckPlanRefuses edits one thing of a good plan at a time.
func TestCheckPlanRefuses(t *testing.T) {
	step := func(p *harden.Plan, id string) *harden.Step {
		for i := range p.Stages[0].Steps {
			if p.Stages[0].Steps[i].ID == id {
				return &p.Stages[0].Steps[i]
			}
		}
		t.Fatalf("no step %s", id)
		return nil
	}
	stage := func(p *harden.Plan) *harden.Stage { return &p.Stages[0] }
	const policy = "/etc/kubernetes/policies/audit-policy.yaml"
	for _, row := range []struct {
		name string
		edit func(*harden.Plan)
		says string
	}{
		{"kind", func(p *harden.Plan) { p.Kind = "PlanFile" }, "not of apiVersion harden/v1 and kind Plan"},
		{"scope", func(p *harden.Plan) { p.Scope = "world" }, `unknown scope "world"`},
		{"scope of the steps", func(p *harden.Plan) { p.Scope = harden.ScopeCluster }, "a file is not the cluster's"},
		{"path and id", func(p *harden.Plan) { s := step(p, policy); s.Path, s.ID = "/etc/shadow", "/etc/shadow" }, "not for this target: " + policy},
		{"path", func(p *harden.Plan) { step(p, policy).Path = "/etc/shadow" }, "it names another path: /etc/shadow"},
		{"dots in the path", func(p *harden.Plan) { s := step(p, policy); s.Path = "/etc/kubernetes/../shadow"; s.ID = s.Path }, "not absolute and clean"},
		{"relative path", func(p *harden.Plan) { s := step(p, policy); s.Path = "etc/shadow"; s.ID = s.Path }, "not absolute and clean"},
		{"zero byte", func(p *harden.Plan) { s := step(p, policy); s.Path += "\x00"; s.ID = s.Path }, "not absolute and clean"},
		{"twice", func(p *harden.Plan) { stage(p).Steps = append(stage(p).Steps, *step(p, policy)) }, "two steps have this target"},
		{"content", func(p *harden.Plan) { step(p, policy).After.Data = []byte("rules: [{}]\n") }, "gives something else than it would write"},
		{"mode", func(p *harden.Plan) { step(p, policy).After.Mode = 0o666 }, "gives something else"},
		{"owner", func(p *harden.Plan) { step(p, policy).After.UID = 1000 }, "gives something else"},
		{"odd mode", func(p *harden.Plan) { step(p, policy).After.Mode = 0o100600 }, "bits that chmod does not know"},
		{"before", func(p *harden.Plan) {
			s := step(p, kubeletConfig)
			s.Before.Data = append(s.Before.Data, "# more\n"...)
		}, "gives something else"},
		{"nothing", func(p *harden.Plan) { s := step(p, kubeletConfig); s.After = s.Before }, "it changes nothing"},
		{"a directory for a file", func(p *harden.Plan) { s := step(p, kubeletConfig); s.After = harden.State{Exists: true, Dir: true} }, "cannot become a directory"},
		{"kind of step", func(p *harden.Plan) { step(p, policy).Kind = "link" }, `unknown kind of step "link"`},
		{"an object", func(p *harden.Plan) { step(p, policy).Object = &harden.ObjectRef{} }, "a file is no object"},
		{"no asks", func(p *harden.Plan) { step(p, policy).Asks = nil }, "no control asks for it"},
		{"asked by nobody", func(p *harden.Plan) { step(p, policy).Asks[0].Control = "" }, "what is asked for is not said"},
		{"asked by others", func(p *harden.Plan) { p.Choices = p.Choices[:1] }, "is not among the plan's choices"},
		{"an ask elsewhere", func(p *harden.Plan) { step(p, policy).Asks[0].Intent.Path = "/etc/shadow" }, "not for this target"},
		{"an unknown ask", func(p *harden.Plan) { step(p, policy).Asks[0].Intent.Kind = "Run" }, `unknown kind "Run"`},
		{"no mount", func(p *harden.Plan) {
			asks := step(p, apiserverManifest).Asks
			i := slices.IndexFunc(asks, func(a harden.Ask) bool { return a.Intent.Kind == harden.IntentMount })
			asks[i].Intent.Mount = nil
		}, "what is asked for is not said"},
		{"no component", func(p *harden.Plan) { step(p, apiserverManifest).Component = "" }, `it is read by "kube-apiserver", not by ""`},
		{"unknown component", func(p *harden.Plan) { step(p, apiserverManifest).Component = "kube-proxy" }, `unknown component "kube-proxy"`},
		{"order", func(p *harden.Plan) { slices.Reverse(stage(p).Steps) }, "not in the order in which they are safe"},
		{"no gates", func(p *harden.Plan) { stage(p).Gates = nil }, "it restarts without a gate"},
		{"no time", func(p *harden.Plan) { stage(p).Gates[0].Timeout = 0 }, "it restarts without a gate"},
		{"no arguments", func(p *harden.Plan) { stage(p).Gates[0].Args = nil }, "which arguments it should have"},
		{"other probes", func(p *harden.Plan) { stage(p).Gates[0].Probes[0].Path = "/" }, "are not those that it says"},
		{"no effects", func(p *harden.Plan) { stage(p).Effects = nil }, "are not those that it says"},
		{"two restarts", func(p *harden.Plan) { stage(p).Effects = append(stage(p).Effects, stage(p).Effects[0]) }, "it would restart twice"},
		{"another kind of restart", func(p *harden.Plan) { stage(p).Effects[0].Kind = harden.EffectUnit }, "it does not restart that way"},
		{"restart of the unknown", func(p *harden.Plan) { stage(p).Effects[0].Component = "sshd" }, "sshd: unknown component"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			p := throughFile(t, build(t, n, "profiling", "policy", "kubelet"))
			if err := harden.CheckPlan(p, n.Facts(t)); err != nil {
				t.Fatal(err)
			}
			row.edit(&p)
			err := harden.CheckPlan(p, n.Facts(t))
			if plan := (*harden.PlanError)(nil); !errors.As(err, &plan) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want %s", err, row.says)
			}
		})
	}
}

func TestCheckPlanOfObjects(t *testing.T) {
	ref := harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny-all"}
	for _, row := range []struct {
		name string
		edit func(*harden.Step)
		says string
	}{
		{"as it was made", func(*harden.Step) {}, ""},
		{"id", func(s *harden.Step) { s.ID = "NetworkPolicy shop/other" }, "it names another object"},
		{"object", func(s *harden.Step) { o := *s.Object; o.Name = "other"; s.Object, s.ID = &o, o.String() }, "not for this target"},
		{"version of the object", func(s *harden.Step) { o := *s.Object; o.APIVersion = "v1"; s.Object = &o }, "not for this object"},
		{"no object", func(s *harden.Step) { s.Object = nil }, "which object it is is not said"},
		{"a path", func(s *harden.Step) { s.Path = "/etc/shadow" }, "neither path nor component"},
		{"no resource version", func(s *harden.Step) { s.ResourceVersion = "" }, "which object it replaces is not said"},
		{"no object asked for", func(s *harden.Step) { s.Asks[0].Intent.Object = nil }, "what is asked for is not said"},
	} {
		n := hardentest.Fixture(t, "1.37")
		plans, err := harden.Build(harden.BuildInput{
			Facts: n.Facts(t), Read: n.State, Choices: []harden.Choice{{Control: "deny"}},
			Areas: []harden.Area{{Controls: []harden.Control{failing("deny", harden.RiskNode, harden.PutObject(ref, []byte("x\n")))}}},
			Preview: func(harden.ObjectRef, []byte) (harden.ObjectPreview, error) {
				return harden.ObjectPreview{
					Before: harden.State{Exists: true, Data: []byte("old\n")}, After: harden.State{Exists: true, Data: []byte("x\ndefaulted\n")},
					UID: "u", ResourceVersion: "1",
				}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := throughFile(t, plans.Cluster)
		row.edit(&p.Stages[0].Steps[0])
		if err := harden.CheckPlan(p, n.Facts(t)); (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.says)
		}
	}
}

func TestCheckUndoRefuses(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	done := build(t, n, "profiling", "kubelet")
	n.Apply(done)
	in := harden.UndoInput{Done: harden.Done{ID: "tx", Plan: done}, Facts: n.Facts(t), Read: n.State}
	for name, edit := range map[string]func(*harden.Plan){
		"content":        func(p *harden.Plan) { p.Stages[0].Steps[0].After.Data = []byte("x") },
		"a step less":    func(p *harden.Plan) { p.Stages[0].Steps = p.Stages[0].Steps[1:] },
		"no gate":        func(p *harden.Plan) { p.Stages[0].Gates = nil },
		"another target": func(p *harden.Plan) { p.Stages[0].Steps[0].Path = "/etc/shadow" },
	} {
		p, err := harden.Undo(in)
		if err != nil {
			t.Fatal(err)
		}
		p = throughFile(t, p)
		if err := harden.CheckUndo(p, in); err != nil {
			t.Fatal(err)
		}
		edit(&p)
		if err := harden.CheckUndo(p, in); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A plan file without its proofs was applied and proven by nothing.
func TestRecheckRefusesWhatAnEditedPlanDrops(t *testing.T) {
	areas := catalog.Areas()
	n := hardentest.Fixture(t, "1.37")
	f := n.Facts(t)
	f.Identity.Offline = false
	choices := []harden.Choice{
		{Control: "apiserver-profiling"}, {Control: "audit-policy"}, {Control: "kubelet-pod-pids-limit", Accept: true}, {Control: "apiserver-anonymous-auth", Accept: true},
	}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	gates := func(p *harden.Plan) []harden.Gate { return p.Stages[0].Gates }
	for _, row := range []struct {
		name string
		edit func(*harden.Plan)
		says string
	}{
		{"nothing", func(*harden.Plan) {}, ""},
		{"preflight and rehearsals, which are made again", func(p *harden.Plan) { p.Preflight, p.Stages[0].Rehearsals = nil, nil }, ""},
		{"all proofs of the API server", func(p *harden.Plan) { gates(p)[0].Proofs = nil }, "does not want the proofs"},
		{"one of them", func(p *harden.Plan) { gates(p)[0].Proofs = gates(p)[0].Proofs[1:] }, "does not want the proofs"},
		{"all proofs of the kubelet", func(p *harden.Plan) { gates(p)[1].Proofs = nil }, "does not want the proofs"},
		{"what a proof wants", func(p *harden.Plan) { gates(p)[0].Proofs[0].Status = 200 }, "does not want the proofs"},
		{"another proof", func(p *harden.Plan) { gates(p)[0].Proofs[0].Path = "/" }, "does not want the proofs"},
		{"a proof that the cluster's facts asked for, which are not known when the plan is applied", func(p *harden.Plan) {
			gates(p)[0].Proofs = append(gates(p)[0].Proofs, harden.Proof{Control: p.Choices[0].Control, Kind: harden.ProofAdmin, Path: "/api/v1/nodes/w1/proxy/healthz", Status: 200})
		}, ""},
		{"a proof of no choice", func(p *harden.Plan) {
			gates(p)[0].Proofs = append(gates(p)[0].Proofs, harden.Proof{Control: "another", Kind: harden.ProofAdmin, Path: "/", Status: 200})
		}, "a proof that none of the plan's choices has"},
		{"a gate", func(p *harden.Plan) { p.Stages[0].Gates = gates(p)[1:] }, "restarts without a gate"},
		{"an effect and its gate", func(p *harden.Plan) { p.Stages[0].Effects, p.Stages[0].Gates = p.Stages[0].Effects[1:], gates(p)[1:] }, "not those that it says"},
		{"a choice", func(p *harden.Plan) { p.Choices = p.Choices[1:] }, "not among the plan's choices"},
	} {
		p := throughFile(t, plans.Node)
		row.edit(&p)
		err := harden.CheckPlan(p, f)
		if err == nil {
			_, err = harden.Recheck(p, f, areas)
		}
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.says)
		}
	}
}

// Preconditions that are not met now refuse the plan, whatever its file says of them.
func TestRecheckFindsUnmetPreconditionsThatAnEditedPlanDrops(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling")
	p.Preflight = nil
	f := n.Facts(t)
	f.Component(harden.APIServer).Rivals = []string{"/etc/kubernetes/manifests/copy.yaml"}
	unmet, err := harden.Recheck(throughFile(t, p), f, testAreas())
	if err != nil || len(unmet) != 1 || unmet[0].ID != "one-manifest" {
		t.Errorf("%+v %v", unmet, err)
	}
}

// A probe with a token was asked without it, and its 401 taken for a broken server.
func TestProbesWithHeadersAreRefusedInASentence(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, apiserverManifest, "    livenessProbe:\n      failureThreshold: 8\n      httpGet:\n",
		"    livenessProbe:\n      failureThreshold: 8\n      httpGet:\n        httpHeaders:\n        - name: Authorization\n          value: Bearer sesame\n")
	p := build(t, n, "profiling")
	blocking := p.Blocking()
	if len(blocking) != 1 || blocking[0].ID != "probes-without-headers" || !strings.Contains(blocking[0].Message.String(), "the livenessProbe in "+apiserverManifest+" sends headers") {
		t.Fatalf("%+v", blocking)
	}
	if strings.Contains(blocking[0].Message.String(), "sesame") {
		t.Error("the token is shown")
	}
}
