package cli

import (
	"maps"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// words are the selection as it was given on the command line, not quoted.
func (s *selectFlags) words() []string {
	var out []string
	if s.all {
		out = append(out, "--all")
	}
	for _, f := range []struct {
		flag   string
		values []string
	}{
		{"--profile", []string{s.profile}}, {"--area", []string{strings.Join(s.areas, ",")}}, {"--control", []string{strings.Join(s.controls, ",")}},
		{"--remedy", s.remedies}, {"--set", s.set}, {"--file", []string{s.file}}, {"--accept", []string{strings.Join(s.accept, ",")}},
	} {
		for _, v := range f.values {
			if v != "" {
				out = append(out, f.flag, v)
			}
		}
	}
	if s.confirmWithin != 0 {
		out = append(out, "--confirm-within", s.confirmWithin.String())
	}
	return out
}

// pasted makes a part of a command of words.
func pasted(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}

// chosenIn are words that select what plans were made of.
func chosenIn(areas []harden.Area, plans []harden.Plan) []string {
	choices := map[string]harden.Choice{}
	var controls, accepted []string
	for _, p := range plans {
		for _, c := range p.Choices {
			if _, twice := choices[c.Control]; !twice {
				controls = append(controls, c.Control)
			}
			choices[c.Control] = c
		}
		for _, id := range p.Accepted {
			if !slices.Contains(accepted, string(id)) {
				accepted = append(accepted, string(id))
			}
		}
	}
	s := &selectFlags{controls: controls}
	for _, id := range controls {
		c := choices[id]
		// A control of one remedy needs no word for it.
		if _, control, ok := harden.FindControl(areas, id); c.Remedy != "" && (!ok || len(control.Remedies) > 1) {
			s.remedies = append(s.remedies, id+"="+c.Remedy)
		}
		for _, option := range slices.Sorted(maps.Keys(c.Options)) {
			s.set = append(s.set, id+"."+option+"="+c.Options[option])
		}
		if c.Accept {
			s.accept = append(s.accept, id)
		}
	}
	s.accept = append(s.accept, accepted...)
	return s.words()
}

// withSelection completes the hints that say to plan again: what is planned is the same once more, and an undo is planned by
// rollback.
func (e *engine) withSelection(p harden.Plan, res harden.Result) harden.Result {
	selected := e.selected
	if len(selected) == 0 {
		selected = chosenIn(e.areas, []harden.Plan{p})
	}
	for i, h := range res.Hints {
		rest, again := strings.CutPrefix(h, program+" plan")
		switch {
		case !again:
			continue
		case p.Undoes == "":
			h = program + " plan " + pasted(selected) + rest
		default:
			h = program + " rollback " + p.Undoes
			if len(p.UndoesControls) == 1 {
				h += " --control " + p.UndoesControls[0]
			}
			h += " --dry-run"
		}
		res.Hints = slices.Clone(res.Hints)
		res.Hints[i] = h
	}
	return res
}
