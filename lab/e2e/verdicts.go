//go:build linux

package main

import "encoding/json"

// verdicts are the statuses of all controls, by id.
func (t *T) verdicts() map[string]string { return t.assessed() }

// verdictsOf are those of the controls that a profile asks for.
func (t *T) verdictsOf(profile string) map[string]string { return t.assessed("--profile", profile) }

// assessed wants that what is counted is what is listed.
func (t *T) assessed(args ...string) map[string]string {
	var a struct {
		Summary  map[string]int
		Findings []struct{ Control, Status string }
	}
	out := t.must(0, append([]string{"assess", "-o", "json"}, args...)...)
	t.need(json.Unmarshal([]byte(out.stdout), &a))
	verdicts, counts := map[string]string{}, map[string]int{}
	for _, f := range a.Findings {
		verdicts[f.Control] = f.Status
		counts[f.Status]++
	}
	for status, n := range a.Summary {
		if counts[status] != n {
			t.errorf("assess %q: the summary counts %d as %s, and %d findings are", args, n, status, counts[status])
		}
	}
	return verdicts
}

// skipped is a control that a plan leaves out; Way says by what it could be taken.
type skipped struct{ Control, Reason, Way string }

// leftOutBy are those that a profile does not take here.
func (t *T) leftOutBy(profile string) (out []skipped) {
	var planned struct {
		Plans []struct{ Skipped []skipped }
	}
	t.need(json.Unmarshal([]byte(t.must(0, "plan", "--profile", profile, "-o", "json").stdout), &planned))
	for _, p := range planned.Plans {
		out = append(out, p.Skipped...)
	}
	return out
}
