package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// planFile is what plan --out writes and apply takes: the exact contents, so it is readable by its owner only.
type planFile struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Selected are the words of the command line that selected what is planned.
	Selected []string      `json:"selected,omitempty"`
	Plans    []harden.Plan `json:"plans"`
}

func (a *app) planCommand() *cobra.Command {
	var format, file string
	cmd := &cobra.Command{
		Use: "plan", Short: "The exact diff of the remedies", Args: atMost(0),
		Example: `  kubectl-harden plan --all
  kubectl-harden plan --control apiserver-profiling -o diff | git -C ROOT apply --check
  kubectl-harden plan --file choices.json --out plan.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format, "diff", "json"); err != nil {
				return err
			}
			e, err := a.open("plan")
			if err != nil {
				return err
			}
			plans, err := a.plans(cmd.Context(), e)
			if err != nil {
				return err
			}
			if file != "" {
				if err := savePlans(file, plans, e.selected); err != nil {
					return err
				}
			}
			if format == "json" {
				err = writeJSON(a.Out, viewPlans(plans))
			} else {
				err = printPlans(a.Out, plans, terminal(a.Out))
			}
			if err != nil {
				return err
			}
			if err := a.leftOut(plans, false); err != nil {
				return err
			}
			return a.pending(e, plans)
		},
	}
	a.sel.add(cmd.Flags())
	cmd.Flags().StringVarP(&format, "output", "o", "diff", "diff or json")
	cmd.Flags().StringVar(&file, "out", "", "also write the plan to this file, for apply")
	return cmd
}

// pending warns of what an earlier run has left to settle: apply refuses a plan until then, and where the plan is empty that
// is all there is to say.
func (a *app) pending(e *engine, plans []harden.Plan) error {
	res, open := e.Pending()
	if !open || res.Outcome != harden.OutcomeUnsettled {
		return nil
	}
	if !slices.ContainsFunc(plans, func(p harden.Plan) bool { return !p.Empty() }) {
		return a.report(res)
	}
	a.warnOf(res)
	return nil
}

func (a *app) warnOf(res harden.Result) {
	fmt.Fprintf(a.Err, "warning: %s\n", sentence(res.Message.String()))
	a.printHints(res.Hints)
}

// plans makes the plans of what the flags select.
func (a *app) plans(ctx context.Context, e *engine) ([]harden.Plan, error) {
	sel, err := a.sel.selection()
	if err != nil {
		return nil, err
	}
	if err := a.sel.checkWithin(); err != nil {
		return nil, err
	}
	e.within, e.selected = a.sel.confirmWithin, a.sel.words()
	f, err := a.facts(ctx, e)
	if err != nil {
		return nil, err
	}
	if why, only := harden.AssessOnly(f); only && sel.All {
		return nil, &refusedError{&hintedError{err: fmt.Errorf("planning: %s", why), hints: []string{program + " assess"}}}
	}
	choices, skipped, err := harden.Select(f, e.areas, sel)
	if err != nil {
		return nil, err
	}
	if err := acceptable(sel); err != nil {
		return nil, err
	}
	a.unread = harden.Unread(f, e.areas, sel)
	plans, err := e.planOf(ctx, f, choices, skipped)
	for i := range plans {
		if ids := sel.AcceptedComponents(); len(ids) > 0 && !plans[i].Empty() {
			plans[i] = plans[i].Accept(ids...)
		}
	}
	return plans, err
}

func savePlans(file string, plans []harden.Plan, selected []string) error {
	data, err := json.MarshalIndent(planFile{"harden/v1", "PlanFile", selected, plans}, "", " ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	err = writeNew(file, append(data, '\n'), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &hintedError{err: err, hints: planAgain(file, selected)}
	}
	return err
}

// planAgain plans into a file beside this one, as existing files are not overwritten.
func planAgain(file string, selected []string) []string {
	stem, ext := strings.TrimSuffix(file, filepath.Ext(file)), filepath.Ext(file)
	for n := 2; ; n++ {
		other := fmt.Sprintf("%s-%d%s", stem, n, ext)
		if _, err := os.Lstat(other); errors.Is(err, fs.ErrNotExist) || n == 100 {
			return []string{program + " plan " + pasted(append(slices.Clone(selected), "--out", other))}
		}
	}
}

// planBeside plans into a file beside one that is no plan; none where that is not in the directory that one works in.
func planBeside(file string) []string {
	if filepath.Base(file) != file || file == "-" {
		return nil
	}
	return planAgain(file, []string{"--all"})
}

// again are the words that select what is planned once more.
func (p planFile) again(areas []harden.Area) []string {
	if len(p.Selected) > 0 {
		return p.Selected
	}
	return chosenIn(areas, p.Plans)
}

func readPlans(file string, areas []harden.Area) (planFile, error) {
	var p planFile
	if err := readJSON(file, "plan", &p); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if file == "-" {
				return planFile{}, err
			}
			return planFile{}, &hintedError{err: err, hints: []string{program + " plan --all --out " + shellWord(file)}}
		}
		return planFile{}, &hintedError{err: err, hints: planBeside(file)}
	}
	if p.Kind != "PlanFile" || p.APIVersion != "harden/v1" || len(p.Plans) == 0 {
		return planFile{}, &hintedError{
			err:   fmt.Errorf("reading %s: it is no plan file (apiVersion harden/v1, kind PlanFile)", file),
			hints: planBeside(file),
		}
	}
	for _, plan := range p.Plans {
		if plan.Tool != version() {
			return planFile{}, &hintedError{
				err:   &refusedError{fmt.Errorf("reading %s: it was made by version %s of this program, and this is %s", file, plan.Tool, version())},
				hints: planAgain(file, p.again(areas)),
			}
		}
	}
	return p, nil
}

// printPlans writes a diff that git apply and patch -p1 take in the root. What a diff cannot say is in lines that begin
// with #. For people the bytes of others are made inert; for programs they are exact.
func printPlans(to io.Writer, plans []harden.Plan, people bool) error {
	w := &output{w: to}
	printed := false
	for _, p := range plans {
		for _, c := range p.Preflight {
			if c.State != harden.Met {
				comment(w, fmt.Sprintf("%s: %s: %s%s", c.State, owner(c), c.Title, because(c.Message)))
				for _, h := range c.Hints {
					comment(w, "hint: "+h)
				}
			}
		}
		for _, st := range p.Stages {
			for _, s := range st.Steps {
				printed = true
				if err := printStep(w, s, people); err != nil && w.err == nil {
					return err
				}
			}
			if st.NoReturn {
				comment(w, "beyond a point of no simple return: an undo writes anew what is stored, until "+st.WayBack().Words().String())
			}
			if line := st.Sharing.Words(); !line.IsZero() {
				comment(w, line.String())
			}
			for _, r := range st.Rehearsals {
				for _, line := range rehearsalLines(r) {
					comment(w, line)
				}
			}
			if p.Target.Offline && len(st.Effects) > 0 {
				comment(w, "then: nothing: offline, only files change")
				continue
			}
			for _, e := range st.Effects {
				comment(w, "then: "+effectLine(e))
			}
			for _, g := range st.Gates {
				if g.Stored != nil {
					comment(w, "proven in etcd: "+g.Stored.Words().String())
				}
			}
		}
		if p.Switch != nil {
			for _, m := range p.Switch.Review() {
				comment(w, m.String())
			}
		}
		if p.Handover != nil {
			comment(w, p.Handover.Review().String())
		}
		for _, s := range p.Skipped {
			comment(w, "skipped: "+s.Control+": "+s.String())
		}
	}
	if !printed {
		comment(w, "nothing to do")
	}
	if w.err != nil {
		return fmt.Errorf("writing the diff: %w", cause(w.err))
	}
	return nil
}

func owner(c harden.Check) string {
	switch {
	case c.Control != "":
		return c.Control
	case c.Component != "":
		return string(c.Component)
	}
	return "this node"
}

func because(m harden.Message) string {
	if m.IsZero() {
		return ""
	}
	return ": " + m.String()
}

// rehearsalLines say how a component is rehearsed, and what is left to its gate.
func rehearsalLines(r harden.Rehearsal) []string {
	var means []string
	for _, m := range r.Means() {
		means = append(means, m.String())
	}
	out := []string{fmt.Sprintf("first: %s is rehearsed: %s", r.Component, strings.Join(means, "; "))}
	if !r.Unrehearsed.IsZero() {
		out = append(out, fmt.Sprintf("not rehearsed: %s: %s", r.Component, r.Unrehearsed))
	}
	return append(out, fmt.Sprintf("only the gate tells: %s: %s", r.Component, r.GateOnly))
}

func effectLine(e harden.Effect) string {
	if e.Component == "" {
		return e.Words().String()
	}
	return fmt.Sprintf("%s: %s", e.Component, e.Kind)
}

func comment(w io.Writer, text string) {
	for _, l := range strings.Split(text, "\n") {
		fmt.Fprintln(w, strings.TrimRight("# "+oneLine(l), " "))
	}
}

func printStep(w io.Writer, s harden.Step, people bool) error {
	comment(w, fmt.Sprintf("%s: %s", s.ID, strings.Join(s.Controls(), ", ")))
	if s.Kind == harden.StepDir {
		comment(w, dirLine(s))
	}
	if l := ownerLine(s); l != "" {
		comment(w, l)
	}
	if s.Kind == harden.StepDir {
		return nil
	}
	for _, m := range s.Certificates().Words() {
		comment(w, m.String())
	}
	d, err := diffOf(s)
	if err != nil {
		return err
	}
	if s.Secret {
		for _, part := range []struct {
			what  string
			state harden.State
		}{{"it becomes", s.After}, {"before it is", s.Before}} {
			if part.state.Exists {
				comment(w, "secret content, "+part.what+" sha256 "+part.state.Digest())
			}
		}
		if !s.After.Exists {
			comment(w, "it is removed")
		}
		return nil
	}
	if s.Kind == harden.StepObject {
		comment(w, strings.TrimSuffix(string(d.Unified()), "\n"))
		return nil
	}
	text := d.Unified()
	if people {
		text = []byte(inert(string(text)))
	}
	_, err = w.Write(text)
	return err
}

func dirLine(s harden.Step) string {
	switch {
	case !s.After.Exists:
		return fmt.Sprintf("directory %s is removed if it is empty", s.Path)
	case !s.Before.Exists:
		return fmt.Sprintf("directory %s is made, mode %04o", s.Path, s.After.Mode)
	case s.Before.Mode == s.After.Mode:
		return fmt.Sprintf("directory %s keeps mode %04o", s.Path, s.After.Mode)
	}
	return fmt.Sprintf("directory %s: mode %04o becomes %04o", s.Path, s.Before.Mode, s.After.Mode)
}

// ownerLine says what no diff has a word for.
func ownerLine(s harden.Step) string {
	b, a := s.Before, s.After
	if !b.Exists || !a.Exists || b.UID == a.UID && b.GID == a.GID {
		return ""
	}
	return fmt.Sprintf("owner %d:%d becomes %d:%d", b.UID, b.GID, a.UID, a.GID)
}

// diffOf is a step's difference, named relative to the root.
func diffOf(s harden.Step) (patches.FileDiff, error) {
	name := strings.TrimPrefix(s.Path, "/")
	if s.Kind == harden.StepObject {
		name = s.Object.String()
	}
	d, err := patches.Diff(s.Before.Data, s.After.Data, patches.DiffOptions{
		OldName: name, NewName: name, Created: !s.Before.Exists, Deleted: !s.After.Exists,
		OldMode: s.Before.Mode, NewMode: s.After.Mode,
	})
	if err != nil {
		return d, fmt.Errorf("comparing %s: %w", s.ID, err)
	}
	return d, nil
}
