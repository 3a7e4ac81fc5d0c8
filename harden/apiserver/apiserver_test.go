package apiserver

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

// finding is the engine's finding of one control on the facts.
func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("there is no control %s", id)
	return harden.Finding{}
}

// verdictCase is a node, and what a control says of it.
type verdictCase struct {
	name   string
	edits  []hardentest.Edit
	change func(*hardentest.Node)
	facts  func(*harden.Facts)
	want   harden.Status
	says   string // in the message
}

// try runs the cases on the real manifests of all minors, or of those given.
func try(t *testing.T, id string, cases []verdictCase, minors ...string) {
	t.Helper()
	if len(minors) == 0 {
		minors = hardentest.Minors
	}
	for _, tt := range cases {
		for _, minor := range minors {
			t.Run(tt.name+" "+minor, func(t *testing.T) {
				n := hardentest.APIServer(t, minor, tt.edits...)
				if tt.change != nil {
					tt.change(n)
				}
				f := n.Facts(t)
				if tt.facts != nil {
					tt.facts(f)
				}
				got := finding(t, f, id)
				if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) {
					t.Errorf("%s: %s, want %s with %q", got.Status, got.Message, tt.want, tt.says)
				}
				if len(got.Evidence) == 0 && got.Status != harden.StatusNotApplicable && id != "apiserver-running-arguments" {
					t.Error("the finding has no evidence")
				}
			})
		}
	}
}

// planCase is a node, a choice, and all that the plan changes.
type planCase struct {
	name   string
	minor  string
	edits  []hardentest.Edit
	change func(*hardentest.Node)
	choice harden.Choice
	want   []string
	skip   string // in the reason for which nothing is planned
}

// plan builds the plans, and once more after each was carried out: then nothing is left to do, and the control passes.
func plan(t *testing.T, cases []planCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			n := hardentest.APIServer(t, tt.minor, tt.edits...)
			if tt.change != nil {
				tt.change(n)
			}
			p, err := n.Plan(t, Area(), tt.choice)
			if err != nil {
				t.Fatal(err)
			}
			if got := hardentest.Changes(t, p); !slices.Equal(got, tt.want) {
				t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if tt.skip != "" {
				if len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), tt.skip) {
					t.Errorf("skipped: %v, want one because of %q", p.Skipped, tt.skip)
				}
				return
			}
			if len(p.Skipped) > 0 {
				t.Fatalf("skipped: %s", p.Skipped[0].Reason)
			}
			n.Apply(p)
			if got := finding(t, n.Facts(t), tt.choice.Control); got.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
			}
			if again, err := n.Plan(t, Area(), tt.choice); err != nil || !again.Empty() {
				t.Errorf("the same plan again is not empty: %v %v", hardentest.Changes(t, again), err)
			}
		})
	}
}

func TestNoControlPlane(t *testing.T) {
	for _, found := range harden.Assess(hardentest.Worker(t), []harden.Area{Area()}) {
		if found.Status != harden.StatusNotApplicable {
			t.Errorf("%s on a worker is %s: %s", found.Control, found.Status, found.Message)
		}
	}
}

func TestUnreadManifest(t *testing.T) {
	n := hardentest.APIServer(t, "1.37", func(testing.TB, string) string { return "spec: [" })
	for _, found := range harden.Assess(n.Facts(t), []harden.Area{Area()}) {
		if found.Status != harden.StatusUnknown {
			t.Errorf("%s with a broken manifest is %s: %s", found.Control, found.Status, found.Message)
		}
	}
}

// All default remedies that concern the node alone, taken together on an untouched node.
func TestAllOnFreshNode(t *testing.T) {
	want := map[string][]string{
		"1.30": {"kube-apiserver.yaml: + - --profiling=false"},
		"1.34": {
			"make /etc/kubernetes/authn", "write /etc/kubernetes/authn/config.yaml",
			"kube-apiserver.yaml: + - --authentication-config=/etc/kubernetes/authn/config.yaml",
			"kube-apiserver.yaml: + - --profiling=false",
			"kube-apiserver.yaml: + - mountPath: /etc/kubernetes/authn",
			"kube-apiserver.yaml: + name: authn-config",
			"kube-apiserver.yaml: + readOnly: true",
			"kube-apiserver.yaml: + - hostPath:",
			"kube-apiserver.yaml: + path: /etc/kubernetes/authn",
			"kube-apiserver.yaml: + type: Directory",
			"kube-apiserver.yaml: + name: authn-config",
		},
	}
	want["1.37"] = want["1.34"]
	for _, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			n := hardentest.APIServer(t, minor)
			choices, skipped, err := harden.Select(n.Facts(t), []harden.Area{Area()}, harden.Selection{All: true})
			if err != nil {
				t.Fatal(err)
			}
			p, err := n.Plan(t, Area(), choices...)
			if err != nil {
				t.Fatal(err)
			}
			if got := hardentest.Changes(t, p); !slices.Equal(got, want[minor]) {
				t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want[minor], "\n"))
			}
			for _, s := range skipped {
				if s.Control == "apiserver-profiling" || s.Reason.IsZero() {
					t.Errorf("skipped %s: %s", s.Control, s.Reason)
				}
			}
		})
	}
}
