package harden_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestVerdictsOnTheKubeletNameTheProcessTheFileAndTheConfigMap(t *testing.T) {
	const (
		live  = "the running kubelet (/configz): "
		kept  = harden.KubeletConfigSource + ": "
		again = ", and kubeadm upgrade writes /var/lib/kubelet/config.yaml from here"
	)
	for name, tt := range map[string]struct {
		file, shared string // of the ConfigMap; "-": it is not known
		live         any
		want         string
	}{
		"they agree":               {"seccompDefault: true", "seccompDefault: true", true, live + "seccompDefault: true\n" + kept + "seccompDefault: true"},
		"nothing sets it":          {"", "", false, live + "seccompDefault: false\n" + kept + "seccompDefault is not set"},
		"only the file":            {"seccompDefault: true", "", true, live + "seccompDefault: true\n" + kept + "seccompDefault is not set" + again},
		"only the ConfigMap":       {"", "seccompDefault: true", false, live + "seccompDefault: false\n" + kept + "seccompDefault: true" + again},
		"null is not set":          {"", "seccompDefault: null", false, live + "seccompDefault: false\n" + kept + "seccompDefault is not set"},
		"the file was not read":    {"seccompDefault: true", "seccompDefault: true", false, live + "seccompDefault: false, where the files and flags of this node say true: it has not read them\n" + kept + "seccompDefault: true"},
		"a duration, spelled so":   {"seccompDefault: 4h", "seccompDefault: 240m", "4h0m0s", live + "seccompDefault: 4h0m0s\n" + kept + "seccompDefault: 240m"},
		"a default for 0":          {"seccompDefault: 0s", "seccompDefault: 0s", "4h0m0s", live + "seccompDefault: 4h0m0s\n" + kept + "seccompDefault: 0s"},
		"a list":                   {"seccompDefault: [a, b]", "seccompDefault: [a, b]", []any{"a", "b"}, live + "seccompDefault: a,b\n" + kept + "seccompDefault: a,b"},
		"a large number":           {"seccompDefault: 10000000", "seccompDefault: 10000000", float64(10000000), live + "seccompDefault: 10000000\n" + kept + "seccompDefault: 10000000"},
		"no kubelet was asked":     {"seccompDefault: true", "seccompDefault: true", nil, kept + "seccompDefault: true"},
		"the cluster is not known": {"seccompDefault: true", "-", true, live + "seccompDefault: true"},
	} {
		n := hardentest.Fixture(t, "1.37")
		const config = "/var/lib/kubelet/config.yaml"
		s := n.Files[config]
		s.Data = append(append([]byte{}, s.Data...), tt.file+"\n"...)
		n.Files[config] = s
		f := n.Facts(t)
		if tt.live != nil {
			f.Kubelet.Process = &harden.ProcessFact{PID: 7, Started: time.Unix(0, 0)}
			f.Kubelet.Live = map[string]any{"seccompDefault": tt.live}
		}
		if tt.shared != "-" {
			k, err := harden.ParseKubeadm("kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\n", "kind: KubeletConfiguration\n"+tt.shared+"\n")
			if err != nil {
				t.Fatal(err)
			}
			f.Cluster = &harden.ClusterFacts{Kubeadm: k}
		}
		// What facts say is the same after they were written and read.
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var read harden.Facts
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		c := harden.Control{ID: "kubelet-seccomp-default", Fields: []string{"seccompDefault"}, Needs: []harden.Need{harden.NeedKubelet},
			Assess: func(*harden.Facts) harden.Verdict { return harden.Passed(harden.Msg("yes")) }}
		for _, f := range []*harden.Facts{f, &read} {
			var got []string
			for _, e := range harden.Assess(f, []harden.Area{{ID: "kubelet", Controls: []harden.Control{c}}})[0].Evidence {
				got = append(got, e.Source+": "+e.Value)
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), tt.want)
			}
		}
	}
}
