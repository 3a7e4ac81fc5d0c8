package harden

import (
	"fmt"
	"strings"
)

// NeedKubeProxy is what the cluster configures its kube-proxies with.
const NeedKubeProxy Need = "kube-proxy-config"

// KubeProxyProgram is the name of kube-proxy's program.
const KubeProxyProgram = "kube-proxy"

// KubeProxyConfig is the ConfigMap that kubeadm shows to every kube-proxy.
var KubeProxyConfig = ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: "kube-system", Name: "kube-proxy"}

const (
	// KubeProxyKey is the key of its configuration there, and KubeProxyFile is where kubeadm's DaemonSet has it in the container.
	KubeProxyKey  = "config.conf"
	KubeProxyFile = "/var/lib/kube-proxy/" + KubeProxyKey
)

// KubeProxyFact is what the ConfigMap says of where kube-proxies listen; empty is not set.
type KubeProxyFact struct {
	// BindAddress decides between IPv4 and IPv6 where one of the others is not set.
	BindAddress        string `json:"bindAddress,omitempty"`
	MetricsBindAddress string `json:"metricsBindAddress,omitempty"`
	HealthzBindAddress string `json:"healthzBindAddress,omitempty"`
}

// ParseKubeProxy reads the text under config.conf of the ConfigMap kube-proxy.
func ParseKubeProxy(text string) (*KubeProxyFact, error) {
	var config struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		KubeProxyFact
	}
	if err := ReadYAML([]byte(text), &config); err != nil {
		return nil, fmt.Errorf("%s of kube-proxy: %w", KubeProxyKey, err)
	}
	if config.Kind != "KubeProxyConfiguration" || !strings.HasPrefix(config.APIVersion, "kubeproxy.config.k8s.io/") {
		return nil, fmt.Errorf("%s of kube-proxy is %q of %q", KubeProxyKey, config.Kind, config.APIVersion)
	}
	return &config.KubeProxyFact, nil
}
