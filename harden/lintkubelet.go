package harden

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

// kubeletProblems are rules by which the kubelet refuses its configuration. Its own program knows them all, and is asked where
// one runs.
func kubeletProblems(c *kubeletv1beta1.KubeletConfiguration, _ Version) []Message {
	out := TLSProblems(c.TLSMinVersion, c.TLSCipherSuites)
	refuse := func(format string, args ...any) { out = append(out, Msg(format, args...)) }
	port := func(name string, p *int32, least int32) {
		if p != nil && (*p < least || *p > 65535) {
			refuse("%s: %d is no port", name, *p)
		}
	}
	port("port", nonZero(c.Port), 1)
	port("readOnlyPort", &c.ReadOnlyPort, 0)
	port("healthzPort", c.HealthzPort, 0)
	for name, n := range map[string]*int32{"eventRecordQPS": c.EventRecordQPS, "registryPullQPS": c.RegistryPullQPS} {
		if n != nil && *n < 0 {
			refuse("%s: %d is negative", name, *n)
		}
	}
	if m := c.Authorization.Mode; !slices.Contains([]kubeletv1beta1.KubeletAuthorizationMode{"", "AlwaysAllow", "Webhook"}, m) {
		refuse("authorization.mode: there is no mode %q", m)
	}
	if c.MaxPods < 0 {
		refuse("maxPods: %d is negative", c.MaxPods)
	}
	return out
}

func nonZero(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

// podProblems are what the kubelet refuses a static pod for, of what remedies change in one.
func podProblems(p *corev1.Pod, v Version) []Message {
	var out []Message
	volumes := map[string]bool{}
	for _, vol := range p.Spec.Volumes {
		switch {
		case len(validation.IsDNS1123Label(vol.Name)) > 0:
			out = append(out, Msg("volume %q: this is no name for a volume", vol.Name))
		case volumes[vol.Name]:
			out = append(out, Msg("volume %s is there twice", vol.Name))
		}
		volumes[vol.Name] = true
		if vol.HostPath == nil && vol.EmptyDir == nil && (v.IsZero() || v.AtLeast(1, 34)) {
			out = append(out, Msg("volume %s: a static pod may use paths of the host and emptyDir only", vol.Name))
		}
	}
	for _, ct := range p.Spec.Containers {
		at := map[string]bool{}
		for _, m := range ct.VolumeMounts {
			if !volumes[m.Name] {
				out = append(out, Msg("container %s mounts volume %s, which is not there", ct.Name, m.Name))
			}
			if at[m.MountPath] {
				out = append(out, Msg("container %s mounts two volumes at %s", ct.Name, m.MountPath))
			}
			at[m.MountPath] = true
		}
	}
	return out
}

// hasAnonymous says whether an AuthenticationConfiguration speaks of anonymous requests.
func hasAnonymous(data []byte) bool {
	var c apiserverv1.AuthenticationConfiguration
	return yaml.Unmarshal(data, &c) == nil && c.Anonymous != nil
}
