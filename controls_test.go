package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

var update = flag.Bool("update", false, "write docs/controls.md anew")

// TestControlsAreDocumented: docs/controls.md is what the catalogue says. `make docs` writes it anew.
func TestControlsAreDocumented(t *testing.T) {
	const file = "docs/controls.md"
	want := controls(catalog.Areas())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the catalogue says; write it anew with: make docs", file)
	}
}

func controls(areas []harden.Area) string {
	var b strings.Builder
	fmt.Fprint(&b, "# Controls\n\nWritten from the catalogue by `make docs`. CIS ids are those of the Kubernetes Benchmarks 1.10 to 1.12, with their level\n"+
		"and who settles them (benchmarks.md says where that was found). `--all` takes remedies whose risk is the node's own, and none that is literal.\n")
	for _, a := range areas {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", a.Title, a.About)
		for _, c := range a.Controls {
			document(&b, c)
		}
	}
	return b.String()
}

func document(b *strings.Builder, c harden.Control) {
	fmt.Fprintf(b, "\n### %s\n\n%s. Severity %s; %s.\n\n%s\n\n", c.ID, c.Title, c.Severity, c.Versions, c.Why)
	for _, l := range c.Refs.BenchmarkLines() {
		fmt.Fprintf(b, "- %s: %s\n", l.Label, l.Text)
	}
	for _, r := range []struct {
		name string
		ids  []string
	}{{"STIG", c.Refs.STIG}, {"NSA", c.Refs.NSA}, {"Seed", c.Refs.Seed}, {"Docs", c.Refs.Docs}} {
		if len(r.ids) > 0 {
			fmt.Fprintf(b, "- %s: %s\n", r.name, strings.Join(r.ids, ", "))
		}
	}
	if len(c.Remedies) == 0 {
		fmt.Fprint(b, "- no remedy: the control says what to do by hand\n")
	}
	for _, r := range c.Remedies {
		literal := ""
		if r.Literal {
			literal = ", literal"
		}
		fmt.Fprintf(b, "- remedy `%s`: %s. Risk: %s%s; %s.\n", r.ID, r.Title, r.Risk, literal, r.Versions)
		for _, o := range r.Options {
			fmt.Fprintf(b, "  - option `%s` (%s, default `%s`): %s\n", o.Name, o.Kind, o.Default, o.Title)
			chosen := chosenBy(c.ID, r.ID, o.Name)
			for _, value := range slices.Sorted(maps.Keys(chosen)) {
				fmt.Fprintf(b, "    - `--profile` %s: `%s`\n", strings.Join(chosen[value], ", "), value)
			}
		}
		if r.Proofs == nil && slices.ContainsFunc(harden.Components, func(known harden.Component) bool { return known.ID == c.Component && !known.Loads() }) {
			fmt.Fprint(b, "  - shown by the arguments of the new process and by its health alone\n")
		}
		for _, m := range r.Breaks {
			fmt.Fprintf(b, "  - may break: %s\n", m)
		}
	}
}

// chosenBy are the values of an option that profiles want otherwise than by default, with these profiles.
func chosenBy(control, remedy, option string) map[string][]string {
	out := map[string][]string{}
	for _, p := range catalog.Profiles() {
		for _, c := range p.Choices {
			if value, sets := c.Options[option]; sets && c.Control == control && c.Remedy == remedy {
				out[value] = append(out[value], p.ID)
			}
		}
	}
	return out
}
