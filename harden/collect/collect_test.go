package collect_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestFixturesAreReadAsKubeadmNodes(t *testing.T) {
	for minor, version := range map[string]string{"1.30": "v1.30.4", "1.34": "v1.34.2", "1.37": "v1.37.2"} {
		t.Run(minor, func(t *testing.T) {
			f := hardentest.Fixture(t, minor).Facts(t)
			if f.Distro != "kubeadm" || f.Identity.Node != "cp1" || f.Identity.KubernetesVersion != version || len(f.Identity.CADigest) != 64 {
				t.Errorf("identity: %q %+v", f.Distro, f.Identity)
			}
			for _, c := range harden.Components {
				if c.StaticPod() && (f.Component(c.ID) == nil || len(f.Component(c.ID).Args) == 0 || len(f.Component(c.ID).Rivals) > 0) {
					t.Errorf("%s: %+v", c.ID, f.Component(c.ID))
				}
			}
			if got := f.Component(harden.APIServer).Flag("authorization-mode").List(); strings.Join(got, ",") != "Node,RBAC" {
				t.Errorf("authorization-mode: %v", got)
			}
			if host, ok := f.Component(harden.APIServer).HostPath("/etc/kubernetes/pki/etcd/ca.crt"); !ok || host != "/etc/kubernetes/pki/etcd/ca.crt" {
				t.Errorf("host path: %q %v", host, ok)
			}
			if field := f.Kubelet.Field("authentication.anonymous.enabled"); field.Value != false || field.Source != "/var/lib/kubelet/config.yaml" {
				t.Errorf("kubelet field: %+v", field)
			}
			if f.Kubelet.Decode != "" {
				t.Errorf("strict decode: %s", f.Kubelet.Decode)
			}
			if _, missing := f.Missing[harden.NeedWorkloads]; !missing {
				t.Error("cluster facts are not named missing")
			}
		})
	}
}
