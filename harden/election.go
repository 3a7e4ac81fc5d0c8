package harden

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Election is how a component shows that it works that works only while it is elected.
type Election struct {
	Leases    []string // that it renews, in kube-system; none: it is not elected
	Elsewhere bool     // its lease is in another namespace
	Unknown   Message  // why it is not known which leases are its own
}

// Elected is by which leases a component shows that it works when it runs with these arguments: a flag counts, and where it is not
// set what the configuration file says that the arguments name (k8s.io/kubernetes: cmd/kube-scheduler/app/options/options.go).
func (f *Facts) Elected(c Component, args []string) Election {
	e := Election{Leases: slices.Clone(c.Leases)}
	if len(e.Leases) == 0 {
		return e
	}
	flags := patches.ParseArgs(args)
	on, space := true, "kube-system"
	for _, fl := range flags {
		if fl.Name == "config" && fl.Value != "" {
			said, why := f.electionIn(c.ID, fl.Value)
			if e.Unknown = why; !why.IsZero() {
				break
			}
			if said.LeaderElect != nil {
				on = *said.LeaderElect
			}
			if said.ResourceName != "" {
				e.Leases = []string{said.ResourceName}
			}
			if said.ResourceNamespace != "" {
				space = said.ResourceNamespace
			}
		}
	}
	for _, fl := range flags {
		switch fl.Name {
		case "leader-elect":
			if on = !fl.HasValue || fl.Value == "true"; !on {
				e.Unknown = Message{}
			}
		case "leader-elect-resource-name":
			e.Leases = []string{fl.Value}
		case "leader-elect-resource-namespace":
			space = fl.Value
		}
	}
	if !on {
		return Election{Unknown: e.Unknown}
	}
	e.Elsewhere = space != "kube-system"
	return e
}

// leaderElection is that section of a component's configuration file.
type leaderElection struct {
	LeaderElect       *bool  `json:"leaderElect"`
	ResourceName      string `json:"resourceName"`
	ResourceNamespace string `json:"resourceNamespace"`
}

func (f *Facts) electionIn(id ComponentID, inContainer string) (leaderElection, Message) {
	var config struct {
		LeaderElection leaderElection `json:"leaderElection"`
	}
	var file Referred
	if f != nil {
		file = f.Referred(id, inContainer)
	}
	if !file.Known || !file.State.Exists {
		return config.LeaderElection, Msg("what its configuration %s says is not known here", inContainer)
	}
	if err := ReadYAML(file.State.Data, &config); err != nil {
		return config.LeaderElection, Msg("its configuration %s cannot be read: %s", file.Path, err)
	}
	return config.LeaderElection, Message{}
}
