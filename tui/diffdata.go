package tui

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// target is how one target of a plan changes, ready to be shown.
type target struct {
	step         harden.Step
	name         string
	notes        []string // what a diff of lines cannot say
	short, whole patches.FileDiff
	hidden       string // why the content is not shown although it changes; such a plan is not applied from here
	old, new     map[int][]string
	crlf, mixed  bool
}

// targets of plans, in the order in which they are changed.
func targets(plans []harden.Plan) []target {
	var out []target
	for _, p := range plans {
		for _, s := range p.Steps() {
			out = append(out, newTarget(s))
		}
	}
	return out
}

func newTarget(s harden.Step) target {
	out := target{step: s, name: stepName(s), old: map[int][]string{}, new: map[int][]string{}}
	for _, mark := range s.Marks {
		if mark.Old > 0 {
			out.old[mark.Old] = mark.Controls
		}
		if mark.New > 0 {
			out.new[mark.New] = mark.Controls
		}
	}
	out.notes = stateNotes(s)
	out.notes = append(out.notes, certificateNotes(s)...)
	if s.Secret {
		out.notes = append(out.notes, "secret: its content is never shown", "before  "+fingerprint(s.Before), "after   "+fingerprint(s.After))
		return out
	}
	if s.Kind == harden.StepDir || string(s.Before.Data) == string(s.After.Data) {
		return out
	}
	name := strings.TrimPrefix(out.name, "/")
	o := patches.DiffOptions{
		OldName: name, NewName: name, Created: !s.Before.Exists, Deleted: !s.After.Exists,
		OldMode: s.Before.Mode, NewMode: s.After.Mode,
	}
	var err error
	if out.short, err = patches.Diff(s.Before.Data, s.After.Data, o); err == nil {
		o.Context = -1
		out.whole, err = patches.Diff(s.Before.Data, s.After.Data, o)
	}
	switch {
	case err != nil:
		out.hidden = err.Error()
	case out.short.TooLarge:
		out.hidden = fmt.Sprintf("the difference is too large to be shown: %d lines added, %d removed", out.short.Added, out.short.Removed)
	}
	out.endings()
	return out
}

// endings notes how lines end, where it is not with a line feed alone.
func (f *target) endings() {
	ends := map[string]bool{}
	for _, h := range f.whole.Hunks {
		for _, l := range h.Lines {
			ends[l.EOL] = true
		}
	}
	f.crlf, f.mixed = ends["\r\n"], ends["\r\n"] && ends["\n"]
	switch {
	case f.mixed:
		f.notes = append(f.notes, "some lines end with CRLF: those are marked ^M")
	case f.crlf:
		f.notes = append(f.notes, "lines end with CRLF, and stay so")
	}
}

func stepName(s harden.Step) string {
	if s.Object != nil {
		return s.Object.String()
	}
	if s.Path != "" {
		return s.Path
	}
	return s.ID
}

func fingerprint(s harden.State) string {
	if !s.Exists {
		return "not there"
	}
	return fmt.Sprintf("sha256 %.16s, %d bytes", s.Digest(), len(s.Data))
}

// stateNotes say what happens to the target besides its lines.
func stateNotes(s harden.Step) []string {
	kind := string(s.Kind)
	file := s.Kind != harden.StepObject
	meta := func(st harden.State) string {
		if !file {
			return ""
		}
		return fmt.Sprintf(", mode %04o, owner %d:%d", st.Mode, st.UID, st.GID)
	}
	b, a := s.Before, s.After
	switch {
	case !b.Exists && a.Exists:
		return []string{"new " + kind + meta(a)}
	case b.Exists && !a.Exists:
		return []string{"this " + kind + " is removed" + meta(b)}
	}
	var out []string
	if file && b.Mode != a.Mode {
		out = append(out, fmt.Sprintf("mode %04o becomes %04o", b.Mode, a.Mode))
	}
	out = append(out, ownerNotes(s)...)
	for _, k := range changedXAttrs(b.XAttrs, a.XAttrs) {
		out = append(out, "extended attribute "+k+" changes")
	}
	if len(out) == 0 && string(b.Data) == string(a.Data) {
		out = append(out, "no change")
	}
	return out
}

// ownerNotes say that the target gets another owner, which no diff has a word for.
func ownerNotes(s harden.Step) []string {
	b, a := s.Before, s.After
	if s.Kind == harden.StepObject || !b.Exists || !a.Exists || b.UID == a.UID && b.GID == a.GID {
		return nil
	}
	return []string{fmt.Sprintf("owner %d:%d becomes %d:%d", b.UID, b.GID, a.UID, a.GID)}
}

// certificateNotes say how a renewed certificate differs, which its lines do not show.
func certificateNotes(s harden.Step) []string {
	var out []string
	for _, m := range s.Certificates().Words() {
		out = append(out, m.String())
	}
	return out
}

func changedXAttrs(b, a map[string][]byte) []string {
	var out []string
	for k, v := range b {
		if w, ok := a[k]; !ok || !bytes.Equal(v, w) {
			out = append(out, k)
		}
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// asked are the controls that asked for the changed lines.
func (f *target) asked(lines []patches.Line) []string {
	var out []string
	for _, l := range lines {
		for _, c := range f.controls(l) {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	if len(out) == 0 {
		return f.step.Controls()
	}
	return out
}

// differ says that not every changed line is asked for by all of so many controls.
func (f *target) differ(lines []patches.Line, all int) bool {
	return slices.ContainsFunc(lines, func(l patches.Line) bool {
		by := f.controls(l)
		return l.Op != patches.Equal && len(by) > 0 && len(by) != all
	})
}

func (f *target) controls(l patches.Line) []string {
	switch l.Op {
	case patches.Add:
		return f.new[l.NewNo]
	case patches.Remove:
		return f.old[l.OldNo]
	}
	return nil
}

// unified is the difference as git and patch take it. Objects and secrets are comments.
func unified(fs []target) []byte {
	var b bytes.Buffer
	for _, f := range fs {
		switch text := f.short.Unified(); {
		case f.step.Secret || f.hidden != "" || len(text) == 0:
			said := slices.Clone(f.notes)
			if f.hidden != "" {
				said = append(said, f.hidden)
			}
			fmt.Fprintf(&b, "# %s: %s\n", Inert(f.name, false), Inert(strings.Join(said, "; "), false))
		case f.step.Kind == harden.StepObject:
			for _, l := range strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n") {
				b.WriteString("# " + l)
			}
			b.WriteByte('\n')
		default:
			for _, n := range append(ownerNotes(f.step), certificateNotes(f.step)...) {
				fmt.Fprintf(&b, "# %s: %s\n", Inert(f.name, false), Inert(n, false))
			}
			b.Write(text)
		}
	}
	return b.Bytes()
}
