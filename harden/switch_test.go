package harden_test

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

var lockingOut = harden.Choice{Control: "apiserver-anonymous-auth", Remedy: "flag-false", Accept: true}

func TestPlansThatCanLockOutHaveASwitch(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	build := func(f *harden.Facts, choices ...harden.Choice) harden.Plan {
		plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: catalog.Areas(), Choices: choices, Read: n.State})
		if err != nil {
			t.Fatal(err)
		}
		if plans.Cluster.Switch != nil || plans.Etcd.Switch != nil {
			t.Error("a plan that is empty has a switch")
		}
		return plans.Node
	}
	profiling := harden.Choice{Control: "apiserver-profiling"}
	running := func() *harden.Facts {
		f := n.Facts(t)
		f.Identity.Offline = false
		return f
	}
	f := running()
	if p := build(f, profiling); p.Switch != nil {
		t.Errorf("profiling locks nobody out: %+v", p.Switch)
	}
	p := build(f, profiling, lockingOut)
	if s := p.Switch; s == nil || len(s.Controls) != 1 || s.Controls[0] != lockingOut.Control || s.Within != harden.DefaultConfirmWithin {
		t.Fatalf("the switch of %s is %+v", lockingOut.Remedy, p.Switch)
	}
	offline := *f
	offline.Identity.Offline = true
	if p := build(&offline, lockingOut); p.Switch != nil {
		t.Errorf("a root that is not running locks nobody out: %+v", p.Switch)
	}
	n.Apply(p)
	if p := build(running(), lockingOut); p.Switch != nil {
		t.Errorf("what is done already has a switch: %+v", p.Switch)
	}
}

func TestRecheckWantsTheSwitchThatIsNeeded(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	f, areas := n.Facts(t), catalog.Areas()
	f.Identity.Offline = false
	plan := func(choices ...harden.Choice) harden.Plan {
		plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State})
		if err != nil {
			t.Fatal(err)
		}
		return plans.Node
	}
	for name, tt := range map[string]struct {
		plan   harden.Plan
		change func(*harden.Plan)
		want   string
	}{
		"taken out":           {plan(lockingOut), func(p *harden.Plan) { p.Switch = nil }, "can lock the operator out"},
		"for another control": {plan(lockingOut), func(p *harden.Plan) { p.Switch.Controls = []string{"apiserver-profiling"} }, "can lock the operator out"},
		"put in":              {plan(harden.Choice{Control: "apiserver-profiling"}), func(p *harden.Plan) { p.Switch = &harden.Switch{} }, "nothing in it can lock"},
		"too short":           {plan(lockingOut), func(p *harden.Plan) { p.Switch.Within = time.Second }, "between 30s and 24h0m0s"},
		"for ever":            {plan(lockingOut), func(p *harden.Plan) { p.Switch.Within = 1 << 60 }, "between 30s and 24h0m0s"},
	} {
		tt.change(&tt.plan)
		if _, err := harden.Recheck(tt.plan, f, areas); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
