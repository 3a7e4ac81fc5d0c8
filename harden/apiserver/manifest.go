package apiserver

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// manifestControls ask whether the manifest is the one that runs. Until it is, nothing else here can be trusted or changed.
var manifestControls = []harden.Control{
	{
		ID:    "apiserver-rival-manifest",
		Title: "One file defines the API server",
		Why: harden.Msg("The kubelet reads every file in the static pod directory whose name does not begin with a dot, whatever its ending. " +
			"Where two define the same pod, the last by name wins: a forgotten kube-apiserver.yaml.bak beats the file that everybody edits. " +
			"Move the others to another directory; the API server restarts if the file that the kubelet obeys changes by that."),
		Refs: harden.Refs{Docs: []string{
			"https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/",
			"https://github.com/kubernetes/kubernetes/issues/136962",
		}},
		Severity: harden.High,
		Needs:    needs,
		Applies:  applies,
		Assess:   assessRivals,
	},
	{
		ID:    "apiserver-running-arguments",
		Title: "The API server runs what its manifest says",
		Why: harden.Msg("A live process whose flags differ from its manifest was started from another file or from an older one, or the kubelet could not start the new one. " +
			"What is written in the file then says nothing about how the API server behaves, and the next restart changes it without warning. " +
			"Find out which of the two is meant, and let the kubelet restart the pod from it."),
		Refs:     harden.Refs{Docs: []string{"https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"}},
		Severity: harden.High,
		Needs:    needs,
		Applies:  applies,
		Assess:   assessDrift,
	},
}

func assessRivals(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	own := harden.Evidence{Source: c.Manifest.Path, Value: "defines the API server"}
	if len(c.Rivals) == 0 {
		return harden.Passed(harden.Msg("only %s defines the API server", c.Manifest.Path), own)
	}
	evidence := []harden.Evidence{own}
	for _, r := range c.Rivals {
		evidence = append(evidence, harden.Evidence{Source: r, Value: "defines the API server too"})
	}
	return harden.Failed(harden.Msg("%s defines the API server too, and the kubelet obeys %s; move what is not meant out of the directory",
		strings.Join(c.Rivals, ", "), c.Effective), evidence...)
}

func assessDrift(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	switch {
	case f.Identity.Offline:
		return harden.NotFor(harden.Msg("nothing runs from this root"))
	case c.Process == nil:
		return harden.NeedsPerson(harden.Msg("no live API server was seen; find out whether it runs"), harden.Evidence{Source: c.Effective, Value: "defines the API server"})
	case !c.Drifted():
		return harden.Passed(harden.Msg("process %d has the arguments of %s", c.Process.PID, c.Effective))
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
