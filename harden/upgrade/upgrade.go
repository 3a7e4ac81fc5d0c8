// Package upgrade holds the controls that compare a node with what kubeadm would make of it again, as data.
package upgrade

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Area is the upgrade controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "upgrade",
		Title: "Kept through upgrades",
		About: harden.Msg("At every upgrade kubeadm writes the static pods and the kubelet's configuration anew, from two ConfigMaps in kube-system. " +
			"These controls find what is on this node and in neither of them, which the next upgrade takes back without a word, and what is in them and not on this node, which it brings."),
		Controls: []harden.Control{staticPods, kubeletFields, featureGates},
	}
}

const (
	reconfigure = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-reconfigure/"
	later       = "Nothing restarts. New control-plane nodes, and all of them at their next kubeadm upgrade, get these arguments too."
)

var staticPods = harden.Control{
	ID: "upgrade-static-pods", Title: "An upgrade keeps the arguments of the control plane", Severity: harden.High,
	Why: harden.Msg("`kubeadm upgrade` writes the manifests of the control plane anew from the ConfigMap kubeadm-config and keeps nothing of what was there. " +
		"A flag that hardens and stands in the manifest alone is gone after it, and the cluster runs as if it had never been set. " +
		"With encryption at rest the new API server cannot even read its Secrets. " +
		"What kubeadm-config has and the manifests have not comes back with the upgrade, and where it names a file that is gone, nothing starts."),
	Refs:    harden.Refs{Docs: []string{reconfigure}},
	Needs:   []harden.Need{harden.NeedAPIServer, harden.NeedKubeadm},
	Applies: harden.RunsHere(harden.APIServer),
	Assess:  assessStaticPods,
	Remedies: []harden.Remedy{{
		ID: "persist", Title: harden.Msg("Write the arguments of this node into kubeadm-config"), Risk: harden.RiskNode, Impact: harden.Msg(later),
		Breaks: []harden.Message{
			harden.Msg("Files that the arguments name must be on every control-plane node before its next upgrade, and on a new one before it joins: its API server does not start without them, and kubeadm copies only certificates."),
		},
		Preconditions: membersAgree,
		Intents:       func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) { return keep(f) },
	}},
}

// components that kubeadm writes manifests of.
var components = []harden.ComponentID{harden.APIServer, harden.ControllerManager, harden.Scheduler, harden.Etcd}

// loss is a flag of a manifest that kubeadm would not write, or not so.
type loss struct {
	component harden.ComponentID
	flag      string
	now, then harden.FlagFact
}

// String is "--profiling=false of kube-apiserver would be gone".
func (l loss) String() string {
	now := l.now.Evidence(l.flag).Value
	if !l.then.Set {
		return now + " would be gone"
	}
	return now + " would be " + l.then.Evidence(l.flag).Value
}

// losses are what the next upgrade would take back, manifest by manifest.
func losses(f *harden.Facts) []loss {
	var out []loss
	for _, id := range components {
		c := f.Component(id)
		if c == nil {
			continue
		}
		var seen []string
		for _, flag := range patches.ParseArgs(c.Args) {
			if flag.Name == "" || slices.Contains(seen, flag.Name) {
				continue
			}
			seen = append(seen, flag.Name)
			now := c.FileFlag(flag.Name)
			then, comparable := f.Cluster.Kubeadm.Flag(id, flag.Name)
			if comparable && !(then.Set && slices.Equal(then.Values, now.Values)) {
				out = append(out, loss{id, flag.Name, now, then})
			}
		}
	}
	return out
}

// unmounted are hostPath mounts that the flags need and kubeadm would not make.
func unmounted(f *harden.Facts, id harden.ComponentID) []patches.Mount {
	c := f.Component(id)
	if c == nil || c.Pod == nil {
		return nil
	}
	ct := harden.ContainerOf(c.Pod, id)
	if ct == nil {
		return nil
	}
	var out []patches.Mount
	for _, m := range ct.VolumeMounts {
		i := slices.IndexFunc(f.Cluster.Kubeadm.ExtraVolumes[id], func(v harden.KubeadmVolume) bool { return v.MountPath == m.MountPath })
		if i >= 0 || slices.Contains(ownMounts, m.MountPath) || m.SubPath != "" {
			continue
		}
		for _, v := range c.Pod.Spec.Volumes {
			if v.Name != m.Name || v.HostPath == nil {
				continue
			}
			kind := ""
			if v.HostPath.Type != nil {
				kind = string(*v.HostPath.Type)
			}
			out = append(out, patches.Mount{Name: m.Name, HostPath: v.HostPath.Path, MountPath: m.MountPath, ReadOnly: m.ReadOnly, Type: kind})
		}
	}
	return out
}

// ownMounts are those that kubeadm makes by itself (cmd/kubeadm/app/phases/controlplane/volumes.go).
var ownMounts = []string{
	"/etc/kubernetes/pki", "/etc/ssl/certs", "/etc/ca-certificates", "/etc/pki", "/etc/pki/ca-trust", "/etc/pki/tls/certs",
	"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/kubernetes/scheduler.conf", "/etc/kubernetes/controller-manager.conf",
	"/usr/libexec/kubernetes/kubelet-plugins/volume/exec", "/var/lib/etcd", "/etc/kubernetes/pki/etcd",
}

func assessStaticPods(f *harden.Facts) harden.Verdict {
	var evidence []harden.Evidence
	lost := losses(f)
	for _, l := range lost {
		evidence = append(evidence, harden.Evidence{Source: f.Component(l.component).Manifest.Path, Value: l.String()})
	}
	mounts := 0
	for _, id := range components {
		for _, m := range unmounted(f, id) {
			mounts++
			evidence = append(evidence, harden.Evidence{Source: f.Component(id).Manifest.Path, Value: "the mount of " + m.HostPath + " would be gone"})
		}
	}
	more, absent := excess(f)
	evidence = append(evidence, more...)
	switch {
	case absent != "":
		return harden.Failed(harden.Msg("the next kubeadm upgrade brings %d arguments and mounts that the manifests do not have, and %s, which they name, is not there: what reads it would not start; "+
			"take them out of kubeadm-config, or apply here what they belong to", len(more), absent), evidence...)
	case len(evidence) > len(more) && len(more) > 0:
		return harden.Failed(harden.Msg("the next kubeadm upgrade takes back %d arguments and %d mounts, and brings %d that the manifests do not have", len(lost), mounts, len(more)), evidence...)
	case len(evidence) > len(more):
		return harden.Failed(harden.Msg("the next kubeadm upgrade takes back %d arguments and %d mounts", len(lost), mounts), evidence...)
	case len(more) > 0:
		return harden.NeedsPerson(harden.Msg("the next kubeadm upgrade brings %d arguments and mounts that the manifests do not have: apply them here too, or take them out of kubeadm-config", len(more)), evidence...)
	}
	return harden.Passed(harden.Msg("kubeadm would write the arguments that the manifests have"), harden.Evidence{Source: harden.KubeadmConfigSource, Value: "has what the manifests have"})
}

// keep asks kubeadm-config for what the manifests have and it has not.
func keep(f *harden.Facts) ([]harden.Intent, error) {
	var out []harden.Intent
	for _, l := range losses(f) {
		if len(l.now.Values) != 1 || len(l.then.Values) > 1 {
			return nil, fmt.Errorf("--%s of %s occurs more than once: write it into kubeadm-config by hand", l.flag, l.component)
		}
		i := harden.SetFlag(l.component, l.flag, l.now.Last())
		i.Object = &harden.KubeadmConfig
		out = append(out, i)
	}
	for _, id := range components {
		for _, m := range unmounted(f, id) {
			if id == harden.Etcd {
				return nil, fmt.Errorf("kubeadm keeps no volumes of etcd, and its manifest mounts %s: keep it as a patch for kubeadm upgrade --patches", m.HostPath)
			}
			i := harden.MountPath(id, m)
			i.Object = &harden.KubeadmConfig
			out = append(out, i)
		}
	}
	return out, nil
}

// membersAgree: what names a file may be kept for all nodes only when all have it.
func membersAgree(f *harden.Facts, _ harden.Values) []harden.Precondition {
	pre := harden.Precondition{ID: "every-member-has-it", Title: harden.Msg("every control-plane node has the files that are named"), State: harden.Met}
	intents, err := keep(f)
	if err == nil && len(intents) == 0 {
		err = errors.New("kubeadm-config lacks nothing that the manifests have; what it has more is taken out by hand: kubectl -n kube-system edit configmap kubeadm-config")
	}
	if err != nil {
		pre.State, pre.Message = harden.Unmet, harden.Msg("%s", err.Error())
		return []harden.Precondition{pre}
	}
	if lacking := harden.MembersWithout(f, intents); len(lacking) > 0 {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("not persisted: %s do not run with it yet; apply it there first", strings.Join(lacking, ", "))
	}
	return []harden.Precondition{pre}
}
