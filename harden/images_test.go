package harden_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestTheImageOfAStoppedPodIsCollected: on a node whose disk was nearly full the kubelet removed etcd's image while etcd restarted, and
// neither the change nor its undo could start it again.
func TestTheImageOfAStoppedPodIsCollected(t *testing.T) {
	for _, tt := range []struct {
		name, kubelet string
		machine       *harden.MachineFact
		blocks        string
	}{
		{"room", "", &harden.MachineFact{Images: "/var/lib/containerd", ImagesUsed: 84}, ""},
		{"no room", "", &harden.MachineFact{Images: "/var/lib/containerd", ImagesUsed: 85}, "85 % of the file system of /var/lib/containerd is used, and from 85 % on"},
		{"a lower threshold", "imageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\n", &harden.MachineFact{Images: "/images", ImagesUsed: 72}, "from 70 % on"},
		{"the kubelet never does", "imageGCHighThresholdPercent: 100\n", &harden.MachineFact{Images: "/images", ImagesUsed: 100}, ""},
		{"not told", "", &harden.MachineFact{}, ""},
		{"nothing known of the machine", "", nil, ""},
	} {
		n := hardentest.Fixture(t, "1.37")
		n.Edit(t, "/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n", "kind: KubeletConfiguration\n"+tt.kubelet)
		p := build(t, n, "profiling")
		f := n.Facts(t)
		f.Machine = tt.machine
		unmet, err := harden.Recheck(throughFile(t, p), f, testAreas())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tt.blocks == "" && len(unmet) > 0, tt.blocks != "" && len(unmet) != 1:
			t.Errorf("%s: %+v", tt.name, unmet)
		case tt.blocks != "" && (!unmet[0].Blocks || !strings.Contains(unmet[0].Message.String(), tt.blocks)):
			t.Errorf("%s: %s", tt.name, unmet[0].Message)
		}
	}
}
