package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	clustersandbox "kubectl-harden.io/kubectl-harden/cluster/sandbox"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host/sandbox"
)

// demoSpeed is how many times as fast as real time a demo without questions runs.
const demoSpeed = 5

// demoSoak is the soak of a demo without questions, in its own time.
const demoSoak = 3 * time.Second

// testOnlyDemoClock replaces the clock of a demo without questions.
var testOnlyDemoClock apply.Clock

// demoFlags say how the demo goes; chosen that other flags say what it applies.
type demoFlags struct{ yes, fail, keep, chosen bool }

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use: "demo", Short: "The whole walk on a built-in sandbox node, harmless", Args: atMost(0),
		Long: `A kubeadm 1.37 control-plane node in a temporary directory, with a kubelet and an API server that behave as real ones
do, and a cluster in memory. The engine and the UI are the real ones. It needs nothing, and leaves nothing behind.`,
		Example: `  kubectl-harden demo            the terminal UI on the sandbox
  kubectl-harden demo --yes      everything without questions: assess, plan, apply, undo, and the proof that all is as before
  kubectl-harden demo --fail     an API server that does not come up, and the undo by itself`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := noPlace(cmd.Flags()); err != nil {
				return err
			}
			selection := pflag.NewFlagSet("", pflag.ContinueOnError)
			new(selectFlags).add(selection)
			selection.VisitAll(func(f *pflag.Flag) { flags.chosen = flags.chosen || cmd.Flags().Changed(f.Name) })
			return a.demo(cmd.Context(), flags)
		},
	}
	a.sel.add(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&flags.yes, "yes", false, "the whole walk without questions, with the proof that undoing brings everything back")
	f.BoolVar(&flags.fail, "fail", false, "without questions too: the new API server fails, and is undone by itself")
	f.BoolVar(&a.sel.handover, "handover", false, "ask the API server to hand over, which a sandbox cannot do, and says")
	f.BoolVar(&flags.keep, "keep", false, "leave the sandbox's root where it is, and say where")
	return cmd
}

// noPlace refuses to be told where to act: nothing but the sandbox is touched.
func noPlace(f *pflag.FlagSet) error {
	for _, name := range []string{"root", "offline", "no-cluster", "kubeconfig", "context", "state-dir"} {
		if f.Changed(name) {
			return usagef("demo has a node and a cluster of its own; leave --%s out", name)
		}
	}
	return nil
}

func (a *app) demo(ctx context.Context, flags demoFlags) (err error) {
	if flags.chosen {
		if _, err := a.sel.selection(); err != nil {
			return err
		}
	}
	var clock apply.Clock = apply.WallClock{}
	if flags.yes || flags.fail {
		clock = fastClock{began: time.Now(), speed: demoSpeed}
		if testOnlyDemoClock != nil {
			clock = testOnlyDemoClock
		}
	}
	node, err := sandbox.New(sandbox.Options{Clock: clock, Broken: flags.fail})
	if err != nil {
		return err
	}
	defer func() {
		if flags.keep {
			fmt.Fprintf(a.Out, "\nThe sandbox's root is kept: %s\n", oneLine(node.Dir()))
			err = errors.Join(err, node.Close())
			return
		}
		err = errors.Join(err, node.Remove())
	}()
	a.where.sandbox = true
	e, join := a.openDemo(node, clock)
	defer e.m.guards.(*demoGuards).stop()
	if !flags.yes && !flags.fail {
		return a.walkWith(ctx, e, flags.keep)
	}
	cluster, err := join(ctx)
	if err != nil {
		return err
	}
	s := &story{app: a, e: e, node: node, cluster: cluster, out: a.Out, fail: flags.fail, chosen: flags.chosen, wall: time.Now()}
	return s.tell(ctx)
}

// openDemo joins the sandbox node and its cluster as open does the real ones. The cluster is made when it is first asked for:
// the walk's first frame does not wait for it.
func (a *app) openDemo(node *sandbox.Node, clock apply.Clock) (*engine, func(context.Context) (*clustersandbox.Cluster, error)) {
	m := &machine{
		root: node.Dir(), sandbox: true, files: node.Files(), node: node, live: node, kubeadm: node, context: "sandbox",
		stateDir: defaultStateDir, lockPath: defaultStateDir + "/lock",
	}
	e := newEngine(m, a.areas, a.meta("demo", "demo"))
	e.clock, e.soak = clock, demoSoak
	m.guards = newDemoGuards(e)
	var mu sync.Mutex
	var made *clustersandbox.Cluster
	cluster := func(ctx context.Context) (*clustersandbox.Cluster, error) {
		mu.Lock()
		defer mu.Unlock()
		if made != nil {
			return made, nil
		}
		f, err := e.Facts(ctx)
		if err != nil {
			return nil, err
		}
		kubeadm, kubelet, proxy, err := sandbox.Kubeadm()
		if err != nil {
			return nil, err
		}
		made = clustersandbox.New(clustersandbox.Fixture{
			Identity: f.Identity, Now: clock.Now, Config: node.Configz, Ready: node.Ready, Answer: node.Admin,
			ClusterConfiguration: kubeadm, KubeletConfiguration: kubelet, ProxyConfiguration: proxy,
		})
		return made, nil
	}
	m.connect = func(ctx context.Context) (api, error) {
		c, err := cluster(ctx)
		if err != nil {
			return nil, err
		}
		return &sandboxAPI{sandbox.ServerAPI{Node: node}, c, node}, nil
	}
	return e, cluster
}

// fastClock runs speed times as fast as real time.
type fastClock struct {
	began time.Time
	speed int
}

func (c fastClock) Now() time.Time {
	return c.began.Add(time.Since(c.began) * time.Duration(c.speed))
}

func (c fastClock) Sleep(ctx context.Context, d time.Duration) error {
	return apply.WallClock{}.Sleep(ctx, d/time.Duration(c.speed))
}

// story is the whole walk, told as it happens.
type story struct {
	*app
	e       *engine
	node    *sandbox.Node
	cluster *clustersandbox.Cluster
	out     io.Writer
	fail    bool
	chosen  bool      // by flags what is applied
	began   time.Time // in the sandbox's time
	wall    time.Time

	root    sandbox.Snapshot
	objects []byte
	choices []harden.Choice
}

func (s *story) tell(ctx context.Context) error {
	s.began = s.e.clock.Now()
	if err := s.remember(); err != nil {
		return err
	}
	f, err := s.facts(ctx, s.e)
	if err != nil {
		return err
	}
	files, dirs := s.root.Count()
	s.say("A sandbox: control-plane node %s of Kubernetes %s, %d files and %d directories in %s, and a cluster of %d objects in memory. Nothing else is touched.",
		f.Identity.Node, f.Identity.KubernetesVersion, files, dirs, s.node.Dir(), countObjects(s.objects))
	if c, ok := s.e.clock.(fastClock); ok {
		s.say("Its time runs %d times as fast as yours.", c.speed)
	}
	before := s.assess("Assess", f)
	plans, err := s.plan(ctx, f)
	if err != nil {
		return err
	}
	if s.fail {
		return s.applyFailing(ctx, plans)
	}
	if err := s.applyAll(ctx, "Apply", plans); err != nil {
		return err
	}
	if err := s.again(ctx, before); err != nil {
		return err
	}
	if err := s.undo(ctx); err != nil {
		return err
	}
	return s.prove()
}

// say prints a sentence in lines of 80 columns.
func (s *story) say(format string, args ...any) {
	fmt.Fprintln(s.out, folded(fmt.Sprintf(format, args...), 0, 2))
}

// folded breaks a text at blanks into lines of 80 columns; the first one begins at a column, the others are indented.
func folded(text string, column, indent int) string {
	var out strings.Builder
	for i, word := range strings.Fields(oneLine(text)) {
		switch {
		case i == 0:
		case column+1+len(word) > 80:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}

func (s *story) chapter(title string) {
	fmt.Fprintf(s.out, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}

// remember takes what is to be the same in the end.
func (s *story) remember() (err error) {
	if s.root, err = s.node.Files().Snapshot(defaultStateDir); err != nil {
		return err
	}
	s.objects, err = s.cluster.Contents()
	return err
}

func (s *story) assess(title string, f *harden.Facts) []harden.Finding {
	s.chapter(title)
	findings := s.e.Assess(f)
	rows := [][]string{}
	for _, area := range s.areas {
		var own []harden.Finding
		for _, x := range findings {
			if x.Area == area.ID {
				own = append(own, x)
			}
		}
		rows = append(rows, []string{area.Title, tallyLine(harden.Count(own))})
	}
	table(s.out, append(rows, []string{"all", tallyLine(harden.Count(findings))}))
	return findings
}

func countObjects(stream []byte) int { return bytes.Count(stream, []byte("---\n")) }

// demoPolicies is a control that --all leaves out because it can cut off workloads; those of the sandbox are nobody's.
const demoPolicies = "networkpolicy-default-deny-ingress"

func (s *story) plan(ctx context.Context, f *harden.Facts) ([]harden.Plan, error) {
	sel := harden.Selection{All: true, Controls: []string{demoPolicies}, Accept: []string{demoPolicies}}
	if s.chosen {
		var err error
		if sel, err = s.sel.selection(); err != nil {
			return nil, err
		}
	}
	choices, skipped, err := harden.Select(f, s.e.areas, sel)
	if err != nil {
		return nil, err
	}
	s.choices = choices
	plans, err := s.e.planOf(ctx, f, choices, skipped)
	if err != nil {
		return nil, err
	}
	if s.sel.handover {
		if err := s.e.setHandover(ctx, plans); err != nil {
			return nil, err
		}
	}
	s.chapter("Plan")
	for _, p := range plans {
		rows := [][]string{}
		for _, step := range p.Steps() {
			what, err := size(step)
			if err != nil {
				return nil, err
			}
			rows = append(rows, []string{step.ID, what})
		}
		table(s.out, rows)
		for _, st := range p.Stages {
			for _, e := range st.Effects {
				s.say("then: %s", effectLine(e))
			}
		}
		if p.Handover != nil {
			s.say("%s", p.Handover.Review())
		}
	}
	for _, skip := range plans[0].Skipped {
		s.say("left out: %s: %s", skip.Control, skip)
	}
	s.say("For the diffs see %s demo, or plan --all on a node of yours.", name())
	return plans, nil
}

// size is how much of a target changes.
func size(step harden.Step) (string, error) {
	switch {
	case step.Kind == harden.StepDir && step.Before.Exists:
		return fmt.Sprintf("directory, mode %04o to %04o", step.Before.Mode, step.After.Mode), nil
	case step.Kind == harden.StepDir:
		return "new directory", nil
	}
	d, err := diffOf(step)
	if err != nil {
		return "", err
	}
	added, removed := 0, 0
	for line := range strings.Lines(string(d.Unified())) {
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case line[0] == '+':
			added++
		case line[0] == '-':
			removed++
		}
	}
	out := fmt.Sprintf("+%d -%d", added, removed)
	switch {
	case !step.Before.Exists:
		return out + ", new", nil
	case step.Before.Mode != step.After.Mode:
		return fmt.Sprintf("%s, mode %04o to %04o", out, step.Before.Mode, step.After.Mode), nil
	}
	return out, nil
}

// progress is a line for each event, by the time since the beginning.
func (s *story) progress(ev harden.Event) {
	text := ev.Message.String()
	if ev.Timeout > 0 {
		text += fmt.Sprintf(" (at most %s)", ev.Timeout.Round(time.Second))
	}
	lead := fmt.Sprintf("%6.1fs  %-9s  ", ev.Time.Sub(s.began).Seconds(), ev.Kind)
	fmt.Fprintln(s.out, lead+folded(text, len(lead), len(lead)))
}

func (s *story) applyAll(ctx context.Context, title string, plans []harden.Plan) error {
	for _, p := range plans {
		if p.Empty() {
			continue
		}
		s.chapter(chapterOf(title, p))
		res := s.e.Apply(ctx, p, s.progress)
		if res.Outcome == harden.OutcomeWaiting {
			s.say("%s: %s confirm %s", res.Message, program, res.Transaction)
			res = s.e.Confirm(ctx, res.Transaction)
		}
		if res.Outcome != harden.OutcomeApplied {
			return s.report(res)
		}
	}
	return nil
}

// chapterOf says where a plan acts.
func chapterOf(title string, p harden.Plan) string {
	if p.Keeps() {
		return title + " in what kubeadm keeps"
	}
	return title + " on the " + string(p.Scope)
}

// again assesses and plans once more: less fails, and there is nothing left to do.
func (s *story) again(ctx context.Context, before []harden.Finding) error {
	f, err := s.facts(ctx, s.e)
	if err != nil {
		return err
	}
	after := s.assess("Assess again", f)
	was, is := harden.Count(before)[harden.StatusFail], harden.Count(after)[harden.StatusFail]
	s.say("%d failed before, %d do now.", was, is)
	for _, x := range after {
		if x.Status == harden.StatusFail {
			s.say("still: %s: %s", x.Control, x.Message)
		}
	}
	if is >= was {
		return errors.New("assessing again: as many controls fail as before")
	}
	plans, err := s.e.Plan(ctx, f, s.choices)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(plans, func(p harden.Plan) bool { return !p.Empty() }) {
		return errors.New("planning again: the plan of the same choices is not empty")
	}
	s.say("The plan of the same choices is empty now.")
	return nil
}

func (s *story) undo(ctx context.Context) error {
	last, _, err := s.e.lastRun()
	if err != nil {
		return err
	}
	for _, t := range last {
		plans, err := s.e.Undo(ctx, t.ID, "")
		if err != nil {
			return err
		}
		if err := s.applyAll(ctx, "Undo "+t.ID, plans); err != nil {
			return err
		}
	}
	return nil
}

// applyFailing is the story of --fail: the undo by itself is what is to happen.
func (s *story) applyFailing(ctx context.Context, plans []harden.Plan) error {
	s.chapter("Apply on the node, where the new API server will find its port taken")
	res := s.e.Apply(ctx, plans[0], s.progress)
	if res.Outcome != harden.OutcomeRolledBack || ctx.Err() != nil {
		if err := s.report(res); err != nil {
			return err
		}
		return errors.New("the API server was to fail, and did not")
	}
	s.say("Transaction %s has undone itself. On a real node the exit code would be %d.", res.Transaction, exitUndone)
	return s.prove()
}

// prove compares the root and the cluster with what they were.
func (s *story) prove() error {
	s.chapter("Proof")
	root, err := s.node.Files().Snapshot(defaultStateDir)
	if err != nil {
		return err
	}
	objects, err := s.cluster.Contents()
	if err != nil {
		return err
	}
	was, err := s.root.Digest()
	if err != nil {
		return err
	}
	is, err := root.Digest()
	if err != nil {
		return err
	}
	files, dirs := root.Count()
	s.say("Compared byte by byte, with mode, owner and extended attributes: %d files and %d directories, all of the root but %s, which holds the history.", files, dirs, defaultStateDir)
	fmt.Fprintf(s.out, "before sha256 %s\nafter  sha256 %s\n", was, is)
	var errs []error
	if d := root.Differences(s.root); len(d) > 0 {
		errs = append(errs, fmt.Errorf("comparing the root: these are not as before: %s", strings.Join(d, ", ")))
	}
	if !bytes.Equal(objects, s.objects) {
		errs = append(errs, errors.New("comparing the cluster: its objects are not as before"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.say("The labels, annotations and specs of the cluster's %d objects are as before too.", countObjects(objects))
	s.say("Everything is as it was. All this took %.1f s.", time.Since(s.wall).Seconds())
	return nil
}
