package harden_test

import (
	"reflect"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestParseKubeadm(t *testing.T) {
	const v1beta3 = `apiServer:
  extraArgs:
    profiling: "false"
    audit-log-maxage: "30"
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
etcd:
  external:
    endpoints: [https://192.0.2.5:2379]
`
	const v1 = `apiServer:
  extraArgs:
  - {name: enable-admission-plugins, value: ",AlwaysPullImages", mergeMethod: append}
  - {name: tls-cipher-suites, value: A}
  - {name: tls-cipher-suites, value: B}
apiVersion: kubeadm.k8s.io/v1
certificatesDir: /pki
kind: ClusterConfiguration
etcd:
  local:
    extraArgs: [{name: tls-min-version, value: TLS1.2}]
`
	fact := func(text string) *harden.KubeadmFact {
		t.Helper()
		f, err := harden.ParseKubeadm(text, "")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, row := range []struct {
		name      string
		config    string
		component harden.ComponentID
		flag      string
		set       bool
		values    []string
		own       bool // made for each node
	}{
		{"a map", v1beta3, harden.APIServer, "profiling", true, []string{"false"}, false},
		{"nothing", v1beta3, harden.APIServer, "request-timeout", false, nil, false},
		{"kubeadm's own value", v1beta3, harden.ControllerManager, "bind-address", true, []string{"127.0.0.1"}, false},
		{"a path", v1beta3, harden.APIServer, "client-ca-file", true, []string{"/etc/kubernetes/pki/ca.crt"}, false},
		{"an external etcd's files", v1beta3, harden.APIServer, "etcd-cafile", false, nil, true},
		{"a node's address", v1beta3, harden.APIServer, "advertise-address", false, nil, true},
		{"joined to kubeadm's", v1, harden.APIServer, "enable-admission-plugins", true, []string{"NodeRestriction,AlwaysPullImages"}, false},
		{"twice", v1, harden.APIServer, "tls-cipher-suites", true, []string{"A", "B"}, false},
		{"another folder", v1, harden.Etcd, "cert-file", true, []string{"/pki/etcd/server.crt"}, false},
		{"etcd", v1, harden.Etcd, "tls-min-version", true, []string{"TLS1.2"}, false},
	} {
		f, ok := fact(row.config).Flag(row.component, row.flag)
		if f.Set != row.set || !reflect.DeepEqual(f.Values, row.values) || ok == row.own {
			t.Errorf("%s: %+v, comparable %t", row.name, f, ok)
		}
	}
	for _, bad := range []string{"", "kind: Other\napiVersion: kubeadm.k8s.io/v1beta4\n", "kind: ClusterConfiguration\napiVersion: v1\n",
		strings.Replace(v1, "extraArgs:", "extraArgs: 3 #", 1), "{"} {
		if f, err := harden.ParseKubeadm(bad, ""); err == nil {
			t.Errorf("%q gives %+v", bad, f)
		}
	}
}
