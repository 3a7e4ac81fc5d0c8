package harden_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

// inKubeadm renders intents as the plan would, and gives the lines that were added and removed.
func inKubeadm(t *testing.T, text string, intents ...harden.Intent) ([]string, string, error) {
	t.Helper()
	now := text
	for _, i := range intents {
		i.Object = &harden.KubeadmConfig
		out, err := harden.EditClusterConfiguration(i, []byte(now))
		if err != nil {
			return nil, "", err
		}
		now = string(out)
	}
	d, err := patches.Diff([]byte(text), []byte(now), patches.DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range d.Hunks {
		for _, l := range h.Lines {
			if l.Op != ' ' {
				out = append(out, string(l.Op)+strings.TrimSuffix(l.Text, "\n"))
			}
		}
	}
	return out, now, nil
}

func TestIntentsInClusterConfiguration(t *testing.T) {
	profiling := harden.SetFlag(harden.APIServer, "profiling", "false")
	plugins := harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"NodeRestriction", "EventRateLimit"}, nil)
	mount := harden.MountPath(harden.APIServer, patches.Mount{
		Name: "audit-policy", HostPath: "/etc/kubernetes/policies", MountPath: "/etc/kubernetes/policies", ReadOnly: true, Type: "Directory",
	})
	const listed = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  # by hand
  extraArgs:
  - name: enable-admission-plugins
    value: NodeRestriction,PodNodeSelector
  - name: profiling
    value: "true"
  extraVolumes:
  - {name: audit-policy, hostPath: /etc/kubernetes/policies, mountPath: /etc/kubernetes/policies, readOnly: true}
`
	for _, c := range []struct {
		name, text string
		intents    []harden.Intent
		want       []string
	}{
		{"map of v1beta3", hardentest.Kubeadm(t, "1.30").ClusterConfiguration, []harden.Intent{profiling, plugins, mount}, []string{
			"+  extraArgs:", "+    enable-admission-plugins: NodeRestriction,EventRateLimit", `+    profiling: "false"`,
			"+  extraVolumes:", "+  - hostPath: /etc/kubernetes/policies", "+    mountPath: /etc/kubernetes/policies", "+    name: audit-policy",
			"+    pathType: Directory", "+    readOnly: true",
		}},
		{"list of v1beta4, section empty", hardentest.Kubeadm(t, "1.37").ClusterConfiguration, []harden.Intent{profiling, plugins}, []string{
			"-apiServer: {}", "+apiServer:", "+  extraArgs:", "+  - name: profiling", `+    value: "false"`,
			"+  - name: enable-admission-plugins", "+    value: NodeRestriction,EventRateLimit",
		}},
		{"list that has others", listed, []harden.Intent{profiling, plugins, mount}, []string{
			"-    value: NodeRestriction,PodNodeSelector", "+    value: NodeRestriction,PodNodeSelector,EventRateLimit", `-    value: "true"`, `+    value: "false"`,
		}},
		{"what kubeadm writes by itself", listed, []harden.Intent{harden.SetFlag(harden.APIServer, "authorization-mode", "Node,RBAC")}, nil},
		{"one of two goes", listed, []harden.Intent{harden.RemoveFlag(harden.APIServer, "profiling")}, []string{"-  - name: profiling", `-    value: "true"`}},
		{"etcd", hardentest.Kubeadm(t, "1.37").ClusterConfiguration, []harden.Intent{harden.SetFlag(harden.Etcd, "auto-tls", "false")}, []string{
			"+    extraArgs:", "+    - name: auto-tls", `+      value: "false"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, after, err := inKubeadm(t, c.text, c.intents...)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			again, _, err := inKubeadm(t, after, c.intents...)
			if err != nil || again != nil {
				t.Errorf("a second time it changes %q: %v", again, err)
			}
		})
	}
}

func TestClusterConfigurationIsRefused(t *testing.T) {
	profiling := harden.SetFlag(harden.APIServer, "profiling", "false")
	head := "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
	for _, c := range []struct {
		name, text string
		intent     harden.Intent
		why        string
	}{
		{"twice", head + "apiServer:\n  extraArgs:\n  - {name: profiling, value: a}\n  - {name: profiling, value: b}\n", profiling, "more than once"},
		{"merged by kubeadm", strings.Replace(head, "v1beta4", "v1", 1) + "apiServer:\n  extraArgs:\n  - {name: profiling, value: a, mergeMethod: append}\n", profiling, "mergeMethod"},
		{"flow style", head + "apiServer: {extraArgs: [{name: a, value: b}]}\n", profiling, "flow"},
		{"another version", strings.Replace(head, "v1beta4", "v2", 1), profiling, "not known"},
		{"another kind", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n", profiling, `is "InitConfiguration"`},
		{"no YAML", "\t: [", profiling, "there is a tab in the indentation"},
		{"volume of etcd", head, harden.MountPath(harden.Etcd, patches.Mount{HostPath: "/a", MountPath: "/a"}), "no volumes of etcd"},
		{"another volume there", head + "apiServer:\n  extraVolumes:\n  - name: x\n    hostPath: /b\n    mountPath: /a\n",
			harden.MountPath(harden.APIServer, patches.Mount{HostPath: "/a", MountPath: "/a"}), "already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := inKubeadm(t, c.text, c.intent)
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("want a refusal that says %q, got %v", c.why, err)
			}
		})
	}
}
