package harden_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// kubeadmCluster is the part of a cluster that persisting asks: kubeadm's ConfigMaps, and the other members.
type kubeadmCluster struct {
	minor   string
	objects map[harden.ObjectRef]harden.State
	facts   *harden.ClusterFacts
}

func newKubeadmCluster(t *testing.T, minor string) *kubeadmCluster {
	t.Helper()
	k := hardentest.Kubeadm(t, minor)
	c := &kubeadmCluster{minor: minor, objects: map[harden.ObjectRef]harden.State{}, facts: &harden.ClusterFacts{
		Kubeadm: k, Nodes: []harden.NodeFact{{Name: "cp1", ControlPlane: true}},
	}}
	c.objects[harden.KubeadmConfig] = harden.State{Exists: true, Data: hardentest.ConfigMap(t, harden.KubeadmConfig, "ClusterConfiguration", k.ClusterConfiguration)}
	c.objects[harden.KubeletConfig] = harden.State{Exists: true, Data: hardentest.ConfigMap(t, harden.KubeletConfig, "kubelet", k.KubeletConfiguration)}
	return c
}

func (c *kubeadmCluster) edited(ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error) {
	before := c.objects[ref]
	after, err := edit(before)
	return harden.ObjectPreview{Before: before, After: after, UID: "u", ResourceVersion: "1"}, err
}

func (c *kubeadmCluster) object(ref harden.ObjectRef) (harden.State, string, string, error) {
	return c.objects[ref], "u", "1", nil
}

// put does what applying a plan of cluster scope does.
func (c *kubeadmCluster) put(p harden.Plan) {
	for _, s := range p.Steps() {
		c.objects[*s.Object] = s.After
	}
}

// persist plans the controls on the node and what keeps them.
func (c *kubeadmCluster) persist(t *testing.T, areas []harden.Area, controls ...string) (node, kept harden.Plan) {
	t.Helper()
	n := hardentest.Fixture(t, c.minor)
	f := n.Facts(t)
	f.Cluster, f.Missing = c.facts, nil
	f.Identity.Node = "cp1"
	in := harden.BuildInput{Facts: f, Areas: areas, Read: n.State, Edited: c.edited, Now: time.Unix(0, 0)}
	for _, id := range controls {
		in.Choices = append(in.Choices, harden.Choice{Control: id, Named: true})
	}
	plans, err := harden.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	node = plans.Node
	all, err := harden.Persist(in, []harden.Plan{node})
	if err != nil {
		t.Fatal(err)
	}
	kept = all[len(all)-1]
	if err := harden.CheckPlan(kept, f); err != nil {
		t.Errorf("the plan is not taken for one that planning makes: %v", err)
	}
	if unmet, err := harden.Recheck(kept, f, areas); err != nil || len(unmet) > 0 {
		t.Errorf("the plan is not right before the node's was applied: %v %v", unmet, err)
	}
	return node, kept
}

func TestPlanIsKeptThroughUpgrades(t *testing.T) {
	for _, minor := range hardentest.Minors {
		c := newKubeadmCluster(t, minor)
		_, kept := c.persist(t, testAreas(), "profiling", "quota", "limits", "policy", "kubelet")
		if len(kept.Skipped) > 0 {
			t.Errorf("%s: skipped %v", minor, kept.Skipped)
		}
		var ids []string
		for _, s := range kept.Steps() {
			ids = append(ids, s.ID)
		}
		if want := []string{"ConfigMap kube-system/kubeadm-config", "ConfigMap kube-system/kubelet-config"}; !slices.Equal(ids, want) {
			t.Fatalf("%s: steps %v, want %v", minor, ids, want)
		}
		text := string(kept.Steps()[0].After.Data) + string(kept.Steps()[1].After.Data)
		for _, want := range []string{"profiling", "NodeRestriction,ResourceQuota,LimitRanger", "audit-policy-file", "mountPath: /etc/kubernetes/policies", "podPidsLimit: 4096"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not kept:\n%s", minor, want, text)
			}
		}
		if got := kept.Steps()[0].Controls(); !slices.Equal(got, []string{"profiling", "quota", "limits", "policy"}) {
			t.Errorf("%s: asked by %v", minor, got)
		}
	}
}

// What the live object does not take is not kept, with the reason; the rest is.
func TestAnObjectThatCannotBeEditedIsNotKept(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	text := string(c.objects[harden.KubeadmConfig].Data)
	c.objects[harden.KubeadmConfig] = harden.State{Exists: true, Data: []byte(strings.Replace(text, "apiServer:", "apiServer: &here", 1))}
	_, kept := c.persist(t, testAreas(), "profiling", "kubelet")
	if !slices.Equal(kept.Controls(), []string{"kubelet"}) || len(kept.Skipped) != 1 {
		t.Fatalf("kept for %v, left out %v", kept.Controls(), kept.Skipped)
	}
	s := kept.Skipped[0]
	if s.Control != "profiling" || !strings.HasPrefix(s.Reason.String(), "not persisted: ConfigMap kube-system/kubeadm-config: ") || len(s.Hints) != 1 {
		t.Errorf("left out: %+v", s)
	}
}

// One apply of both made two transactions of one object, of which the second was refused for what the first had changed.
func TestOneTransactionEditsKubeadmConfig(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	inConfig := func(flag, value string) harden.Intent {
		i := harden.SetFlag(harden.APIServer, flag, value)
		i.Object = &harden.KubeadmConfig
		return i
	}
	areas := testAreas()
	areas[0].Controls = append(areas[0].Controls,
		failing("what-it-has", harden.RiskNode, inConfig("max-requests-inflight", "401"), inConfig("profiling", "true")))
	n := hardentest.Fixture(t, "1.37")
	f := n.Facts(t)
	f.Cluster, f.Missing = c.facts, nil
	f.Identity.Node = "cp1"
	in := harden.BuildInput{Facts: f, Areas: areas, Read: n.State, Edited: c.edited, Now: time.Unix(0, 0),
		Preview: func(harden.ObjectRef, []byte) (harden.ObjectPreview, error) { return harden.ObjectPreview{}, nil },
		Choices: []harden.Choice{{Control: "profiling", Named: true}, {Control: "what-it-has", Named: true}},
	}
	built, err := harden.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if built.Cluster.Empty() {
		t.Fatal("the control asks for nothing in kubeadm-config")
	}
	plans, err := harden.Persist(in, built.InOrder())
	if err != nil {
		t.Fatal(err)
	}
	cluster, kept := plans[len(plans)-2], plans[len(plans)-1]
	if !cluster.Empty() || len(cluster.Choices) > 0 || len(kept.Choices) != 2 {
		t.Errorf("beside the plan of kubeadm's configuration: %v, choices %v and %v", cluster.Steps(), cluster.Choices, kept.Choices)
	}
	text := string(kept.Steps()[0].After.Data)
	if len(kept.Steps()) != 1 || !strings.Contains(text, "max-requests-inflight") || strings.Count(text, "profiling") != 1 || strings.Contains(text, `"true"`) {
		t.Errorf("kubeadm's configuration would be\n%s", text)
	}
	if err := harden.CheckPlan(kept, f); err != nil {
		t.Errorf("the plan is not taken for one that planning makes: %v", err)
	}
	if unmet, err := harden.Recheck(kept, f, areas); err != nil || len(unmet) > 0 {
		t.Errorf("the plan is not right: %v %v", unmet, err)
	}
	if _, left := underway(cluster); left {
		t.Error("a check of kubeadm's configuration is left where nothing of it is changed")
	}
	if c, ok := underway(kept); !ok || c.State != harden.Met {
		t.Errorf("whether kubeadm is at work: %+v", c)
	}
}

func TestUndoOfOneControlLeavesTheOthersInKubeadmConfig(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	before := c.objects[harden.KubeadmConfig]
	_, kept := c.persist(t, testAreas(), "profiling", "quota", "policy")
	c.put(kept)
	n := hardentest.Fixture(t, "1.37")
	undo := func(control string, undone ...string) {
		p, err := harden.Undo(harden.UndoInput{
			Done: harden.Done{ID: "tx1", Plan: kept}, Controls: only(control), Undone: undone, Facts: n.Facts(t), Read: n.State, Object: c.object,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.put(p)
	}
	undo("quota")
	text := string(c.objects[harden.KubeadmConfig].Data)
	if strings.Contains(text, "ResourceQuota") || !strings.Contains(text, "profiling") || !strings.Contains(text, "audit-policy-file") {
		t.Errorf("after undoing quota alone:\n%s", text)
	}
	undo("", "quota")
	if !c.objects[harden.KubeadmConfig].Equal(before) {
		t.Errorf("after undoing all:\n%s", c.objects[harden.KubeadmConfig].Data)
	}
}

func TestUndoAfterKubeadmHasWrittenItsConfigurationAnew(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	before := string(c.objects[harden.KubeadmConfig].Data)
	_, kept := c.persist(t, testAreas(), "profiling", "quota", "policy")
	c.put(kept)
	n := hardentest.Fixture(t, "1.37")
	ours := c.objects[harden.KubeadmConfig]
	// Arguments in another order, and one of somebody else's.
	var object map[string]any
	if err := yaml.Unmarshal(ours.Data, &object); err != nil {
		t.Fatal(err)
	}
	data := object["data"].(map[string]any)
	var config map[string]any
	if err := yaml.Unmarshal([]byte(data["ClusterConfiguration"].(string)), &config); err != nil {
		t.Fatal(err)
	}
	server := config["apiServer"].(map[string]any)
	args := server["extraArgs"].([]any)
	slices.Reverse(args)
	server["extraArgs"] = append(args, map[string]any{"name": "v", "value": "4"})
	data["ClusterConfiguration"] = encoded(t, config)
	ours.Data = []byte(encoded(t, object))
	c.objects[harden.KubeadmConfig] = ours
	p, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx1", Plan: kept}, Facts: n.Facts(t), Read: n.State, Object: c.object})
	if err != nil {
		t.Fatal(err)
	}
	c.put(p)
	text := string(c.objects[harden.KubeadmConfig].Data)
	if strings.Contains(text, "profiling") || strings.Contains(text, "audit") || strings.Contains(text, "ResourceQuota") || !strings.Contains(text, "name: v\n") {
		t.Errorf("after the undo:\n%s\nbefore:\n%s", text, before)
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	out, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestNotPersistedWhileAMemberLacksTheFiles(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	const policy = "/etc/kubernetes/policies/audit-policy.yaml"
	for _, n := range []string{"cp2", "cp3"} {
		c.facts.Nodes = append(c.facts.Nodes, harden.NodeFact{Name: n, ControlPlane: true})
	}
	c.facts.Nodes = append(c.facts.Nodes, harden.NodeFact{Name: "w1"})
	member := func(node string, ready bool, args ...string) harden.MemberFact {
		return harden.MemberFact{Node: node, Component: harden.APIServer, Ready: ready, Args: append([]string{"kube-apiserver"}, args...)}
	}
	for _, tc := range []struct {
		name    string
		members []harden.MemberFact
		lacking string
	}{
		{"neither", []harden.MemberFact{member("cp2", true), member("cp3", true)}, "cp2, cp3"},
		{"one has it", []harden.MemberFact{member("cp2", true, "--audit-policy-file="+policy), member("cp3", true)}, "cp3"},
		{"one has it and is not ready", []harden.MemberFact{member("cp2", false, "--audit-policy-file="+policy), member("cp3", true, "--audit-policy-file="+policy)}, "cp2"},
		{"nothing is known of one", []harden.MemberFact{member("cp2", true, "--audit-policy-file="+policy)}, "cp3"},
		{"both", []harden.MemberFact{member("cp2", true, "--audit-policy-file="+policy), member("cp3", true, "--audit-policy-file", policy)}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.facts.Members = tc.members
			_, kept := c.persist(t, testAreas(), "profiling", "policy")
			text := string(kept.Steps()[0].After.Data)
			if !strings.Contains(text, "profiling") {
				t.Errorf("what names no file is not kept:\n%s", text)
			}
			if got := strings.Contains(text, policy); got != (tc.lacking == "") {
				t.Errorf("kept: %v", got)
			}
			if tc.lacking == "" {
				return
			}
			if len(kept.Skipped) != 1 || kept.Skipped[0].Control != "policy" || !strings.Contains(kept.Skipped[0].Reason.String(), "not persisted: "+tc.lacking+":") {
				t.Errorf("skipped: %v", kept.Skipped)
			}
		})
	}
}

func TestWhatKubeadmHasNoPlaceForIsSaid(t *testing.T) {
	areas := testAreas()
	probes := failing("probes", harden.RiskNode, harden.SetFlag(harden.APIServer, "anonymous-auth", "false"), harden.TCPProbes(harden.APIServer))
	alone := failing("alone", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false"))
	alone.Remedies[0].NodeOnly = true
	areas[0].Controls = append(areas[0].Controls, probes, alone)
	c := newKubeadmCluster(t, "1.37")
	_, kept := c.persist(t, areas, "probes", "alone")
	if !kept.Empty() || len(kept.Skipped) != 2 {
		t.Fatalf("steps %v, skipped %v", kept.Steps(), kept.Skipped)
	}
	for i, want := range []string{"no place for the probes of kube-apiserver", "for this node alone"} {
		if got := kept.Skipped[i]; !strings.Contains(got.Reason.String(), want) || got.Named {
			t.Errorf("skipped %+v, want %q, and no exit code for it", got, want)
		}
	}
}

func TestOneControlThatCannotBeRenderedLeavesTheOthers(t *testing.T) {
	c := newKubeadmCluster(t, "1.37")
	twice := "apiServer:\n  extraArgs:\n  - name: enable-admission-plugins\n    value: a\n  - name: enable-admission-plugins\n    value: b\n"
	c.facts.Kubeadm.ClusterConfiguration = strings.Replace(c.facts.Kubeadm.ClusterConfiguration, "apiServer: {}\n", twice, 1)
	s := c.objects[harden.KubeadmConfig]
	s.Data = []byte(strings.Replace(string(s.Data), "apiServer: {}\n", strings.ReplaceAll(twice, "\n  ", "\n      "), 1))
	c.objects[harden.KubeadmConfig] = s
	_, kept := c.persist(t, testAreas(), "profiling", "quota")
	if len(kept.Steps()) != 1 || !slices.Equal(kept.Steps()[0].Controls(), []string{"profiling"}) {
		t.Errorf("steps: %v", kept.Steps())
	}
	if len(kept.Skipped) != 1 || !strings.Contains(kept.Skipped[0].Reason.String(), "more than once") {
		t.Errorf("skipped: %v", kept.Skipped)
	}
}

func TestNothingIsPersistedWithoutACluster(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling")
	all, err := harden.Persist(harden.BuildInput{Facts: n.Facts(t), Areas: testAreas(), Read: n.State}, []harden.Plan{p})
	if err != nil || len(all) != 2 || !all[1].Empty() || len(all[1].Skipped) > 0 {
		t.Errorf("%v %v", all, err)
	}
}
