package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
)

// completeFlags lets the shell complete the flags of a command that take names of the catalogue or a word of few.
func (a *app) completeFlags(cmd *cobra.Command) {
	words := map[string]func(yield func(word, about string)){
		"area": func(yield func(string, string)) {
			for _, area := range a.areas {
				yield(area.ID, area.Title)
			}
		},
		"control": a.eachControl(func(c harden.Control, yield func(string, string)) { yield(c.ID, c.Title) }),
		"accept": func(yield func(string, string)) {
			a.eachControl(func(c harden.Control, yield func(string, string)) { yield(c.ID, c.Title) })(yield)
			for _, c := range harden.Components {
				yield(string(c.ID), "a component that cannot be rehearsed")
			}
		},
		"remedy": a.eachControl(func(c harden.Control, yield func(string, string)) {
			for _, r := range c.Remedies {
				yield(c.ID+"="+r.ID, r.Title.String())
			}
		}),
		"set": a.eachControl(func(c harden.Control, yield func(string, string)) {
			for _, r := range c.Remedies {
				for _, o := range r.Options {
					yield(c.ID+"."+o.Name+"="+o.Default, o.Title.String())
				}
			}
		}),
	}
	if cmd.Name() == "rollback" {
		words["accept"] = func(yield func(string, string)) {
			yield(string(harden.Etcd), "its quorum, while this node's member restarts")
		}
	}
	for flag, list := range words {
		if cmd.Flags().Lookup(flag) == nil {
			continue
		}
		_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			list(func(word, about string) { out = append(out, cobra.CompletionWithDesc(word, about)) })
			return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
		})
	}
}

func (a *app) eachControl(each func(harden.Control, func(string, string))) func(func(string, string)) {
	return func(yield func(string, string)) {
		for _, area := range a.areas {
			for _, c := range area.Controls {
				each(c, yield)
			}
		}
	}
}
