package harden

import "kubectl-harden.io/kubectl-harden/patches"

// RunsHere is a Control's Applies: it holds where the component runs from a manifest on this node.
func RunsHere(id ComponentID) func(*Facts) (bool, Message) {
	return func(f *Facts) (bool, Message) {
		return f.Component(id) != nil, Msg("this node runs no %s", id)
	}
}

// Referred is the file that a path inside a component's container refers to.
type Referred struct {
	FileFact
	Mounted bool // a mount of the host covers the path
	Known   bool // it was looked for, and could be read or found missing
}

// Referred follows a path inside the component's container to the file of the host that was read for it.
func (f *Facts) Referred(id ComponentID, inContainer string) Referred {
	c := f.Component(id)
	if c == nil {
		return Referred{}
	}
	host, ok := c.HostPath(inContainer)
	if !ok {
		return Referred{}
	}
	file, read := f.Files[host]
	file.Path = host
	return Referred{FileFact: file, Mounted: true, Known: read && file.Unread.IsZero()}
}

// RunsAsRoot says that the component's container runs as root, as kubeadm lets it, unless it was set up rootless.
func (c *ComponentFacts) RunsAsRoot() bool {
	if c.Pod == nil {
		return true
	}
	uid := int64(0)
	if s := c.Pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		uid = *s.RunAsUser
	}
	if ct := ContainerOf(c.Pod, c.ID); ct != nil && ct.SecurityContext != nil && ct.SecurityContext.RunAsUser != nil {
		uid = *ct.SecurityContext.RunAsUser
	}
	return uid == 0
}

// MountDir is a Mount of a directory of the host at the same path.
func MountDir(name, dir, kind string, readOnly bool) patches.Mount {
	return patches.Mount{Name: name, HostPath: dir, MountPath: dir, Type: kind, ReadOnly: readOnly}
}
