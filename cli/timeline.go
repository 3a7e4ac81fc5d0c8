package cli

import (
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/certificates"
)

// timelineWidth is a year in columns; what ends later is drawn to the edge.
const timelineWidth = 24

// printTimeline draws how long certificates are good, the first one to end on top.
func (a *app) printTimeline(f *harden.Facts) {
	rows := [][]string{}
	for _, r := range certificates.Timeline(f) {
		name := r.Name
		if r.CA {
			name += " (CA)"
		}
		rows = append(rows, []string{"  " + r.NotAfter.UTC().Format("2006-01-02"), left(r.Days), lifeline(r.Days), name})
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(a.Out, "\n  good until   one year, from today\n")
	table(a.Out, rows)
}

func left(days int) string {
	switch {
	case days < 0:
		return "ended"
	case days == 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", days)
}

// lifeline is a bar of the days that are left: "|======            |", with "+" at its end beyond a year.
func lifeline(days int) string {
	n := min(max(days, 0)*timelineWidth/365, timelineWidth)
	bar := strings.Repeat("=", n)
	if days > 365 {
		bar = bar[:timelineWidth-1] + "+"
	}
	return "|" + bar + strings.Repeat(" ", timelineWidth-len(bar)) + "|"
}
