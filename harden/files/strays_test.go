package files_test

import (
	"slices"
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
		aside string // which of them are the ones to go
	}{
		{"as kubeadm leaves it", nil, harden.StatusPass, "4 files, each defines a pod of its own", ""},
		{"another pod", map[string]string{"/kube-vip.yaml": pod("kube-vip")}, harden.StatusPass, "5 files", ""},
		{"dot-files are not read", map[string]string{"/.kube-vip.yaml.swp": "x"}, harden.StatusPass, "4 files", ""},
		{"a copy put aside", map[string]string{"/kube-vip.yaml.bak": pod("kube-vip")}, harden.StatusFail, dir + "/kube-vip.yaml.bak: it is named like a copy put aside, and runs as kube-system/kube-vip", "kube-vip.yaml.bak"},
		{"a copy of a component's", map[string]string{"/kube-scheduler.yaml~": pod("kube-scheduler")}, harden.StatusFail, dir + "/kube-scheduler.yaml~: it is named like a copy", "kube-scheduler.yaml~"},
		{"two files of one pod", map[string]string{"/a.yaml": pod("kube-vip"), "/kube-vip.yaml": pod("kube-vip")}, harden.StatusFail, dir + "/a.yaml: it defines kube-system/kube-vip, as " + dir + "/kube-vip.yaml does", "a.yaml"},
		{"two files of one pod, one of them a copy", map[string]string{"/kube-vip.yaml.old": pod("kube-vip"), "/kube-vip.yaml": pod("kube-vip")}, harden.StatusFail, dir + "/kube-vip.yaml: it defines kube-system/kube-vip, as", "kube-vip.yaml.old"},
		{"no YAML", map[string]string{"/notes.txt": "a: [\n"}, harden.StatusFail, dir + "/notes.txt: not a pod: ", "notes.txt"},
		{"no pod", map[string]string{"/config.yaml": "kind: KubeletConfiguration\n"}, harden.StatusFail, dir + "/config.yaml: it defines no pod with a name and containers", ""},
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
			want := ""
			if row.aside != "" {
				want = "mv -n -- '" + dir + "/" + row.aside + "' '/etc/kubernetes/" + row.aside + "'"
			}
			if hints := strings.Join(got.Hints, "; "); hints != want {
				t.Errorf("hints %q, want %q", hints, want)
			}
		})
	}
}

// What is certain not to be meant can be removed by a plan, and comes back with its undo; nothing of a component goes that way.
func TestStraysAreRemovedByAPlan(t *testing.T) {
	const dir = harden.StaticPodDir
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n"
	for _, row := range []struct {
		name  string
		files map[string]string
		gone  string
		left  string
	}{
		{"copies and notes", map[string]string{"/web.yaml": pod, "/web.yaml~": pod, "/notes.txt": "a: [\n", "/kube-scheduler.yaml.bak": ""}, "notes.txt web.yaml~", ""},
		{"a component's copy only", map[string]string{"/kube-scheduler.yaml.bak": ""}, "", "or for the control of the component that it defines: " + dir + "/kube-scheduler.yaml.bak"},
		{"a manifest that is broken", map[string]string{"/web.yaml": "a: [\n"}, "", "for a person to say"},
	} {
		n := installed(t, "1.37")
		for p, text := range row.files {
			if text == "" {
				text = string(n.Files[dir+"/kube-scheduler.yaml"].Data)
			}
			n.Write(dir+p, text, 0o600)
		}
		p, err := planOf(n, t, "files-stray-manifests")
		if err != nil {
			t.Fatal(err)
		}
		var gone []string
		for _, s := range p.Steps() {
			if s.After.Exists {
				t.Errorf("%s: %s stays", row.name, s.Path)
			}
			gone = append(gone, strings.TrimPrefix(s.Path, dir+"/"))
		}
		slices.Sort(gone)
		if got := strings.Join(gone, " "); got != row.gone || !p.Empty() && len(p.Stages[0].Effects) > 0 {
			t.Errorf("%s: removed %q, want %q", row.name, got, row.gone)
		}
		if row.left != "" && (len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), row.left)) {
			t.Errorf("%s: left out %+v", row.name, p.Skipped)
		}
	}
}
