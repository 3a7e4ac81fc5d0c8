package apiserver

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// pluginFlags name admission plugins; a name that the API server does not know is refused in each.
var pluginFlags = []string{enableFlag, disableFlag, exactFlag}

// leftPlugin is an admission plugin that a newer release does not have.
type leftPlugin struct {
	name, flag string
	last       harden.Version // that has it; zero: no supported one
	seen       harden.Evidence
}

// leftPlugins are those of the process, the manifest and kubeadm's configuration, each once for a flag.
func leftPlugins(f *harden.Facts) []leftPlugin {
	c := f.Component(harden.APIServer)
	var out []leftPlugin
	for _, name := range pluginFlags {
		from := []harden.FlagFact{c.Flag(name), c.FileFlag(name)}
		if f.Cluster != nil && f.Cluster.Kubeadm != nil {
			kept, _ := f.Cluster.Kubeadm.Flag(harden.APIServer, name)
			from = append(from, kept)
		}
		for _, flag := range from {
			for _, plugin := range flag.List() {
				last, removed := harden.LastPlugin(plugin)
				if last.IsZero() && c.Version.AtLeast(harden.NewestSupported.Major, harden.NewestSupported.Minor+1) {
					continue // only its own program knows what came after those that are supported
				}
				if removed && !slices.ContainsFunc(out, func(l leftPlugin) bool { return l.name == plugin && l.flag == name }) {
					out = append(out, leftPlugin{plugin, name, last, flag.Evidence(name)})
				}
			}
		}
	}
	return out
}

var removedPlugins = harden.Control{
	ID: "apiserver-removed-admission-plugins", Title: "No admission plugin is left behind that newer releases of the API server refuse", Severity: harden.High,
	Why: harden.Msg("The API server does not start with the name of an admission plugin that it does not have, whether it is to be turned on or off. " +
		"SecurityContextDeny went with 1.30, PodSecurityPolicy before, and others with later releases. The next upgrade then fails, and what such a plugin refused is refused by nobody any more."),
	Refs: harden.Refs{
		Seed: []string{seed}, Docs: []string{"https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/", "https://kubernetes.io/docs/concepts/security/pod-security-admission/"},
	},
	Component: harden.APIServer, Flags: pluginFlags,
	Needs: needs, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		c := f.Component(harden.APIServer)
		found := leftPlugins(f)
		if len(found) == 0 {
			return harden.Passed(harden.Msg("every admission plugin that is named is there up to %s", harden.NewestSupported), c.Flag(enableFlag).Evidence(enableFlag))
		}
		first := found[0]
		var seen []harden.Evidence
		for _, l := range found {
			if !slices.Contains(seen, l.seen) {
				seen = append(seen, l.seen)
			}
			if l.last.Minor < first.last.Minor {
				first = l
			}
		}
		if first.last.IsZero() || !c.Version.IsZero() && !first.last.AtLeast(c.Version.Major, c.Version.Minor) {
			return harden.Failed(harden.Msg("%s has no admission plugin %s: the API server does not start with it", c.Version, first.name), seen...)
		}
		return harden.Failed(harden.Msg("the admission plugin %s is not there any more from 1.%d on: the API server does not start with it after that upgrade", first.name, first.last.Minor+1), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "remove", Title: harden.Msg("Take the plugins out; others stay as they are"), Risk: harden.RiskWorkloads, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("What a plugin still refuses is let in from now on: for SecurityContextDeny and PodSecurityPolicy the Pod Security Standards take its place, by labels of namespaces. Set these before."),
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			c := f.Component(harden.APIServer)
			if out := withoutLeft(f, c.FileFlag, func(i harden.Intent) harden.Intent { return i }); len(out) > 0 || f.Cluster == nil || f.Cluster.Kubeadm == nil {
				return out, nil // kubeadm's configuration follows the node
			}
			kept := func(name string) harden.FlagFact {
				flag, _ := f.Cluster.Kubeadm.Flag(harden.APIServer, name)
				return flag
			}
			return withoutLeft(f, kept, func(i harden.Intent) harden.Intent {
				i.Object = &harden.KubeadmConfig
				return i
			}), nil
		},
	}},
}

// withoutLeft takes the plugins out of the lists that have them in one place.
func withoutLeft(f *harden.Facts, list func(string) harden.FlagFact, where func(harden.Intent) harden.Intent) []harden.Intent {
	var out []harden.Intent
	for _, name := range pluginFlags {
		flag := list(name)
		var drop []string
		for _, l := range leftPlugins(f) {
			if l.flag == name && flag.Has(l.name) {
				drop = append(drop, l.name)
			}
		}
		switch {
		case len(drop) == 0:
		case len(drop) == len(flag.List()):
			out = append(out, where(harden.RemoveFlag(harden.APIServer, name)))
		default:
			out = append(out, where(harden.MergeList(harden.APIServer, name, nil, drop)))
		}
	}
	return out
}
