//go:build linux

package lab

import (
	"strings"
	"testing"
)

func TestNodeNames(t *testing.T) {
	for names, wrong := range map[string]string{
		"cp1":             "",
		"cp1 cp2 cp3 w1":  "",
		"cp1 w2":          "",
		"cp2":             "the first one must be cp1",
		"w1":              "the first one must be cp1",
		"cp1 cp1":         "there are two of them",
		"cp1 w1 cp2":      "control-plane nodes come before workers",
		"cp1 worker":      "want cp1",
		"cp1 cp01":        "want cp1",
		"cp1 cp2\ncp3":    "",
		"cp1 w1/../../x1": "want cp1",
	} {
		err := checkNodes(strings.Fields(names))
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %q", names, err, wrong)
		}
	}
}

func TestNodesOfAClusterDiffer(t *testing.T) {
	c := &Cluster{}
	c.addNodes([]string{"cp1", "cp2", "cp11", "w1", "w2", "w11"})
	seen := map[string]string{}
	for _, n := range c.nodes {
		for _, of := range []string{n.address, n.podSubnet()} {
			if other, taken := seen[of]; taken {
				t.Errorf("%s and %s have the same: %s", n.name, other, of)
			}
			seen[of] = n.name
		}
	}
	if got := len(c.controlPlane()); got != 3 {
		t.Errorf("%d control-plane nodes, want 3", got)
	}
}
