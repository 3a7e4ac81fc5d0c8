package files

import (
	"fmt"
	"path"
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
			v := harden.Failed(harden.Msg("%s: %s; move it out of the directory", strays[0].Source, strays[0].Value), strays...)
			for i, p := range f.StaticPods {
				if putAside(f.StaticPods, i) {
					v = v.ByHand(harden.Aside(f, p.Path))
				}
			}
			return v
		case len(pods) == 0:
			return harden.Passed(harden.Msg("no file defines a static pod"), harden.Evidence{Source: staticPodDir(f), Value: "no files"})
		}
		return harden.Passed(harden.Msg("%d files, each defines a pod of its own", len(pods)), pods...)
	},
	Remedies: []harden.Remedy{withoutStrays},
}

// withoutStrays takes those away of which it is certain that they are not meant. Rivals of a component's manifest are that one's.
var withoutStrays = harden.Remedy{
	ID: "remove-copies", Title: harden.Msg("Remove copies and what is no manifest; they are kept with the transaction"), Risk: harden.RiskWorkloads, NodeOnly: true,
	Impact: harden.Msg("The kubelet stops a pod that only a copy defines, and starts one anew whose copy it has obeyed from the file that is left. Nothing else restarts."),
	Breaks: []harden.Message{harden.Msg("A pod that ran from a copy alone is gone, and what it served does not answer.")},
	Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
		var out []harden.Intent
		var left []string
		for i, p := range f.StaticPods {
			switch {
			case stray(f.StaticPods, i).IsZero():
			case p.Component == "" && putAside(f.StaticPods, i):
				out = append(out, harden.RemoveFile(p.Path))
			default:
				left = append(left, p.Path)
			}
		}
		if len(out) == 0 && len(left) > 0 {
			return nil, fmt.Errorf("which file is not meant is for a person to say, or for the control of the component that it defines: %s", strings.Join(left, ", "))
		}
		return out, nil
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
	case namedLikeACopy(p.Path):
		return harden.Msg("it is named like a copy put aside, and runs as %s/%s", p.Namespace, p.Name)
	}
	return harden.Message{}
}

func namedLikeACopy(file string) bool {
	return slices.ContainsFunc(copyNames, func(end string) bool { return strings.HasSuffix(strings.ToLower(file), end) })
}

// putAside says that a stray file is the one to go: a copy by its name, what is no manifest by its name either, or the one of two
// that the kubelet does not obey. A manifest that is broken is somebody's to mend.
func putAside(all []harden.StaticPodFact, i int) bool {
	p := all[i]
	if stray(all, i).IsZero() {
		return false
	}
	manifest := slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(path.Ext(p.Path)))
	twins := func(which func(o harden.StaticPodFact) bool) bool {
		return slices.ContainsFunc(all, func(o harden.StaticPodFact) bool {
			return o.Path != p.Path && o.Broken.IsZero() && o.Name == p.Name && o.Namespace == p.Namespace && which(o)
		})
	}
	switch {
	case p.Component != "" && !slices.ContainsFunc(all, func(o harden.StaticPodFact) bool { return o.Path != p.Path && o.Component == p.Component }):
		return false // it is all that the component has
	case namedLikeACopy(p.Path):
		return true
	case !p.Broken.IsZero():
		return !manifest
	}
	return twins(func(o harden.StaticPodFact) bool { return o.Path > p.Path }) &&
		!twins(func(o harden.StaticPodFact) bool { return namedLikeACopy(o.Path) })
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
