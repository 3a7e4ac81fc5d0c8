package cli

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// nearest are the known names that an unknown one may have been meant for: those a few letters away, or else those that
// share a word with it.
func nearest(err *harden.UnknownNameError) []string {
	type near struct {
		name  string
		edits int
	}
	var found []near
	for _, k := range err.Known {
		if d := edits(err.Name, k); d <= max(2, len(k)/5) {
			found = append(found, near{k, d})
		}
	}
	if len(found) == 0 {
		return err.Nearest()
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.edits - b.edits })
	var names []string
	for _, n := range found[:min(len(found), 3)] {
		names = append(names, n.name)
	}
	return names
}

// edits is how many letters have to be put in, taken out or changed to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
