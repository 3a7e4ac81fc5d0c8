//go:build linux

package main

import (
	"maps"
	"slices"
	"strings"
	"time"
)

var upgradeScenarios = []scenario{
	{
		name:   "14-upgrade",
		proves: "kubeadm upgrade writes everything anew from its ConfigMaps: what was hardened stays so, and is undone all the same, for the next upgrade too",
		long:   "it takes a quarter of an hour: kubeadm upgrade looks and waits for minutes",
		run:    upgraded,
	},
	{
		name:       "14-upgrade-minor",
		proves:     "a real upgrade to the next minor keeps all that was hardened but what is for the node alone, and changes the rest as on a node that was not; undone after it, the new version stays",
		kubernetes: "1.36",
		long:       "it upgrades twice, with and without hardening, and builds an older Kubernetes before",
		run:        upgradedToNextMinor,
	},
}

// upgraded upgrades to the version that runs already: kubeadm writes every manifest and the kubelet's configuration anew.
func upgraded(t *T) {
	h := t.hardenAll()
	t.sameUpgrade()
	t.sameArguments(h.hardened, "after the upgrade")
	t.stillPassing(h, nodeOnly...)

	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.sameArguments(h.pristine, "after the undo")
	t.sameUpgrade()
	t.sameArguments(h.pristine, "after the undo and another upgrade")
	if d := diffMaps(h.were, t.verdicts()); len(d) > 0 {
		t.errorf("verdicts are other ones than before all this:\n%s", strings.Join(d, "\n"))
	}
	t.clean("at the end")
}

// hardening is what apply has made of a node.
type hardening struct {
	pristine, hardened picture
	were               map[string]string // the verdicts before
	passing            []string          // the controls that pass by it
	takenBack          []string          // those of them that apply said the next kubeadm upgrade takes back
}

func (t *T) hardenAll() hardening {
	h := hardening{pristine: t.picture(t.node), were: t.verdicts()}
	applied := t.must(0, "apply", "--all", "--yes", "--soak", "5s")
	h.takenBack = announced(applied.stdout + applied.stderr)
	t.healthy("after apply")
	h.hardened = t.picture(t.node)
	are := t.verdicts()
	for _, c := range slices.Sorted(maps.Keys(are)) {
		if are[c] == "pass" && h.were[c] == "fail" {
			h.passing = append(h.passing, c)
		}
	}
	t.figure("controls that passed by it", "%d", len(h.passing))
	if len(h.passing) < 10 {
		t.errorf("only %q pass by it", h.passing)
	}
	return h
}

// nodeOnly are the controls that are for one node alone: kubeadm's ConfigMaps are for all, and cannot keep them.
var nodeOnly = []string{"kubelet-protect-kernel-defaults"}

// announced are the controls of which apply says that the next kubeadm upgrade takes them back.
func announced(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		control, why, _ := strings.Cut(strings.TrimPrefix(line, "# skipped: "), ": ")
		if strings.HasPrefix(line, "# skipped: ") && strings.HasPrefix(why, "not persisted: ") && strings.Contains(why, "upgrade takes it back") {
			out = append(out, control)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// stillPassing fails the scenario unless each control that passed by hardening still does, but for those that an upgrade loses: they must
// fail. Losing what is for one node alone is no surprise only if apply has said so.
func (t *T) stillPassing(h hardening, lost ...string) {
	if !slices.Equal(h.takenBack, nodeOnly) {
		t.errorf("apply said that an upgrade takes back %q, wanted %q", h.takenBack, nodeOnly)
	}
	now := t.verdicts()
	for _, c := range h.passing {
		want := "pass"
		if slices.Contains(lost, c) {
			want = "fail"
		}
		if now[c] != want {
			t.errorf("%s after the upgrade: %s, wanted %s", c, now[c], want)
		}
	}
}

func (t *T) sameUpgrade() {
	t.kubeadmUpgrade(t.cluster.Version(), "--force")
	t.shell("systemctl restart kubelet")
	t.healthy("after the upgrade")
}

func (t *T) kubeadmUpgrade(version string, flags ...string) {
	args := append([]string{"upgrade", "apply", version, "--yes", "--ignore-preflight-errors=ImagePull,SystemVerification"}, flags...)
	out := t.commandWithin(15*time.Minute, t.node, "kubeadm", args...)
	if out.code != 0 {
		t.fatalf("kubeadm upgrade: %s", out)
	}
	t.figure("upgrade", "%s", seconds(out.took))
}

// sameArguments fails the scenario unless each component runs with the same arguments as in the picture; their order is not kept.
func (t *T) sameArguments(want picture, when string) {
	if d := diffMaps(want.args, t.picture(t.node).args); len(d) > 0 {
		t.errorf("%s: other arguments:\n%s", when, strings.Join(d, "\n"))
	}
}
