package files_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestStrayManifests(t *testing.T) {
	pod := func(name string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: kube-system}\nspec: {containers: [{name: c, image: i}]}\n"
	}
	const dir = harden.StaticPodDir
	for _, row := range []struct {
		name  string
		files map[string]string
		want  harden.Status
		says  string
	}{
		{"as kubeadm leaves it", nil, harden.StatusPass, "4 files, each defines a pod of its own"},
		{"another pod", map[string]string{"/kube-vip.yaml": pod("kube-vip")}, harden.StatusPass, "5 files"},
		{"dot-files are not read", map[string]string{"/.kube-vip.yaml.swp": "x"}, harden.StatusPass, "4 files"},
		{"a copy put aside", map[string]string{"/kube-vip.yaml.bak": pod("kube-vip")}, harden.StatusFail, dir + "/kube-vip.yaml.bak: it is named like a copy put aside, and runs as kube-system/kube-vip"},
		{"a copy of a component's", map[string]string{"/kube-scheduler.yaml~": pod("kube-scheduler")}, harden.StatusFail, dir + "/kube-scheduler.yaml~: it is named like a copy"},
		{"two files of one pod", map[string]string{"/a.yaml": pod("kube-vip"), "/kube-vip.yaml": pod("kube-vip")}, harden.StatusFail, dir + "/a.yaml: it defines kube-system/kube-vip, as " + dir + "/kube-vip.yaml does"},
		{"no YAML", map[string]string{"/notes.txt": "a: [\n"}, harden.StatusFail, dir + "/notes.txt: not a pod: "},
		{"no pod", map[string]string{"/config.yaml": "kind: KubeletConfiguration\n"}, harden.StatusFail, dir + "/config.yaml: it defines no pod with a name and containers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			for p, text := range row.files {
				n.Write(dir+p, text, 0o600)
			}
			got := finding(t, n.Facts(t), "files-stray-manifests")
			if got.Status != row.want || !strings.Contains(got.Message.String(), row.says) || len(got.Evidence) == 0 {
				t.Errorf("%s: %s, want %s: %s", got.Status, got.Message, row.want, row.says)
			}
		})
	}
}
