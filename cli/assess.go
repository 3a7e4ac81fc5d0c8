package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// assessment is what assess -o json prints (docs/schema/assessment.json).
type assessment struct {
	APIVersion string           `json:"apiVersion"`
	Target     harden.Identity  `json:"target"`
	Machine    machineView      `json:"machine"`
	Summary    harden.Tally     `json:"summary"`
	Findings   []harden.Finding `json:"findings"`
}

// machineView is what the machine is to Kubernetes.
type machineView struct {
	Distribution harden.Distro     `json:"distribution"`
	Role         harden.Role       `json:"role"` // empty: not known
	LookedFor    []harden.Evidence `json:"lookedFor"`
	AssessOnly   string            `json:"assessOnly,omitempty"` // why nothing may be changed here
}

func viewMachine(f *harden.Facts) machineView {
	v := machineView{Distribution: f.Distro, Role: f.Role, LookedFor: f.LookedFor}
	if why, only := harden.AssessOnly(f); only {
		v.AssessOnly = why.String()
	}
	return v
}

func (a *app) assessCommand() *cobra.Command {
	var failOn, out, profile string
	cmd := &cobra.Command{
		Use: "assess", Short: "Verdicts on every control", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(out, "table", "json"); err != nil {
				return err
			}
			if failOn == "" && cmd.Flags().Changed("fail-on") {
				return usagef("--fail-on is empty: it is fail, manual or unknown")
			}
			bad, err := failing(failOn)
			if err != nil {
				return err
			}
			e, err := a.open("assess")
			if err != nil {
				return err
			}
			f, err := a.facts(cmd.Context(), e)
			if err != nil {
				return err
			}
			findings, p, err := ofProfile(e.areas, e.Assess(f), profile)
			if err != nil {
				return err
			}
			if out == "json" {
				err = writeJSON(a.Out, assessment{"harden/v1", f.Identity, viewMachine(f), harden.Count(findings), findings})
			} else {
				a.printFindings(f, findings, p.Benchmark)
				for _, s := range p.Left(f) {
					fmt.Fprintf(a.Out, "left out: %s\n", oneLine(s.Reason.String()))
				}
			}
			// What was left half done is judged as it is, and says why it is so.
			if res, open := e.Pending(); open && res.Outcome == harden.OutcomeUnsettled {
				a.warnOf(res)
			}
			wrong := func(x harden.Finding) bool { return slices.Contains(bad, x.Status) }
			// What is no node has nothing that could fail, and whoever asks meant another machine.
			if err == nil && (slices.ContainsFunc(findings, wrong) || len(bad) > 0 && harden.NotANode(f)) {
				return &codeError{exitFindings}
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "table", "table or json")
	cmd.Flags().StringVar(&profile, "profile", "", "only what this recommendation asks: "+profileWords)
	cmd.Flags().StringVar(&failOn, "fail-on", "", "exit 3 when a verdict is fail, manual or unknown (each includes the ones before)")
	return cmd
}

// nodeNeeds are the facts that the node itself gives.
var nodeNeeds = []harden.Need{
	harden.NeedAPIServer, harden.NeedControllerManager, harden.NeedScheduler, harden.NeedEtcd, harden.NeedKubelet, harden.NeedSysctls, harden.NeedFiles, harden.NeedCertificates, needWaivers, needApplied,
}

// liveNeeds are the facts that only a running node gives; that an image has none is no news.
var liveNeeds = []harden.Need{harden.NeedListeners, harden.NeedRuntime, harden.NeedRuntimeConfig, harden.NeedRegistries}

// facts are the node's and the cluster's. What could not be read is said at once; which verdicts lack it is in the facts.
func (a *app) facts(ctx context.Context, e *engine) (*harden.Facts, error) {
	f, err := e.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if harden.NotANode(f) {
		return f, nil
	}
	f = e.withApplied(f)
	if why, newer := harden.Untried(f); newer {
		fmt.Fprintf(a.Err, "warning: %s\n", sentence(why.String()))
	}
	own := slices.Concat(nodeNeeds, liveNeeds)
	var denied []string
	var said []string // a runtime that does not answer leaves several groups out
	for _, need := range own {
		why, missing := f.Missing[need]
		switch {
		case !missing || e.m.live == nil && slices.Contains(liveNeeds, need):
		case os.Geteuid() > 0 && strings.Contains(why.String(), fs.ErrPermission.Error()):
			denied = append(denied, string(need))
		case slices.Contains(said, why.String()):
		default:
			said = append(said, why.String())
			fmt.Fprintf(a.Err, "warning: %s is left out: %s\n", need, sentence(why.String()))
		}
	}
	if len(denied) > 0 {
		fmt.Fprintf(a.Err, "warning: without root these cannot be read here, and what goes by them is unknown: %s\n", oneLine(strings.Join(denied, ", ")))
		fmt.Fprintf(a.Err, "hint: %s\n", oneLine(a.againBy("sudo ")))
	}
	f, _ = e.SlowFacts(ctx, f) // what is missing is in the facts, with the reason
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if e.m.connect == nil {
		return f, nil
	}
	var reasons []string
	for need, why := range f.Missing {
		if !slices.Contains(own, need) && !slices.Contains(reasons, why.String()) {
			reasons = append(reasons, why.String())
		}
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		fmt.Fprintf(a.Err, "warning: the cluster is left out: %s\n", sentence(why))
	}
	if f.Cluster == nil && a.where.kubeconfig == "" && a.where.context == "" {
		fmt.Fprintf(a.Err, "hint: %s\n", oneLine(a.again("--no-cluster")))
	}
	return f, nil
}

// profileWords are the profiles for the help of a flag.
const profileWords = "cis-l1, cis-l2 (of CIS 1.12; of an older one cis-1.11-l1, cis-1.10-l2, ...), stig, nsa or seed"

// ofProfile are the findings that a profile asks about, and the profile; all, and an empty one, without a name.
func ofProfile(areas []harden.Area, findings []harden.Finding, id string) ([]harden.Finding, harden.Profile, error) {
	if id == "" {
		return findings, harden.Profile{}, nil
	}
	p, err := catalog.Profile(id)
	if err != nil {
		return nil, p, err
	}
	wanted := p.Controls(areas)
	return slices.DeleteFunc(findings, func(x harden.Finding) bool { return !slices.Contains(wanted, x.Control) }), p, nil
}

// failing are the statuses that --fail-on means: unknown is not pass, so each word includes the ones before it.
func failing(word string) ([]harden.Status, error) {
	order := []harden.Status{harden.StatusFail, harden.StatusManual, harden.StatusUnknown}
	if word == "" {
		return nil, nil
	}
	i := slices.Index(order, harden.Status(word))
	if i < 0 {
		return nil, usagef("--fail-on is fail, manual or unknown, not %q", word)
	}
	return order[:i+1], nil
}

// words for people; in JSON the statuses keep their own names.
var statusWords = map[harden.Status]string{
	harden.StatusPass: "pass", harden.StatusFail: "FAIL", harden.StatusManual: "manual", harden.StatusUnknown: "unknown",
	harden.StatusNotApplicable: "n/a", harden.StatusWaived: "waived",
}

// printFindings tells the verdicts; with a benchmark, what each is there: its id, and whether a person has to settle it.
func (a *app) printFindings(f *harden.Facts, findings []harden.Finding, b harden.Benchmark) {
	if harden.NotANode(f) {
		a.printNotANode(f)
		return
	}
	fmt.Fprintln(a.Out, oneLine(targetLine(f)))
	if why, only := harden.AssessOnly(f); only {
		fmt.Fprintln(a.Out, sentence(why.String()))
	}
	for _, area := range a.areas {
		var own []harden.Finding
		for i := range findings {
			if findings[i].Area == area.ID {
				own = append(own, findings[i])
			}
		}
		rows := [][]string{}
		for _, x := range own {
			row := []string{"  " + statusWords[x.Status], x.Control, string(x.Severity), x.Message.String()}
			if b != "" {
				row = slices.Insert(row, 1, idsIn(x, b))
			}
			rows = append(rows, row)
		}
		if allAlike(f, own) {
			rows = [][]string{{"  " + statusWords[own[0].Status], fmt.Sprintf("%d controls", len(own)), own[0].Message.String()}}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(a.Out, "\n%s\n", area.Title)
		table(a.Out, rows)
		for _, x := range own {
			for _, h := range x.Hints {
				fmt.Fprintf(a.Out, "  hint: %s\n", oneLine(h))
			}
		}
		a.printEnds(f, area)
	}
	fmt.Fprintf(a.Out, "\n%s\n", tallyLine(harden.Count(findings)))
	_, only := harden.AssessOnly(f)
	if n := harden.Count(findings)[harden.StatusFail]; n > 0 && !only {
		fmt.Fprintf(a.Out, "see the diff of the remedies: %s plan --all\n", a.where.called())
	}
}

// idsIn are a finding's ids in a benchmark; those that it leaves to a person are marked.
func idsIn(x harden.Finding, b harden.Benchmark) string {
	var out []string
	for _, asked := range x.Benchmarks {
		if asked.Benchmark != b {
			continue
		}
		id := asked.ID
		if asked.Assessment == harden.ByPerson {
			id += " (manual)"
		}
		out = append(out, id)
	}
	return strings.Join(out, ", ")
}

// foldFrom is how many lines may say the same.
const foldFrom = 3

// allAlike says that no control of an area concerns this node, or on one of another distribution that nothing is known of any,
// for one reason: then one line is enough.
func allAlike(f *harden.Facts, own []harden.Finding) bool {
	return len(own) > foldFrom && !slices.ContainsFunc(own, func(x harden.Finding) bool {
		nothing := x.Status == harden.StatusNotApplicable || x.Status == harden.StatusUnknown && f.Distro != harden.Kubeadm
		return !nothing || x.Status != own[0].Status || x.Message.String() != own[0].Message.String()
	})
}

// printNotANode says what was looked for, and no verdicts: there is nothing that they could be about.
func (a *app) printNotANode(f *harden.Facts) {
	root := "this machine"
	if f.Identity.Offline {
		root = f.Identity.Root
	}
	fmt.Fprintf(a.Out, "%s is no Kubernetes node: nothing was assessed\nlooked for:\n", oneLine(root))
	rows := [][]string{}
	for _, e := range f.LookedFor {
		rows = append(rows, []string{"  " + e.Source, e.Value})
	}
	table(a.Out, rows)
	fmt.Fprintf(a.Out, "run it on a node, or try it on the built-in one: %s demo\n", name())
}

func targetLine(f *harden.Facts) string {
	id := f.Identity
	s := "node " + orUnknown(id.Node) + ", Kubernetes " + orUnknown(id.KubernetesVersion)
	if f.Role != "" {
		s += ", " + string(f.Role)
	}
	if id.Offline {
		s += ", offline root " + id.Root
	}
	return s
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func tallyLine(t harden.Tally) string {
	var parts []string
	for _, s := range harden.Statuses {
		if t[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", t[s], strings.ToLower(statusWords[s])))
		}
	}
	return strings.Join(parts, ", ")
}
