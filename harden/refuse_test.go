package harden_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const schedulerManifest = "/etc/kubernetes/manifests/kube-scheduler.yaml"

// refusable are controls of the API server, of the scheduler, and one that wants something of both.
func refusable() []harden.Area {
	return []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("server", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")),
		failing("scheduler", harden.RiskNode, harden.SetFlag(harden.Scheduler, "profiling", "false")),
		failing("scheduler-bind", harden.RiskNode, harden.SetFlag(harden.Scheduler, "v", "2")),
		failing("both", harden.RiskNode, harden.SetFlag(harden.APIServer, "goaway-chance", "0.001"), harden.SetFlag(harden.Scheduler, "authorization-always-allow-paths", "/livez")),
	}}}
}

// planRefusable plans all of them on a node whose paths can be read as read says.
func planRefusable(t *testing.T, n *hardentest.Node, read func(string) (harden.State, error)) harden.Plan {
	t.Helper()
	var choices []harden.Choice
	for _, c := range refusable()[0].Controls {
		choices = append(choices, harden.Choice{Control: c.ID, Named: c.ID != "scheduler"})
	}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: refusable(), Choices: choices, Read: read})
	if err != nil {
		t.Fatal(err)
	}
	return plans.Node
}

// TestOneTargetThatIsRefusedDoesNotTakeThePlanWithIt: what can be planned is planned, and of what a control asks all or nothing.
func TestOneTargetThatIsRefusedDoesNotTakeThePlanWithIt(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write(schedulerManifest, "\ufeff"+string(n.Files[schedulerManifest].Data), 0o600)
	link := func(p string) (harden.State, error) {
		if p == schedulerManifest {
			return harden.State{}, errors.New("it is a symbolic link")
		}
		return n.State(p)
	}
	for _, row := range []struct {
		name   string
		read   func(string) (harden.State, error)
		reason string
		hints  []string
	}{
		{"a byte order mark", n.State, schedulerManifest + ": line 1: there is a byte order mark (U+FEFF)", []string{"save the file without it, or make the changes by hand"}},
		{"a link", link, "it is a symbolic link", []string{"namei -l '" + schedulerManifest + "'", thenByHand}},
	} {
		p := planRefusable(t, n, row.read)
		if steps := p.Steps(); len(steps) != 1 || steps[0].ID != apiserverManifest || !slices.Equal(p.Controls(), []string{"server"}) || len(p.Choices) != 1 {
			t.Errorf("%s: planned %v for %v", row.name, ids(p), p.Controls())
		}
		var left []string
		for _, s := range p.Skipped {
			left = append(left, s.Control)
			if !s.Refused || s.Remedy != "fix" || s.Named != (s.Control != "scheduler") || s.Reason.String() != row.reason || !slices.Equal(s.Hints, row.hints) {
				t.Errorf("%s: left out: %+v", row.name, s)
			}
		}
		if !slices.Equal(left, []string{"scheduler", "scheduler-bind", "both"}) {
			t.Errorf("%s: left out: %v", row.name, left)
		}
	}
}

// TestOnlyWhatIsRefusedIsLeftOutOfATarget: the other lines of the same file are edited.
func TestOnlyWhatIsRefusedIsLeftOutOfATarget(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, schedulerManifest, "    - --kubeconfig=", "    - &level --v=1\n    - --kubeconfig=")
	p := planRefusable(t, n, n.State)
	if !slices.Equal(p.Controls(), []string{"server", "both", "scheduler"}) || len(p.Skipped) != 1 || p.Skipped[0].Control != "scheduler-bind" {
		t.Fatalf("planned for %v, left out %+v", p.Controls(), p.Skipped)
	}
	if want := []string{"write the value out where it is used, or set --v=2 in container kube-scheduler by hand"}; !slices.Equal(p.Skipped[0].Hints, want) {
		t.Errorf("what to do is %q", p.Skipped[0].Hints)
	}
}

// unwritable refuses to write to one path.
type unwritable struct {
	path string
	err  error
}

func (u unwritable) CheckReplace(p string) error {
	if p == u.path {
		return u.err
	}
	return nil
}

func (u unwritable) CheckAttributes(p string) error { return u.CheckReplace(p) }

// thenByHand is what to do about what the commands show: they alone told nobody anything.
const thenByHand = "then make it a file of its own that only root can change, or make the changes by hand"

// TestATargetThatIsNotWrittenToIsLeftOut, with the commands that show why. What whoever plans may not do is no reason.
func TestATargetThatIsNotWrittenToIsLeftOut(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	choices := []harden.Choice{{Control: "server"}, {Control: "scheduler"}}
	for _, row := range []struct {
		err  error
		left string
	}{
		{errors.New("it has 2 names"), "[scheduler: it has 2 names [namei -l '" + schedulerManifest + "' lsattr -d '" + schedulerManifest + "' " + thenByHand + "]]"},
		{fmt.Errorf("writing: %w", fs.ErrPermission), "[]"},
	} {
		plans, err := harden.Build(harden.BuildInput{
			Facts: n.Facts(t), Areas: refusable(), Choices: choices, Read: n.State, Writes: unwritable{schedulerManifest, row.err},
		})
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, s := range plans.Node.Skipped {
			left = append(left, fmt.Sprintf("%s: %s %v", s.Control, s.Reason, s.Hints))
		}
		if got := "[" + strings.Join(left, ", ") + "]"; got != row.left || slices.Contains(ids(plans.Node), schedulerManifest) != (row.left == "[]") {
			t.Errorf("%v: left out %s, planned %v", row.err, got, ids(plans.Node))
		}
	}
}
