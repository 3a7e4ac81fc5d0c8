package upgrade

import (
	"fmt"
	"maps"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// kubeadmGates are the feature gates that kubeadm of the newest supported release still knows (cmd/kubeadm/app/features/features.go).
var kubeadmGates = []string{"RootlessControlPlane"}

// endedGates are those that a supported release has removed, with the first minor of 1 that refuses them, and what to set instead.
var endedGates = map[string]struct {
	minor   int
	instead string
}{
	"EtcdLearnerMode": {33, ""}, "WaitForAllControlPlaneComponents": {35, ""}, "ControlPlaneKubeletLocalMode": {36, ""},
	"NodeLocalCRISocket": {37, ""}, "PublicKeysECDSA": {37, "encryptionAlgorithm: ECDSA-P256"},
}

var featureGates = harden.Control{
	ID: "upgrade-kubeadm-feature-gates", Title: "No feature gate is left behind that newer releases of kubeadm refuse", Severity: harden.Medium,
	Why: harden.Msg("Feature gates of kubeadm's own lie in kubeadm-config. A release that does not know one of them refuses the whole configuration: " +
		"no upgrade begins, no certificate is renewed and no node joins until somebody has edited the ConfigMap."),
	Refs:  harden.Refs{Docs: []string{reconfigure}},
	Needs: []harden.Need{harden.NeedKubeadm},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Cluster != nil && f.Cluster.Kubeadm != nil, harden.Msg("the cluster has no configuration of kubeadm's")
	},
	Assess: assessGates,
}

func assessGates(f *harden.Facts) harden.Verdict {
	gates := f.Cluster.Kubeadm.FeatureGates
	var seen []harden.Evidence
	first, minor := "", harden.NewestSupported.Minor+1
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		seen = append(seen, harden.Evidence{Source: harden.KubeadmConfigSource, Value: fmt.Sprintf("featureGates.%s: %t", name, gates[name])})
		if slices.Contains(kubeadmGates, name) {
			continue
		}
		ends := harden.NewestSupported.Minor
		if g, known := endedGates[name]; known {
			ends = g.minor
		}
		if ends < minor {
			first, minor = name, ends
		}
	}
	switch {
	case len(gates) == 0:
		return harden.Passed(harden.Msg("no feature gate of kubeadm's is set"), harden.Evidence{Source: harden.KubeadmConfigSource, Value: "featureGates is not set"})
	case first == "":
		return harden.Passed(harden.Msg("every feature gate that is set is known to kubeadm up to %s", harden.NewestSupported), seen...)
	case endedGates[first].instead != "" && gates[first]:
		return harden.Failed(harden.Msg("kubeadm 1.%d and newer refuse kubeadm-config with the feature gate %s: before that upgrade, put %s in its place (kubectl -n kube-system edit configmap kubeadm-config)",
			minor, first, endedGates[first].instead), seen...)
	}
	return harden.Failed(harden.Msg("kubeadm 1.%d and newer refuse kubeadm-config with the feature gate %s: take it out before that upgrade (kubectl -n kube-system edit configmap kubeadm-config)", minor, first), seen...)
}
