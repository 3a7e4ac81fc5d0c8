package sandbox

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Kubeadm is what kubeadm uploaded to the cluster of this node: the texts in kubeadm-config and kubelet-config.
func Kubeadm() (cluster, kubelet string, err error) {
	read := func(name, key string) (string, error) {
		data, err := kubeadm.ReadFile(fixture + "cluster/" + name + ".yaml")
		if err != nil {
			return "", err
		}
		var m struct {
			Data map[string]string `json:"data"`
		}
		if err := yaml.Unmarshal(data, &m); err != nil {
			return "", fmt.Errorf("reading the fixture: %s: %w", name, err)
		}
		return m.Data[key], nil
	}
	if cluster, err = read("kubeadm-config", "ClusterConfiguration"); err != nil {
		return "", "", err
	}
	kubelet, err = read("kubelet-config", "kubelet")
	return cluster, kubelet, err
}
