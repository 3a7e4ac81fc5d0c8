package catalog

import (
	"slices"
	"strings"
	"testing"
)

// A verdict that one flag decides says where the process, the manifest and kubeadm's configuration disagree about it.
func TestVerdictsOnFlagsNameThem(t *testing.T) {
	// These compare whole command lines or files themselves.
	whole := []string{"-rival-manifest", "-running-arguments", "-removed-flags"}
	for _, a := range Areas() {
		if !slices.Contains([]string{"apiserver", "audit", "controllermanager", "scheduler", "etcd"}, a.ID) {
			continue
		}
		for _, c := range a.Controls {
			if slices.ContainsFunc(whole, func(suffix string) bool { return strings.HasSuffix(c.ID, suffix) }) {
				continue
			}
			if c.Component == "" || len(c.Flags) == 0 {
				t.Errorf("%s names no flags", c.ID)
			}
		}
	}
}

// A verdict that a field of the kubelet's configuration decides says what the running kubelet and the cluster's ConfigMap say of it.
func TestVerdictsOnKubeletFieldsNameThem(t *testing.T) {
	// These are about flags, about files as such, or compare whole configurations themselves.
	whole := []string{
		"kubelet-running-configuration", "kubelet-hostname-override", "kubelet-removed-flags", "kubelet-removed-feature-gates",
		"kubelet-config-file-mode", "kubelet-config-file-owner",
	}
	for _, a := range Areas() {
		for _, c := range a.Controls {
			if a.ID == "kubelet" && len(c.Fields) == 0 && !slices.Contains(whole, c.ID) {
				t.Errorf("%s names no fields", c.ID)
			}
		}
	}
}
