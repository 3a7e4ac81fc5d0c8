package harden

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// End is when something is good no longer.
type End struct {
	Name string    // its file, with the user for one in a kubeconfig
	Key  string    // "RSA 2048"
	CA   bool      // its end is everything's that it has signed
	At   time.Time // when it ends
	Days int       // whole ones that are left; negative once it has ended
}

const (
	months     = 12 // columns of a year
	soonDays   = 30
	endColumns = 43 // of what stands before a name
	usualDir   = "/etc/kubernetes/"
)

// DrawEnds are a table of ends with a timeline of a year, the first one to end on top, in ASCII, for a width of 60 columns and more.
// Names too long for it lose their beginning.
func DrawEnds(ends []End, width int) []string {
	if len(ends) == 0 {
		return nil
	}
	sorted := slices.Clone(ends)
	slices.SortStableFunc(sorted, func(a, b End) int { return a.At.Compare(b.At) })
	out := []string{fmt.Sprintf("%-10s  %5s [%-*s] %-9s %s", "ends on", "left", months, "12 months", "key", "file, below "+usualDir)}
	for _, e := range sorted {
		name := strings.TrimPrefix(e.Name, usualDir)
		if e.CA {
			name = "CA " + name
		}
		if r := []rune(name); len(r) > max(width-endColumns, 8) {
			name = "..." + string(r[len(r)-max(width-endColumns, 8)+3:])
		}
		out = append(out, fmt.Sprintf("%s  %5s [%-*s] %-9s %s", e.At.UTC().Format(time.DateOnly), left(e.Days), months, lifeline(e.Days), e.Key, name))
	}
	return out
}

func left(days int) string {
	if days < 0 {
		return "ended"
	}
	return fmt.Sprintf("%dd", days)
}

// lifeline is a bar of the months that are left, the one that has begun included: "!" in the last one, "+" at the end of a year and
// more.
func lifeline(days int) string {
	switch {
	case days < 0:
		return ""
	case days < soonDays:
		return "!"
	case days > 365:
		return strings.Repeat("=", months-1) + "+"
	}
	return strings.Repeat("=", min(days*months/365+1, months))
}
