//go:build linux

package main

import (
	"maps"
	"slices"
	"strings"
)

var upgradeScenarios = []scenario{{
	name:   "14-upgrade",
	proves: "kubeadm upgrade writes everything anew from its ConfigMaps: what was hardened stays so, and is undone all the same, for the next upgrade too",
	long:   "it takes a quarter of an hour: kubeadm upgrade looks and waits for minutes",
	run:    upgraded,
}}

// upgraded upgrades to the version that runs already: kubeadm writes every manifest and the kubelet's configuration anew, and there
// is but one set of images in the lab.
func upgraded(t *T) {
	pristine, were := t.picture(t.node), t.verdicts()
	t.must(0, "apply", "--all", "--yes", "--soak", "5s")
	t.healthy("after apply")
	hardened, are := t.picture(t.node), t.verdicts()
	var passing []string
	for _, c := range slices.Sorted(maps.Keys(are)) {
		if are[c] == "pass" && were[c] == "fail" {
			passing = append(passing, c)
		}
	}
	t.figure("controls that passed by it", "%d", len(passing))
	if len(passing) < 10 {
		t.errorf("only %q pass by it", passing)
	}

	t.upgrade()
	t.sameArguments(hardened, "after the upgrade")
	now := t.verdicts()
	for _, c := range passing {
		if now[c] != "pass" {
			t.errorf("%s is lost by the upgrade: %s", c, now[c])
		}
	}

	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.sameArguments(pristine, "after the undo")
	t.upgrade()
	t.sameArguments(pristine, "after the undo and another upgrade")
	now = t.verdicts()
	for c, was := range were {
		if now := now[c]; now != was {
			t.errorf("%s was %s before all this, and is %s", c, was, now)
		}
	}
	t.clean("at the end")
}

func (t *T) upgrade() {
	out := t.command(t.node, "kubeadm", "upgrade", "apply", t.cluster.Version(), "--force", "--yes", "--ignore-preflight-errors=ImagePull,SystemVerification")
	t.detail("%s", out)
	if out.code != 0 {
		t.fatalf("kubeadm upgrade: %s", out)
	}
	t.figure("upgrade", "%s", seconds(out.took))
	t.shell("systemctl restart kubelet")
	t.healthy("after the upgrade")
}

// sameArguments fails the scenario unless each component runs with the same arguments as in the picture; their order is not kept.
func (t *T) sameArguments(want picture, when string) {
	if d := diffMaps(want.args, t.picture(t.node).args); len(d) > 0 {
		t.errorf("%s: other arguments:\n%s", when, strings.Join(d, "\n"))
	}
}
