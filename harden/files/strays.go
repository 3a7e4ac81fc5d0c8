package files

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// copyNames end the names of files that people and package managers put aside.
var copyNames = []string{
	".bak", ".backup", ".old", ".orig", ".save", ".sav", ".tmp", ".disabled", ".off", ".swp", "~",
	".rpmsave", ".rpmnew", ".rpmorig", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".ucf-old", ".ucf-dist",
}

var strayManifests = harden.Control{
	ID: "files-stray-manifests", Title: "The static pod directory holds only pods that are meant to run", Severity: harden.High,
	Why: harden.Msg("The kubelet reads every file in that directory whose name does not begin with a dot, whatever its ending: a copy that somebody put aside runs, " +
		"and of two files that define one pod the last by name wins. What is no pod is read again and again, and hides the day when a manifest that matters breaks. " +
		"Move such files to another directory. That stops a pod which only they define."),
	Refs: harden.Refs{Docs: []string{
		"https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/", "https://github.com/kubernetes/kubernetes/issues/136962",
	}},
	Needs:   []harden.Need{harden.NeedStaticPods},
	Applies: kubernetesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		var strays, pods []harden.Evidence
		for i, p := range f.StaticPods {
			switch why := stray(f.StaticPods, i); {
			case !why.IsZero():
				strays = append(strays, harden.Evidence{Source: p.Path, Value: why.String()})
			default:
				pods = append(pods, harden.Evidence{Source: p.Path, Value: "defines " + p.Namespace + "/" + p.Name})
			}
		}
		switch {
		case len(strays) > 0:
			return harden.Failed(harden.Msg("%s: %s; move it out of the directory", strays[0].Source, strays[0].Value), strays...)
		case len(pods) == 0:
			return harden.Passed(harden.Msg("no file defines a static pod"), harden.Evidence{Source: staticPodDir(f), Value: "no files"})
		}
		return harden.Passed(harden.Msg("%d files, each defines a pod of its own", len(pods)), pods...)
	},
}

// stray says why a file is not meant to be there. Rivals of a component's own manifest are that component's finding.
func stray(all []harden.StaticPodFact, i int) harden.Message {
	p := all[i]
	if !p.Broken.IsZero() {
		return p.Broken
	}
	twin := slices.IndexFunc(all, func(o harden.StaticPodFact) bool {
		return o.Path != p.Path && o.Name == p.Name && o.Namespace == p.Namespace
	})
	switch {
	case p.Component == "" && twin >= 0:
		return harden.Msg("it defines %s/%s, as %s does", p.Namespace, p.Name, all[twin].Path)
	case slices.ContainsFunc(copyNames, func(end string) bool { return strings.HasSuffix(strings.ToLower(p.Path), end) }):
		return harden.Msg("it is named like a copy put aside, and runs as %s/%s", p.Namespace, p.Name)
	}
	return harden.Message{}
}

// strayAt says why the file at a path is not meant to be there, be that this area's finding or a component's.
func strayAt(f *harden.Facts, file string) harden.Message {
	for i, p := range f.StaticPods {
		if p.Path != file {
			continue
		}
		if why := stray(f.StaticPods, i); !why.IsZero() {
			return why
		}
		if c := f.Component(p.Component); c != nil && slices.Contains(c.Rivals, file) {
			return harden.Msg("it defines %s, as %s does", p.Component, c.Manifest.Path)
		}
	}
	return harden.Message{}
}
