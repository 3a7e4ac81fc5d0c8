// Package staticpod holds the controls that the static pods of the control plane have in common, as data: each area takes
// those that its component needs.
package staticpod

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Pod is a component of the control plane that the kubelet runs from a manifest, and the area of its controls.
type Pod struct {
	Component harden.ComponentID
	Area      string // ids of the controls begin with it
	Name      string // for people, within a sentence: "the API server", "etcd"
}

func (p Pod) id(name string) string { return p.Area + "-" + name }

// title renders a title that begins with the name, or has it later.
func (p Pod) title(format string) string {
	text := harden.Msg(format, p.Name).String()
	return strings.ToUpper(text[:1]) + text[1:]
}

// first is the name at the beginning of a sentence.
func (p Pod) first() string { return strings.ToUpper(p.Name[:1]) + p.Name[1:] }

func (p Pod) needs() []harden.Need { return []harden.Need{harden.Need(p.Component)} }

// Restarts is what a change of the component's flags does, for a remedy's impact.
func (p Pod) Restarts() harden.Message {
	if p.Component == harden.APIServer {
		return harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute.")
	}
	return harden.Msg("%s of this node restarts once; the API stays, and running workloads are not concerned.", p.first())
}

const staticPods = "https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"

// Manifest are the controls that ask whether the manifest is the one that runs. Until it is, nothing else of the component
// can be trusted or changed.
func (p Pod) Manifest() []harden.Control {
	return []harden.Control{
		{
			ID:    p.id("rival-manifest"),
			Title: p.title("One file defines %s"),
			Why: harden.Msg("The kubelet reads every file in the static pod directory whose name does not begin with a dot, whatever its ending. "+
				"Where two define the same pod, the last by name wins: a forgotten %s.bak beats the file that everybody edits. "+
				"Move the others to another directory; %s restarts if the file that the kubelet obeys changes by that.", p.manifest(), p.Name),
			Refs:     harden.Refs{Docs: []string{staticPods, "https://github.com/kubernetes/kubernetes/issues/136962"}},
			Severity: harden.High,
			Needs:    p.needs(),
			Applies:  harden.RunsHere(p.Component),
			Assess:   p.assessRivals,
			Remedies: []harden.Remedy{p.withoutRivals()},
		},
		{
			ID:    p.id("running-arguments"),
			Title: p.title("%s runs what its manifest says"),
			Why: harden.Msg("A live process whose flags differ from its manifest was started from another file or from an older one, or the kubelet could not start the new one. "+
				"What is written in the file then says nothing about how %s behaves, and the next restart changes it without warning. "+
				"Find out which of the two is meant, and let the kubelet restart the pod from it.", p.Name),
			Refs:     harden.Refs{Docs: []string{staticPods}},
			Severity: harden.High,
			Needs:    p.needs(),
			Applies:  harden.RunsHere(p.Component),
			Assess:   p.assessDrift,
		},
	}
}

func (p Pod) manifest() string {
	c, _ := harden.ComponentByID(p.Component)
	return c.Manifest
}

func (p Pod) assessRivals(f *harden.Facts) harden.Verdict {
	c := f.Component(p.Component)
	own := harden.Evidence{Source: c.Manifest.Path, Value: harden.Msg("defines %s", p.Name).String()}
	if len(c.Rivals) == 0 {
		return harden.Passed(harden.Msg("only %s defines %s", c.Manifest.Path, p.Name), own)
	}
	evidence := []harden.Evidence{own}
	for _, r := range c.Rivals {
		evidence = append(evidence, harden.Evidence{Source: r, Value: harden.Msg("defines %s too", p.Name).String()})
	}
	v := harden.Failed(harden.Msg("%s defines %s too, and the kubelet obeys %s; move what is not meant out of the directory",
		strings.Join(c.Rivals, ", "), p.Name, c.Effective), evidence...)
	for _, r := range c.Rivals {
		v = v.ByHand(harden.Aside(f, r))
	}
	return v
}

func (p Pod) assessDrift(f *harden.Facts) harden.Verdict {
	c := f.Component(p.Component)
	switch {
	case f.Identity.Offline:
		return harden.NotFor(harden.Msg("nothing runs from this root"))
	case c.Process == nil:
		return harden.NeedsPerson(harden.Msg("no live instance of %s was seen; find out whether it runs", p.Name),
			harden.Evidence{Source: c.Effective, Value: harden.Msg("defines %s", p.Name).String()})
	case !c.Drifted():
		return harden.Passed(harden.Msg("process %d has the arguments of %s", c.Process.PID, c.Effective),
			harden.Evidence{Source: c.Effective, Value: harden.Msg("%d arguments, as process %d has", len(c.Args), c.Process.PID).String()})
	}
	return harden.Failed(harden.Msg("process %d has other arguments than %s", c.Process.PID, c.Effective), differing(c)...)
}

// differing names the flags on which the file and the process disagree, as each has them.
func differing(c *harden.ComponentFacts) []harden.Evidence {
	var names []string
	for _, args := range [][]string{c.Args, c.Process.Args} {
		for _, flag := range patches.ParseArgs(args) {
			if !slices.Contains(names, flag.Name) {
				names = append(names, flag.Name)
			}
		}
	}
	slices.Sort(names)
	var out []harden.Evidence
	for _, name := range names {
		file, live := c.FileFlag(name), c.Flag(name)
		if fmt.Sprint(file.Values) != fmt.Sprint(live.Values) {
			out = append(out, file.Evidence(name), live.Evidence(name))
		}
	}
	return out
}
