package hardentest

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Table tries the controls of an area on nodes whose manifest of one component is edited.
type Table struct {
	Area      harden.Area
	Component harden.ComponentID
}

// Verdict is a node, and what a control says of it.
type Verdict struct {
	Name   string
	Edits  []Edit
	Change func(*Node)
	Facts  func(*harden.Facts)
	Want   harden.Status
	Says   string // in the message
}

// Finding is the engine's finding of one control on the facts.
func (tb Table) Finding(t testing.TB, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{tb.Area}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("there is no control %s", id)
	return harden.Finding{}
}

// spellings are ways to write the same command line.
var spellings = []struct {
	name  string
	edits []Edit
}{{"", nil}, {", in args", []Edit{InArgs()}}, {", as two words", []Edit{Split()}}}

// Verdicts runs the cases on the real manifests of all minors, or of those given, and on each with its flags spelled in
// every way.
func (tb Table) Verdicts(t *testing.T, id string, cases []Verdict, minors ...string) {
	t.Helper()
	if len(minors) == 0 {
		minors = Minors
	}
	for _, c := range cases {
		for _, minor := range minors {
			for _, spelling := range spellings {
				t.Run(c.Name+" "+minor+spelling.name, func(t *testing.T) {
					n := StaticPod(t, minor, tb.Component, slices.Concat(c.Edits, spelling.edits)...)
					if c.Change != nil {
						c.Change(n)
					}
					f := n.Facts(t)
					if c.Facts != nil {
						c.Facts(f)
					}
					tb.check(t, f, id, c)
				})
			}
		}
	}
}

func (tb Table) check(t *testing.T, f *harden.Facts, id string, c Verdict) {
	t.Helper()
	got := tb.Finding(t, f, id)
	if got.Status != c.Want || !strings.Contains(got.Message.String(), c.Says) {
		t.Errorf("%s: %s, want %s with %q", got.Status, got.Message, c.Want, c.Says)
	}
	if len(got.Evidence) == 0 && got.Status != harden.StatusNotApplicable && got.Status != harden.StatusUnknown {
		t.Error("the finding has no evidence")
	}
}

// Change is a node, a choice, and all that its plan changes.
type Change struct {
	Name   string
	Minor  string
	Edits  []Edit
	Change func(*Node)
	Facts  func(*harden.Facts)
	Choice harden.Choice
	Want   []string
	Skip   string // in the reason for which nothing is planned
}

// Changes builds the plans, and once more after each was carried out: then nothing is left to do, and the control passes.
func (tb Table) Changes(t *testing.T, cases []Change) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			n := StaticPod(t, c.Minor, tb.Component, c.Edits...)
			if c.Change != nil {
				c.Change(n)
			}
			facts := func() *harden.Facts {
				f := n.Facts(t)
				if c.Facts != nil {
					c.Facts(f)
				}
				return f
			}
			p := tb.plan(t, n, facts(), c.Choice)
			if got := Changes(t, p); !slices.Equal(got, c.Want) {
				t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.Want, "\n"))
			}
			if c.Skip != "" {
				if len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].String(), c.Skip) {
					t.Errorf("skipped: %v, want one because of %q", p.Skipped, c.Skip)
				}
				return
			}
			if len(p.Skipped) > 0 {
				t.Fatalf("skipped: %s", p.Skipped[0].Reason)
			}
			if err := harden.CheckPlan(p, facts()); err != nil {
				t.Error(err)
			}
			// What applies a node's plan has not read the cluster.
			bare := facts()
			bare.Cluster = nil
			for _, need := range []harden.Need{harden.NeedNodes, harden.NeedWorkloads} {
				bare.Missing[need] = harden.Msg("not read")
			}
			if unmet, err := harden.Recheck(p, bare, []harden.Area{tb.Area}); err != nil || len(unmet) > 0 {
				t.Errorf("by what is known when it is applied: %v %v", err, unmet)
			}
			n.Apply(p)
			if got := tb.Finding(t, facts(), c.Choice.Control); got.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
			}
			if again := tb.plan(t, n, facts(), c.Choice); !again.Empty() {
				t.Errorf("the same plan again is not empty: %v", Changes(t, again))
			}
		})
	}
}

func (tb Table) plan(t *testing.T, n *Node, f *harden.Facts, c harden.Choice) harden.Plan {
	t.Helper()
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{tb.Area}, Choices: []harden.Choice{c}, Read: n.State, Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if !plans.Etcd.Empty() {
		if !plans.Node.Empty() {
			t.Error("etcd is changed, and the node too")
		}
		plans.Etcd.Skipped = plans.Node.Skipped
		return plans.Etcd
	}
	return plans.Node
}

// Elsewhere wants every control to say that it does not apply on a node without control plane, and that nothing is known
// where the manifest cannot be read.
func (tb Table) Elsewhere(t *testing.T) {
	t.Helper()
	for _, found := range harden.Assess(Worker(t), []harden.Area{tb.Area}) {
		if found.Status != harden.StatusNotApplicable && found.Status != harden.StatusUnknown {
			t.Errorf("%s on a worker is %s: %s", found.Control, found.Status, found.Message)
		}
	}
	n := StaticPod(t, "1.37", tb.Component, func(testing.TB, string) string { return "spec: [" })
	for _, found := range harden.Assess(n.Facts(t), []harden.Area{tb.Area}) {
		if found.Status != harden.StatusUnknown {
			t.Errorf("%s with a broken manifest is %s: %s", found.Control, found.Status, found.Message)
		}
	}
}
