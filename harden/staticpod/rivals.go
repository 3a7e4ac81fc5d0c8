package staticpod

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// withoutRivals takes the files away that define the component besides its own manifest.
func (p Pod) withoutRivals() harden.Remedy {
	risk := harden.RiskWorkloads
	if p.Component == harden.APIServer || p.Component == harden.Etcd {
		risk = harden.RiskLockOut
	}
	return harden.Remedy{
		ID: "remove-rivals", Title: harden.Msg("Remove the other files; they are kept with the transaction"), Risk: risk, NodeOnly: true,
		Impact: harden.Msg("Only %s is left to define %s, which restarts if the kubelet obeys another file now.", p.manifest(), p.Name),
		Breaks: []harden.Message{
			harden.Msg("What only another file sets is gone: where the kubelet obeys that one now, %s runs with other flags, mounts or another image afterwards.", p.Name),
		},
		Preconditions: p.rivalChecks,
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			c := f.Component(p.Component)
			var out []harden.Intent
			for _, r := range c.Rivals {
				gone := harden.RemoveFile(r)
				if c.Effective != c.Manifest.Path {
					gone.Restarts = p.Component
				}
				out = append(out, gone)
			}
			return out, nil
		},
	}
}

// rivalChecks want the file that stays to be the one that is meant.
func (p Pod) rivalChecks(f *harden.Facts, _ harden.Values) []harden.Precondition {
	c := f.Component(p.Component)
	own := harden.Precondition{ID: "own-manifest", Title: harden.Msg("its own manifest is there under kubeadm's name"), State: harden.Met}
	if path.Base(c.Manifest.Path) != p.manifest() {
		own.State = harden.Unmet
		own.Message = harden.Msg("there is no %s, and which of %s and %s is meant is not known", p.manifest(), c.Manifest.Path, strings.Join(c.Rivals, ", "))
	}
	image := harden.Precondition{ID: "same-image", Title: harden.Msg("its own manifest starts the image that runs now"), State: harden.Met}
	runs, starts := imageOf(c.Pod, p.Component), "another one"
	var pod corev1.Pod
	if harden.ReadYAML(c.Manifest.State.Data, &pod) == nil {
		starts = imageOf(&pod, p.Component)
	}
	if runs != starts {
		image.State = harden.PreconditionUnknown
		image.Message = harden.Msg("%s starts %s, and %s starts %s", c.Manifest.Path, starts, c.Effective, runs)
	}
	return []harden.Precondition{own, image}
}

func imageOf(pod *corev1.Pod, id harden.ComponentID) string {
	if pod == nil {
		return ""
	}
	if ct := harden.ContainerOf(pod, id); ct != nil {
		return ct.Image
	}
	return ""
}
