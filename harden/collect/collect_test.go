package collect_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
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

// withUnit is a node whose unit files say something else than kubeadm's.
type withUnit struct {
	*hardentest.Node
	unit collect.Unit
}

func (n withUnit) Unit(string) (collect.Unit, error) { return n.unit, nil }

func TestKubeletFlagsComeFromTheUnitAndItsFiles(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--read-only-port=10255\"\nOTHER=\"--anonymous-auth=true\"\n", 0o644)
	n.Write("/etc/kubernetes/kubelet.conf.d/10.conf", "kind: KubeletConfiguration\nreadOnlyPort: 1\npodPidsLimit: 7\nstaticPodPath: null\n", 0o644)
	n.Files["/etc/kubernetes/kubelet.conf.d"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	unit := collect.Unit{
		ExecStart:   "/usr/bin/kubelet --seccomp-default $CONFIG_ARGS ${KUBELET_EXTRA_ARGS}",
		Environment: []string{"CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir=/etc/kubernetes/kubelet.conf.d"},
		EnvFiles:    []string{"/etc/default/kubelet"},
	}
	f, err := collect.FromNode(withUnit{n, unit}, nil, collect.Options{Root: "/", Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]harden.FieldFact{
		"readOnlyPort":                     {Set: true, Value: 10255.0, Source: "flag --read-only-port in /etc/default/kubelet"},
		"podPidsLimit":                     {Set: true, Value: 7.0, Source: "/etc/kubernetes/kubelet.conf.d/10.conf"},
		"seccompDefault":                   {Set: true, Value: true, Source: "flag --seccomp-default of kubelet.service"},
		"authentication.anonymous.enabled": {Set: true, Value: false, Source: "/var/lib/kubelet/config.yaml"},
		"staticPodPath":                    {Source: "/etc/kubernetes/kubelet.conf.d/10.conf"},
	} {
		if got := f.Kubelet.Field(path); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestAKubeletConfigurationThatCannotBeReadIsUnknown(t *testing.T) {
	for name, text := range map[string]string{"broken": "a: [\n", "not a mapping": "- a\n"} {
		n := hardentest.Fixture(t, "1.37")
		n.Write("/var/lib/kubelet/config.yaml", text, 0o600)
		if f := n.Facts(t); f.Missing[harden.NeedKubelet].IsZero() {
			t.Errorf("%s: the kubelet counts as known", name)
		}
	}
}

func TestAFileWithThePodsNameIsARivalWhateverItsContainer(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/kubernetes/manifests/zz", "kind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\nspec: {containers: [{name: a}, {name: b}]}\n", 0o600)
	c := n.Facts(t).Component(harden.APIServer)
	if len(c.Rivals) != 1 || c.Effective != "/etc/kubernetes/manifests/zz" {
		t.Errorf("rivals %v, effective %s", c.Rivals, c.Effective)
	}
}
