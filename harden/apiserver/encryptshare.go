package apiserver

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Several control planes take turns: one makes a key, each of the others takes over a copy of its file, and only what all of them can
// read is written with, by one after the other. Whoever is last writes everything anew.

// incoming is the file to take over, unless it is the one that is in use here already.
func incoming(f *harden.Facts) *harden.EncryptionFact {
	in := f.IncomingEncryption
	if in == nil || f.Encryption != nil && f.Encryption.SHA256 == in.SHA256 {
		return nil
	}
	return in
}

// adopt takes the file over, and away from where it came.
func adopt(f *harden.Facts, path string) []harden.Intent {
	in := f.IncomingEncryption
	return []harden.Intent{harden.AdoptKeys(path, in.Path, in.SHA256), harden.RemoveFile(in.Path)}
}

// otherControlPlanes by the cluster's Node objects and by the API servers that were asked.
func otherControlPlanes(f *harden.Facts) []string {
	if f.Cluster == nil {
		return nil
	}
	var out []string
	add := func(name string) {
		if name != f.Identity.Node && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, n := range f.Cluster.Nodes {
		if n.ControlPlane {
			add(n.Name)
		}
	}
	for _, k := range f.Cluster.Keys {
		add(k.Node)
	}
	return out
}

// followers says who still writes as before, where that is so for anybody.
func followers(f *harden.Facts) harden.Message {
	if f.Cluster == nil || f.Encryption == nil {
		return harden.Message{}
	}
	var behind []string
	for _, k := range f.Cluster.Keys {
		if k.Node != f.Identity.Node && k.SHA256 == f.Encryption.SHA256 {
			behind = append(behind, k.Node)
		}
	}
	if behind == nil {
		return harden.Message{}
	}
	return harden.Msg("%s write as before: run it on each of them too; the last one writes everything anew", strings.Join(behind, ", "))
}

// sharedKey: each control plane has to be able to read what any other one writes. That they have read the same, or what is one change
// apart, is checked against the steps of the plan; this is about what there is to take over when a remedy begins.
func sharedKey(f *harden.Facts, begins phase) harden.Precondition {
	p := harden.Precondition{ID: "shared-key", Title: harden.Msg("every control plane can read what another one writes"), State: harden.PreconditionUnknown}
	for _, need := range []harden.Need{harden.NeedNodes, harden.NeedKeys} {
		if why, missing := f.Missing[need]; missing {
			p.Message = harden.Msg("which control planes there are, and what they encrypt with, is not known: %s", why.String())
			return p
		}
	}
	if f.Cluster == nil {
		p.Message = harden.Msg("the cluster's API cannot be asked for its nodes")
		return p
	}
	own := ""
	if f.Encryption != nil {
		own = f.Encryption.SHA256
	}
	var ahead []harden.KeyFact
	p.State = harden.Unmet
	if others := otherControlPlanes(f); len(others) > 0 && !f.Component(harden.APIServer).Version.AtLeast(1, 34) {
		p.Message = harden.Msg("before Kubernetes 1.34 no API server tells what it encrypts with, so that this cannot be proven: do it by hand, as the control says")
		return p
	}
	for _, name := range otherControlPlanes(f) {
		i := slices.IndexFunc(f.Cluster.Keys, func(k harden.KeyFact) bool { return k.Node == name })
		switch {
		case i < 0:
			p.Message = harden.Msg("%s is a control plane, and no API server of it is known that could be asked what it encrypts with", name)
			return p
		case !f.Cluster.Keys[i].Unread.IsZero():
			p.Message = harden.Msg("what %s encrypts with is not known: %s", name, f.Cluster.Keys[i].Unread.String())
			return p
		case f.Cluster.Keys[i].SHA256 != own:
			ahead = append(ahead, f.Cluster.Keys[i])
		}
	}
	in := incoming(f)
	switch {
	case phaseOf(f) != begins || in == nil && len(ahead) == 0:
		p.State, p.Message = harden.Met, harden.Message{}
	case in == nil && begins == phaseOff:
		p.Message = harden.Msg("%s encrypts already: put a copy of its %s at %s on this node, for root alone (install -d -m 700 %s, then install -m 600), and run this again",
			ahead[0].Node, harden.EncryptionFile, harden.EncryptionIncoming, harden.EncryptionDir)
	case in == nil:
		p.Message = harden.Msg("%s has another encryption configuration: if it has a newer key, put a copy of its file at %s on this node, for root alone, and run this again; else finish there first",
			ahead[0].Node, harden.EncryptionIncoming)
	case in.Ours == nil || !in.Unread.IsZero():
		p.Message = harden.Msg("%s is no configuration that this program has written", in.Path)
	case in.Open:
		p.Message = harden.Msg("others than root can read %s, or change it: chown root:root and chmod 600 it", in.Path)
	case !slices.ContainsFunc(ahead, func(k harden.KeyFact) bool { return k.SHA256 == in.SHA256 }):
		p.Message = harden.Msg("%s (sha256 %s) is not what another control plane has read", in.Path, in.SHA256)
	case begins == phaseOff && !in.Ours.Plain && slices.ContainsFunc(ahead, func(k harden.KeyFact) bool { return k.SHA256 != in.SHA256 }),
		begins == phaseOff && !in.Ours.Plain && len(ahead) < len(otherControlPlanes(f)):
		p.Message = harden.Msg("%s writes with a key that not every other control plane has read yet", in.Path)
	default:
		p.State, p.Message = harden.Met, harden.Message{}
	}
	return p
}

// writingOtherwise are the control planes that have read another configuration than lies here; "" for none.
func writingOtherwise(f *harden.Facts) string {
	if f.Cluster == nil {
		return ""
	}
	var out []string
	for _, k := range f.Cluster.Keys {
		if k.Unread.IsZero() && k.SHA256 != f.Encryption.SHA256 {
			out = append(out, k.Node)
		}
	}
	return strings.Join(out, ", ")
}
