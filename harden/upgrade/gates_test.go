package upgrade_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// Gates of kubeadm's own are no component's, and nobody looked at them.
func TestGatesThatKubeadmRefusesAfterAnUpgrade(t *testing.T) {
	for _, test := range []struct {
		gates string
		want  harden.Status
		says  string
	}{
		{"", harden.StatusPass, "no feature gate"},
		{"{}", harden.StatusPass, "no feature gate"},
		{"{RootlessControlPlane: true}", harden.StatusPass, "is known"},
		{"{EtcdLearnerMode: true}", harden.StatusFail, "kubeadm 1.33 and newer refuse kubeadm-config with the feature gate EtcdLearnerMode"},
		{"{NodeLocalCRISocket: true, WaitForAllControlPlaneComponents: false}", harden.StatusFail, "kubeadm 1.35 and newer"},
		{"{PublicKeysECDSA: true}", harden.StatusFail, "put encryptionAlgorithm: ECDSA-P256 in its place"},
		{"{PublicKeysECDSA: false}", harden.StatusFail, "take it out"},
		{"{Unheard: true}", harden.StatusFail, "kubeadm 1.37 and newer"},
	} {
		for _, minor := range []string{"1.30", "1.34"} {
			f := facts(t, hardentest.Fixture(t, minor), minor, func(text string) string {
				if test.gates == "" {
					return text
				}
				return strings.Replace(text, "kind: ClusterConfiguration\n", "kind: ClusterConfiguration\nfeatureGates: "+test.gates+"\n", 1)
			})
			got := finding(t, f, "upgrade-kubeadm-feature-gates")
			if got.Status != test.want || !strings.Contains(got.Message.String(), test.says) || len(got.Evidence) == 0 {
				t.Errorf("%s %s: %s: %s %v", minor, test.gates, got.Status, got.Message, got.Evidence)
			}
		}
	}
}
