package catalog_test

import (
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestProfilesNameWhatTheCatalogueHas(t *testing.T) {
	areas := catalog.Areas()
	for _, p := range catalog.Profiles() {
		if len(p.Controls(areas)) == 0 {
			t.Errorf("%s chooses nothing", p.ID)
		}
		for _, r := range p.Refused {
			if _, _, ok := harden.FindControl(areas, r.Control); r.Control != "" && !ok {
				t.Errorf("%s: there is no control %s", p.ID, r.Control)
			}
			if r.Asks == "" || r.Reason.IsZero() {
				t.Errorf("%s: what is refused, or why, is not said", p.ID)
			}
		}
		for _, c := range p.Choices {
			if _, control, ok := harden.FindControl(areas, c.Control); !ok {
				t.Errorf("%s: there is no control %s", p.ID, c.Control)
			} else if r, ok := control.Remedy(c.Remedy); c.Remedy != "" && !ok {
				t.Errorf("%s: %s has no remedy %s", p.ID, c.Control, c.Remedy)
			} else if _, err := r.Fill(c.Control, c.Options); err != nil {
				t.Errorf("%s: %v", p.ID, err)
			}
		}
	}
	one, _ := catalog.Profile("cis-l1")
	two, _ := catalog.Profile("cis-l2")
	for _, id := range one.Controls(areas) {
		if !slices.Contains(two.Controls(areas), id) {
			t.Errorf("%s is of level 1 and not of level 2", id)
		}
	}
	if slices.Contains(one.Controls(areas), "certificates-etcd-ca") || !slices.Contains(two.Controls(areas), "certificates-etcd-ca") {
		t.Error("2.7 is of level 2")
	}
}

// No profile takes by itself what can hurt workloads or lock operators out.
func TestProfilesTakeWhatIsTheNodesOwn(t *testing.T) {
	areas := catalog.Areas()
	f := hardentest.Fixture(t, "1.37").Facts(t)
	for _, p := range catalog.Profiles() {
		choices, _, err := harden.Select(f, areas, harden.Selection{Profile: &p})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range choices {
			_, control, _ := harden.FindControl(areas, c.Control)
			if r, _ := control.Remedy(c.Remedy); r.Risk != harden.RiskNode {
				t.Errorf("%s takes %s with risk %s", p.ID, c.Control, r.Risk)
			}
			if !p.Takes(control.Refs) {
				t.Errorf("%s takes %s, for which it does not ask", p.ID, c.Control)
			}
		}
	}
}

func TestWhatHurtsIsSaidWhereItWould(t *testing.T) {
	stig, _ := catalog.Profile("stig")
	worker, master := stig.Left(hardentest.Worker(t)), stig.Left(hardentest.Fixture(t, "1.37").Facts(t))
	if len(worker) >= len(master) {
		t.Errorf("worker %v, control plane %v", worker, master)
	}
}
