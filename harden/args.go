package harden

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/patches"
)

// normalArgs writes a command line as sorted "name=value" lines. Repeats of one flag keep their order, as the sort is
// stable and by name only.
func normalArgs(args []string) []string {
	flags := patches.ParseArgs(args)
	slices.SortStableFunc(flags, func(a, b patches.Flag) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	out := make([]string, len(flags))
	for i, f := range flags {
		v := f.Value
		if !f.HasValue {
			v = "true"
		}
		out[i] = f.Name + "=" + v
	}
	return out
}

// SameArgs compares two command lines as sets of flags: order counts only among repeats of one flag.
func SameArgs(a, b []string) bool { return slices.Equal(normalArgs(a), normalArgs(b)) }
