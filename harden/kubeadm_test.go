package harden_test

import (
	"slices"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// Where the process, the manifest and kubeadm's configuration disagree, the evidence has each of them once.
func TestEvidenceSaysWhoDisagrees(t *testing.T) {
	control := failing("profiling", harden.RiskNode)
	control.Component, control.Flags = harden.APIServer, []string{"profiling", "advertise-address"}
	control.Assess = func(f *harden.Facts) harden.Verdict {
		return harden.Passed(harden.Msg("right"), f.Component(harden.APIServer).Flag("profiling").Evidence("profiling"))
	}
	const file = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	set, unset := harden.Evidence{Source: file, Value: "--profiling=false"}, harden.Evidence{Source: file, Value: "--profiling is not set"}
	live := harden.Evidence{Source: "process 4711 (kube-apiserver)", Value: "--profiling=false"}
	lost := harden.Evidence{Source: harden.KubeadmConfigSource, Value: "--profiling is not set, and kubeadm upgrade writes the manifest from here"}
	kept := []harden.KubeadmArg{{Name: "profiling", Value: "false"}}
	for _, row := range []struct {
		name    string
		edits   []hardentest.Edit
		running []string // nil: nothing runs
		kubeadm []harden.KubeadmArg
		want    []harden.Evidence
	}{
		{"the file alone", []hardentest.Edit{hardentest.Flag("profiling", "false")}, nil, kept, []harden.Evidence{set}},
		{"kubeadm does not know", []hardentest.Edit{hardentest.Flag("profiling", "false")}, nil, nil, []harden.Evidence{set, lost}},
		{"all agree", []hardentest.Edit{hardentest.Flag("profiling", "false")}, []string{}, kept, []harden.Evidence{live}},
		{"the process has it, the file does not", nil, []string{"--profiling=false"}, nil, []harden.Evidence{live, unset}},
		{"the process has it, kubeadm too, the file does not", nil, []string{"--profiling=false"}, kept, []harden.Evidence{live, unset,
			{Source: harden.KubeadmConfigSource, Value: "--profiling=false, and kubeadm upgrade writes the manifest from here"}}},
	} {
		f := hardentest.APIServerFacts(t, "1.37", row.edits...)
		if row.running != nil {
			hardentest.Run(f, time.Unix(0, 0), row.running...)
		}
		f.Cluster = &harden.ClusterFacts{Kubeadm: &harden.KubeadmFact{ExtraArgs: map[harden.ComponentID][]harden.KubeadmArg{harden.APIServer: row.kubeadm}}}
		got := harden.Assess(f, []harden.Area{{ID: "a", Controls: []harden.Control{control}}})[0].Evidence
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

func TestAddItemKeepsTheOthers(t *testing.T) {
	const file = "/etc/kubernetes/admission/config.yaml"
	n := hardentest.Fixture(t, "1.37")
	n.Write(file, "plugins: # ours\n- name: Mine\n  path: mine.yaml\n", 0o600)
	item := func(id, name string) harden.Control {
		return failing(id, harden.RiskNode, harden.AddItem(file, "plugins", name, map[string]any{"path": id + ".yaml"}, ""))
	}
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{item("one", "One"), item("two", "Two"), item("rival", "One")}}}
	plan := func(controls ...string) (harden.Plans, error) {
		in := harden.BuildInput{Facts: n.Facts(t), Areas: areas, Read: n.State}
		for _, c := range controls {
			in.Choices = append(in.Choices, harden.Choice{Control: c})
		}
		return harden.Build(in)
	}
	plans, err := plan("one", "two")
	if err != nil {
		t.Fatal(err)
	}
	want := "plugins: # ours\n- name: Mine\n  path: mine.yaml\n- name: One\n  path: one.yaml\n- name: Two\n  path: two.yaml\n"
	steps := plans.Node.Steps()
	if got := string(steps[len(steps)-1].After.Data); got != want {
		t.Errorf("got\n%s", got)
	}
	if _, err := plan("one", "rival"); err == nil {
		t.Error("two items of one name")
	}
	n.Apply(plans.Node)
	if again, err := plan("one", "two"); err != nil || !again.Node.Empty() {
		t.Errorf("again: %+v, %v", again.Node.Steps(), err)
	}
	back, err := undo(t, n, plans.Node, "one")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if got := string(n.Files[file].Data); got != "plugins: # ours\n- name: Mine\n  path: mine.yaml\n- name: Two\n  path: two.yaml\n" {
		t.Errorf("one undone:\n%s", got)
	}
}
