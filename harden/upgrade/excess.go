package upgrade

import (
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// excess is evidence of what kubeadm would write and the manifests have not; absent is a file of this node that it names and
// that is not there, "" where none is known to be missing.
func excess(f *harden.Facts) (evidence []harden.Evidence, absent string) {
	for _, id := range components {
		c := f.Component(id)
		if c == nil {
			continue
		}
		var seen []string
		for _, arg := range f.Cluster.Kubeadm.ExtraArgs[id] {
			if slices.Contains(seen, arg.Name) || c.FileFlag(arg.Name).Set {
				continue
			}
			seen = append(seen, arg.Name)
			then, _ := f.Cluster.Kubeadm.Flag(id, arg.Name)
			evidence = append(evidence, harden.Evidence{
				Source: harden.KubeadmConfigSource, Value: then.Evidence(arg.Name).Value + " of " + string(id) + " would come, which its manifest does not have",
			})
			if missing(f, then.Last()) {
				absent = then.Last()
			}
		}
		for _, v := range f.Cluster.Kubeadm.ExtraVolumes[id] {
			if mounts(c, v.MountPath) {
				continue
			}
			evidence = append(evidence, harden.Evidence{
				Source: harden.KubeadmConfigSource, Value: "the mount of " + v.HostPath + " into " + string(id) + " would come, which its manifest does not have",
			})
		}
	}
	return evidence, absent
}

// missing says that a path was looked for on this node, and that nothing is there.
func missing(f *harden.Facts, p string) bool {
	file, read := f.Files[p]
	return path.IsAbs(p) && read && file.Unread.IsZero() && !file.State.Exists
}

func mounts(c *harden.ComponentFacts, mountPath string) bool {
	if c.Pod == nil {
		return true // what cannot be read is another control's finding
	}
	ct := harden.ContainerOf(c.Pod, c.ID)
	return ct == nil || slices.ContainsFunc(ct.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == mountPath })
}
