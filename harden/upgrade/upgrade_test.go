package upgrade_test

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/upgrade"
)

func TestArea(t *testing.T) { hardentest.CheckArea(t, upgrade.Area()) }

// facts of a node of the minor, with what kubeadm uploaded, each edited.
func facts(t *testing.T, n *hardentest.Node, minor string, edits ...func(string) string) *harden.Facts {
	t.Helper()
	f := n.Facts(t)
	k := hardentest.Kubeadm(t, minor, edits...)
	f.Cluster = &harden.ClusterFacts{Kubeadm: k, Nodes: []harden.NodeFact{{Name: f.Identity.Node, ControlPlane: true}}}
	delete(f.Missing, harden.NeedKubeadm)
	return f
}

func finding(t *testing.T, f *harden.Facts, control string) harden.Finding {
	t.Helper()
	found := harden.Assess(f, []harden.Area{upgrade.Area()})
	i := slices.IndexFunc(found, func(x harden.Finding) bool { return x.Control == control })
	return found[i]
}

func TestNodesAsKubeadmMadeThemLoseNothing(t *testing.T) {
	for _, minor := range hardentest.Minors {
		f := facts(t, hardentest.Fixture(t, minor), minor)
		for _, id := range []string{"upgrade-static-pods", "upgrade-kubelet"} {
			if x := finding(t, f, id); x.Status != harden.StatusPass {
				t.Errorf("%s %s: %s %s %v", minor, id, x.Status, x.Message, x.Evidence)
			}
		}
	}
}

func TestWhatAnUpgradeWouldTakeBack(t *testing.T) {
	const dir = "/etc/kubernetes/policies"
	extra := func(text string) string {
		return strings.Replace(text, "apiServer: {}\n",
			"apiServer:\n  extraArgs:\n  - name: profiling\n    value: \"false\"\n  - name: audit-log-maxage\n    value: \"7\"\n", 1)
	}
	asIs := func(text string) string { return text }
	for _, c := range []struct {
		name    string
		edits   []hardentest.Edit
		kubeadm func(string) string
		want    []string
	}{
		{"a flag that stands in the manifest alone", []hardentest.Edit{hardentest.Flag("profiling", "false")}, asIs, []string{"--profiling=false would be gone"}},
		{"in args", []hardentest.Edit{hardentest.Flag("profiling", "false"), hardentest.InArgs(), hardentest.Split()}, asIs, []string{"--profiling=false would be gone"}},
		{"another value", []hardentest.Edit{hardentest.Flag("audit-log-maxage", "30"), hardentest.Flag("profiling", "false")}, extra,
			[]string{"--audit-log-maxage=30 would be --audit-log-maxage=7"}},
		{"kept", []hardentest.Edit{hardentest.Flag("profiling", "false"), hardentest.Flag("audit-log-maxage", "7")}, extra, nil},
		{"another value than kubeadm's own", []hardentest.Edit{hardentest.Replace("enable-admission-plugins=NodeRestriction", "enable-admission-plugins=NodeRestriction,AlwaysPullImages")}, asIs,
			[]string{"--enable-admission-plugins=NodeRestriction,AlwaysPullImages would be --enable-admission-plugins=NodeRestriction"}},
		{"a mount", []hardentest.Edit{hardentest.Mount(dir, "Directory")}, asIs, []string{"the mount of " + dir + " would be gone"}},
		{"a value that kubeadm takes from the node", []hardentest.Edit{hardentest.Replace("--secure-port=6443", "--secure-port=7443")}, asIs, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts(t, hardentest.APIServer(t, "1.37", c.edits...), "1.37", c.kubeadm)
			x := finding(t, f, "upgrade-static-pods")
			if c.want == nil {
				if x.Status != harden.StatusPass {
					t.Errorf("%s %v", x.Status, x.Evidence)
				}
				return
			}
			var got []string
			for _, e := range x.Evidence {
				got = append(got, e.Value)
			}
			if x.Status != harden.StatusFail || !slices.Equal(got, c.want) {
				t.Errorf("%s %q, want %q", x.Status, got, c.want)
			}
			afterRemedy(t, f, c.edits)
		})
	}
}

// afterRemedy renders the remedy and wants nothing to be lost any more.
func afterRemedy(t *testing.T, f *harden.Facts, edits []hardentest.Edit) {
	t.Helper()
	_, c, _ := harden.FindControl([]harden.Area{upgrade.Area()}, "upgrade-static-pods")
	intents, err := c.Remedies[0].Intents(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := harden.State{Exists: true, Data: hardentest.ConfigMap(t, harden.KubeadmConfig, "ClusterConfiguration", f.Cluster.Kubeadm.ClusterConfiguration)}
	for _, i := range intents {
		if text, err = i.Render(text); err != nil {
			t.Fatal(err)
		}
	}
	after := hardentest.APIServer(t, "1.37", edits...).Facts(t)
	after.Cluster = f.Cluster
	if after.Cluster.Kubeadm, err = harden.ParseKubeadm(hardentest.DataOf(t, text.Data, "ClusterConfiguration"), ""); err != nil {
		t.Fatal(err)
	}
	delete(after.Missing, harden.NeedKubeadm)
	if x := finding(t, after, "upgrade-static-pods"); x.Status != harden.StatusPass {
		t.Errorf("after the remedy: %s %v", x.Status, x.Evidence)
	}
}

func TestSettingsThatOnlyThisNodeHas(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, "/var/lib/kubelet/config.yaml", "streamingConnectionIdleTimeout: 0s", "streamingConnectionIdleTimeout: 5m\npodPidsLimit: 4096\nprotectKernelDefaults: true")
	x := finding(t, facts(t, n, "1.37"), "upgrade-kubelet")
	var got []string
	for _, e := range x.Evidence {
		got = append(got, e.Value)
	}
	if want := []string{"podPidsLimit: 4096 would be gone", `streamingConnectionIdleTimeout: "5m" would be "0s"`,
		"protectKernelDefaults: true would be gone, whatever is kept: it is for this node alone"}; x.Status != harden.StatusFail || !slices.Equal(got, want) {
		t.Errorf("%s %q, want %q", x.Status, got, want)
	}
	// Alone it was passed over: the upgrade took it back and nothing had said so.
	n = hardentest.Fixture(t, "1.37")
	n.Edit(t, "/var/lib/kubelet/config.yaml", "streamingConnectionIdleTimeout: 0s", "streamingConnectionIdleTimeout: 0s\nprotectKernelDefaults: true")
	if x := finding(t, facts(t, n, "1.37"), "upgrade-kubelet"); x.Status != harden.StatusManual || !strings.Contains(x.Message.String(), "takes back protectKernelDefaults") {
		t.Errorf("%s %s", x.Status, x.Message)
	}
}

// An undo of the node alone left kubeadm's configuration pointing at files that were gone, and the control said pass.
func TestWhatAnUpgradeWouldBring(t *testing.T) {
	const policy = "/etc/kubernetes/policies/audit-policy.yaml"
	extra := func(text string) string {
		return strings.Replace(text, "apiServer: {}\n", "apiServer:\n  extraArgs:\n  - name: audit-policy-file\n    value: "+policy+
			"\n  extraVolumes:\n  - name: policies\n    hostPath: /etc/kubernetes/policies\n    mountPath: /etc/kubernetes/policies\n", 1)
	}
	for _, c := range []struct {
		name    string
		file    harden.FileFact
		edits   []hardentest.Edit
		want    harden.Status
		message string
	}{
		{"the file is gone", harden.FileFact{}, nil, harden.StatusFail, policy + ", which they name, is not there"},
		{"the file is there", harden.FileFact{State: harden.State{Exists: true}}, nil, harden.StatusManual, "apply them here too, or take them out"},
		{"something would be lost too", harden.FileFact{State: harden.State{Exists: true}}, []hardentest.Edit{hardentest.Flag("profiling", "false")}, harden.StatusFail,
			"takes back 1 arguments and 0 mounts, and brings 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts(t, hardentest.APIServer(t, "1.37", c.edits...), "1.37", extra)
			f.Files[policy] = c.file
			x := finding(t, f, "upgrade-static-pods")
			var got []string
			for _, e := range x.Evidence {
				got = append(got, e.Value)
			}
			if all := strings.Join(got, "\n"); x.Status != c.want || !strings.Contains(x.Message.String(), c.message) ||
				!strings.Contains(all, "--audit-policy-file="+policy+" of kube-apiserver would come") || !strings.Contains(all, "the mount of /etc/kubernetes/policies into kube-apiserver would come") {
				t.Errorf("%s %s\n%s", x.Status, x.Message, all)
			}
		})
	}
}

func TestKubeletSettingsThatAnUpgradeWouldBring(t *testing.T) {
	f := facts(t, hardentest.Fixture(t, "1.37"), "1.37")
	f.Cluster.Kubeadm.KubeletConfiguration += "podPidsLimit: 4096\n"
	x := finding(t, f, "upgrade-kubelet")
	if x.Status != harden.StatusManual || len(x.Evidence) != 1 || !strings.Contains(x.Evidence[0].Value, "podPidsLimit: 4096 would come") {
		t.Errorf("%s %v", x.Status, x.Evidence)
	}
}
