package harden_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// stands is a transaction with these intents of the control "it", planned on this version.
func stands(id, version string, intents ...harden.Intent) harden.AppliedFact {
	step := harden.Step{Kind: harden.StepFile, Component: harden.APIServer}
	for _, i := range intents {
		step.Asks = append(step.Asks, harden.Ask{Control: "it", Intent: i})
	}
	p := harden.Plan{Created: hardentest.Now, Target: harden.Identity{KubernetesVersion: version}, Stages: []harden.Stage{{Steps: []harden.Step{step}}}}
	return harden.Applied(harden.Done{ID: id, Plan: p}, nil)
}

func TestWhatWasSetAndIsLostIsNamed(t *testing.T) {
	const profiling = "  extraArgs:\n  - name: profiling\n    value: \"false\"\n"
	set := harden.SetFlag(harden.APIServer, "profiling", "false")
	for name, tt := range map[string]struct {
		applied []harden.AppliedFact
		kubeadm string // in kubeadm-config
		edits   []hardentest.Edit
		message string
		value   string // of the evidence; "": none is wanted
	}{
		"upgraded, and not kept": {
			[]harden.AppliedFact{stands("a", "v1.36.4", set)}, "", nil,
			"bad; it was set on 2026-12-01 and is lost: Kubernetes went from v1.36.4 to v1.37.0 since, and kubeadm's own configuration does not have it",
			"had set --profiling=false",
		},
		"upgraded, and kept": {
			[]harden.AppliedFact{stands("a", "v1.36.4", set)}, profiling, nil, "Kubernetes went from v1.36.4 to v1.37.0 since", "had set --profiling=false",
		},
		"written anew with the same version": {
			[]harden.AppliedFact{stands("a", "v1.37.0", set)}, "", nil, "by somebody or by kubeadm, whose own configuration does not have it", "had set --profiling=false",
		},
		"edited by hand": {
			[]harden.AppliedFact{stands("a", "v1.37.0", set)}, profiling, nil, "the file was written since, by somebody else", "had set --profiling=false",
		},
		"still there": {[]harden.AppliedFact{stands("a", "v1.36.4", set)}, "", []hardentest.Edit{hardentest.Flag("profiling", "false")}, "bad", ""},
		"asked otherwise by a later one": {
			[]harden.AppliedFact{stands("a", "v1.36.4", set), stands("b", "v1.37.0", harden.RemoveFlag(harden.APIServer, "profiling"))}, "", nil, "bad", "",
		},
		"a list": {
			[]harden.AppliedFact{stands("a", "v1.36.4", harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"AlwaysPullImages"}, nil))}, "", nil,
			"is lost", "had set --enable-admission-plugins with AlwaysPullImages",
		},
		"of another control": {func() []harden.AppliedFact {
			a := stands("a", "v1.36.4", set)
			a.Asks[0].Control = "another"
			return []harden.AppliedFact{a}
		}(), "", nil, "bad", ""},
	} {
		f := hardentest.APIServer(t, "1.37", tt.edits...).Facts(t)
		f.Identity.KubernetesVersion = "v1.37.0"
		f.Cluster = &harden.ClusterFacts{Kubeadm: hardentest.Kubeadm(t, "1.37", func(text string) string {
			return strings.Replace(text, "apiServer: {}\n", "apiServer:\n"+tt.kubeadm+map[bool]string{true: "  timeoutForControlPlane: 4m\n"}[tt.kubeadm == ""], 1)
		})}
		f.Applied = tt.applied
		got := harden.Assess(f, verdictOf(harden.Failed(harden.Msg("bad"))))[0]
		if !strings.Contains(got.Message.String(), tt.message) || tt.value == "" && got.Message.String() != "bad" {
			t.Errorf("%s: %s", name, got.Message)
		}
		found := ""
		for _, e := range got.Evidence {
			if strings.HasPrefix(e.Source, "transaction ") {
				found = e.Value
			}
		}
		if found != tt.value {
			t.Errorf("%s: evidence %v", name, got.Evidence)
		}
	}
}

func TestWhatPassesOrWasUndoneIsNotLost(t *testing.T) {
	set := harden.SetFlag(harden.APIServer, "profiling", "false")
	f := hardentest.Fixture(t, "1.37").Facts(t)
	f.Applied = []harden.AppliedFact{stands("a", "v1.36.4", set)}
	if got := harden.Assess(f, verdictOf(harden.Passed(harden.Msg("good"))))[0]; got.Message.String() != "good" {
		t.Error(got.Message)
	}
	step := harden.Step{Kind: harden.StepFile, Component: harden.APIServer, Asks: []harden.Ask{{Control: "it", Intent: set}, {Control: "other", Intent: set}}}
	done := harden.Done{ID: "a", Plan: harden.Plan{Stages: []harden.Stage{{Steps: []harden.Step{step}}}}}
	if got := harden.Applied(done, []string{"it"}); len(got.Asks) != 1 || got.Asks[0].Control != "other" {
		t.Errorf("%+v", got)
	}
}

// Facts are JSON for whoever asks: what makes or moves an encryption key stays in its transaction.
func TestKeysAreNotAmongWhatWasApplied(t *testing.T) {
	key := harden.NewEncryptionKey(harden.EncryptionFile, "secretbox", "key1", []string{"secrets"})
	key.Data = make([]byte, harden.EncryptionKeySize)
	file := harden.Step{Kind: harden.StepFile, Component: harden.APIServer, Secret: true, Asks: []harden.Ask{{Control: "it", Intent: key}}}
	flag := harden.Step{Kind: harden.StepFile, Component: harden.APIServer, Asks: []harden.Ask{{Control: "it", Intent: harden.SetFlag(harden.APIServer, harden.EncryptionFlag, harden.EncryptionFile)}}}
	done := harden.Done{Plan: harden.Plan{Stages: []harden.Stage{{Steps: []harden.Step{file, flag}}}}}
	if got := harden.Applied(done, nil); len(got.Asks) != 1 || got.Asks[0].Intent.Kind != harden.IntentSetFlag {
		t.Errorf("%+v", got)
	}
}
