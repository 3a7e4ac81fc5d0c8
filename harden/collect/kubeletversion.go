package collect

import (
	"context"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// AddKubeletVersion gives facts with the version of the kubelet that runs here, where the API did not tell it; f stays as it
// is. live is nil for an offline root.
func AddKubeletVersion(ctx context.Context, f *harden.Facts, live Live) *harden.Facts {
	if live == nil || f.Kubelet == nil || f.Kubelet.Process == nil || !f.Kubelet.Version.IsZero() {
		return f
	}
	v, err := live.KubeletVersion(ctx)
	if err != nil {
		return f // it stays unknown, and what depends on it says so
	}
	out, k := *f, *f.Kubelet
	k.Version = v
	out.Kubelet = &k
	return &out
}

// packagedVersion is what Debian's package database of a root says of a package: its own files are all that an offline root
// has, and none of kubeadm's names the kubelet's version.
func packagedVersion(n Node, name string) harden.Version {
	s, err := n.State("/var/lib/dpkg/status")
	if err != nil || !s.Exists {
		return harden.Version{}
	}
	for paragraph := range strings.SplitSeq(string(s.Data), "\n\n") {
		fields := map[string]string{}
		if !strings.HasPrefix(paragraph, "Package: "+name+"\n") {
			continue
		}
		for line := range strings.Lines(paragraph) {
			if key, value, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
				fields[key] = strings.TrimSpace(value)
			}
		}
		if !strings.HasSuffix(fields["Status"], " installed") {
			continue
		}
		version := fields["Version"]
		if _, behind, ok := strings.Cut(version, ":"); ok {
			version = behind // an epoch
		}
		v, err := harden.ParseVersion(version)
		if err != nil {
			return harden.Version{}
		}
		return v
	}
	return harden.Version{}
}
