package cli

import (
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// columns is the width that a table is made for.
const columns = 80

// printEnds draws when what the controls of an area look at ends.
func (a *app) printEnds(f *harden.Facts, area harden.Area) {
	var all []harden.End
	for _, c := range area.Controls {
		if c.Ends != nil {
			all = slices.Concat(all, c.Ends(f))
		}
	}
	for i, line := range harden.DrawEnds(all, columns-2) {
		if i == 0 {
			fmt.Fprintln(a.Out)
		}
		fmt.Fprintf(a.Out, "  %s\n", oneLine(line))
	}
}
