package harden

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// refusal is what controls ask of a target that does not take it.
type refusal struct {
	controls []string
	err      error
	hints    []string // beside what the error itself says to do
}

// refusals are all that a plan cannot have. The rest of it can be had without the controls that asked for them.
type refusals []refusal

func (r refusals) Error() string { return r[0].controls[0] + ": " + r[0].err.Error() }

func (r refusals) Unwrap() []error {
	var out []error
	for _, x := range r {
		out = append(out, x.err)
	}
	return out
}

// of says at which target it was refused.
func (r refusals) of(target string) refusals {
	out := slices.Clone(r)
	for i := range out {
		out[i].err = fmt.Errorf("%s: %w", target, out[i].err)
	}
	return out
}

// refused takes an error for refusals; anything else is an error of the whole plan.
func refused(err error) (refusals, bool) {
	var r refusals
	return r, errors.As(err, &r)
}

// without leaves out the choices of the controls that were refused something: wholly, also where other targets take what they ask.
func (in BuildInput) without(r refusals, taken []Choice) BuildInput {
	skipped := slices.Clone(in.Skipped)
	left := map[string]bool{}
	for i, x := range r {
		for _, control := range x.controls {
			at := slices.IndexFunc(taken, func(c Choice) bool { return c.Control == control })
			if at < 0 || left[control] {
				continue
			}
			left[control] = true
			c := taken[at]
			skipped = append(skipped, Skip{
				Control: control, Remedy: c.Remedy, Reason: Msg("%s", x.err.Error()), Named: c.Named, Refused: true, Hints: r.hints(i),
			})
		}
	}
	in.Skipped = skipped
	in.Choices = slices.DeleteFunc(slices.Clone(in.Choices), func(c Choice) bool { return left[c.Control] })
	return in
}

// hints say what to do about the refusal of an index. What is in the way of several controls is said without what each of them
// asks.
func (r refusals) hints(i int) []string {
	hint := patches.Hint(r[i].err)
	shared := len(r[i].controls) > 1 || slices.ContainsFunc(r, func(o refusal) bool {
		return o.err.Error() == r[i].err.Error() && !slices.Equal(o.controls, r[i].controls)
	})
	var cause *patches.Refusal
	if shared && errors.As(r[i].err, &cause) && cause.Repair != "" {
		hint = cause.Repair + ", or make the changes by hand"
	}
	if hint == "" {
		return r[i].hints
	}
	return append([]string{hint}, r[i].hints...)
}

// looks are commands that show why a path of the node may not be written to: who can change the way to it, and, where something
// is there, whether it is immutable.
func looks(f *Facts, p string, there bool) []string {
	at := Quote(path.Join("/", f.Identity.Root, p))
	if !there {
		return []string{"namei -l " + at, clearTheWay}
	}
	return []string{"namei -l " + at, "lsattr -d " + at, clearTheWay}
}

// clearTheWay is what to do about what those commands show.
const clearTheWay = "then make it a file of its own that only root can change, or make the changes by hand"

// Quote makes one word of POSIX shell.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
