//go:build linux

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestWhatAnUndoMustBringBackIsCompared(t *testing.T) {
	before := map[string]string{
		"ConfigMap kube-system/kubeadm-config": `{"data":{"ClusterConfiguration":"a"}}`,
		"ConfigMap kube-public/cluster-info":   `{"data":{"jws":"b"}}`,
		"Secret kube-system/bootstrap-token-1": `{"data":{"token":"c"}}`,
		"Secret shop/mine":                     `{"data":{"key":"d"}}`,
		"Pod kube-system/kube-apiserver-cp1":   `{"metadata":{"uid":"e"}}`,
		"EndpointSlice default/kubernetes":     `{"endpoints":["f"]}`,
		"DaemonSet kube-system/lab-netpolicy":  `{"metadata":{"uid":"g"}}`,
		"Lease kube-system/apiserver-1":        `{"metadata":{"uid":"h"}}`,
	}
	for _, row := range []struct{ key, now, want string }{
		{"ConfigMap kube-system/kubeadm-config", `{"data":{"ClusterConfiguration":"x"}}`, "it was"},
		{"Secret shop/mine", "", "it is gone"},
		{"NetworkPolicy shop/ours", "{}", "it is new"},
		{"Lease kube-system/kubectl-harden", "{}", "it is new"},
		{"Pod kube-system/kubectl-harden-canary-cp1", "{}", "it is new"},
		{"Pod kube-system/kube-apiserver-cp1", "", "it is gone"},
		{"Pod kube-system/kube-apiserver-cp1", `{"metadata":{"uid":"x"}}`, ""},
		{"ConfigMap kube-public/cluster-info", "{}", ""},
		{"Lease kube-system/apiserver-1", `{"metadata":{"uid":"x"}}`, ""},
		{"Secret kube-system/bootstrap-token-1", "", ""},
		{"EndpointSlice default/kubernetes", `{"endpoints":["x"]}`, ""},
		{"DaemonSet kube-system/lab-netpolicy", `{"metadata":{"uid":"x"}}`, ""},
	} {
		now := maps.Clone(before)
		if now[row.key] = row.now; row.now == "" {
			delete(now, row.key)
		}
		got := diffMaps(lasting(before), lasting(now))
		if row.want == "" && len(got) > 0 || row.want != "" && !slices.ContainsFunc(got, func(d string) bool {
			return strings.HasPrefix(d, row.key+": "+row.want)
		}) {
			t.Errorf("%s is %q now: %q", row.key, row.now, got)
		}
	}
}

func TestANodeIsComparedInAllThatItsPictureHas(t *testing.T) {
	before := picture{
		files:  map[string]string{"/etc/kubernetes/manifests/etcd.yaml": "a"},
		args:   map[string]string{etcd: "a"},
		kernel: map[string]string{"kernel.panic": "10"},
	}
	if d := before.differences(before); len(d) > 0 {
		t.Errorf("the same: %q", d)
	}
	now := picture{
		files:  map[string]string{"/etc/kubernetes/manifests/etcd.yaml": "b"},
		args:   map[string]string{etcd: "b"},
		kernel: map[string]string{"kernel.panic": "0"},
	}
	if d := before.differences(now); len(d) != 3 {
		t.Errorf("three are other ones: %q", d)
	}
}
