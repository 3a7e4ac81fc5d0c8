package apiserver

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// A plugin that ends was found by a plan for the version of today only; the upgrade then failed on it.
func TestAdmissionPluginsThatEndAreSaidBeforeTheUpgrade(t *testing.T) {
	const id = "apiserver-removed-admission-plugins"
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "kubeadm's", Want: harden.StatusPass, Says: "is there up to"}})
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "SecurityContextDeny", Edits: enabled("NodeRestriction,SecurityContextDeny"), Want: harden.StatusFail, Says: "SecurityContextDeny: the API server does not start with it"},
		{Name: "turned off", Edits: []hardentest.Edit{hardentest.Flag(disableFlag, "PersistentVolumeLabel")}, Want: harden.StatusFail, Says: "PersistentVolumeLabel"},
	}, "1.34", "1.37")
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "PersistentVolumeLabel", Edits: enabled("NodeRestriction,PersistentVolumeLabel"), Want: harden.StatusFail, Says: "from 1.31 on: the API server does not start with it after that upgrade"},
		{Name: "a newer version than was tried", Edits: enabled("NodeRestriction,Unheard"), Facts: func(f *harden.Facts) {
			f.Components[harden.APIServer].Version = harden.Version{Major: 1, Minor: 38}
		}, Want: harden.StatusPass},
	}, "1.30")
	f := hardentest.StaticPod(t, "1.30", harden.APIServer).Facts(t)
	f.Cluster = &harden.ClusterFacts{Kubeadm: hardentest.Kubeadm(t, "1.30", func(text string) string {
		return strings.Replace(text, "apiServer:\n", "apiServer:\n  extraArgs:\n    enable-admission-plugins: NodeRestriction,SecurityContextDeny\n", 1)
	})}
	if got := table().Finding(t, f, id); got.Status != harden.StatusFail || got.Evidence[0].Source != harden.KubeadmConfigSource {
		t.Errorf("in kubeadm's configuration alone: %s: %s %v", got.Status, got.Message, got.Evidence)
	}
	_, control, _ := harden.FindControl([]harden.Area{Area()}, id)
	if intents, err := control.Remedies[0].Intents(f, nil); err != nil || len(intents) != 1 || intents[0].Object == nil || *intents[0].Object != harden.KubeadmConfig {
		t.Errorf("%v %v", intents, err)
	}
	table().Changes(t, []hardentest.Change{
		{Name: "out of the list", Minor: "1.30", Edits: enabled("NodeRestriction,PersistentVolumeLabel"), Choice: harden.Choice{Control: id, Named: true},
			Want: []string{"kube-apiserver.yaml: - - --enable-admission-plugins=NodeRestriction,PersistentVolumeLabel", "kube-apiserver.yaml: + - --enable-admission-plugins=NodeRestriction"}},
		{Name: "the only one", Minor: "1.30", Edits: []hardentest.Edit{hardentest.Flag(disableFlag, "PersistentVolumeLabel")}, Choice: harden.Choice{Control: id, Named: true},
			Want: []string{"kube-apiserver.yaml: - - --disable-admission-plugins=PersistentVolumeLabel"}},
	})
}
