package sandbox

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Kubeadm is what kubeadm uploaded to the cluster of this node: the texts in kubeadm-config, kubelet-config and kube-proxy.
func Kubeadm() (cluster, kubelet, proxy string, err error) {
	read := func(name, key string) string {
		data, failed := kubeadm.ReadFile(fixture + "cluster/" + name + ".yaml")
		var m struct {
			Data map[string]string `json:"data"`
		}
		if failed == nil {
			failed = yaml.Unmarshal(data, &m)
		}
		if failed != nil && err == nil {
			err = fmt.Errorf("reading the fixture: %s: %w", name, failed)
		}
		return m.Data[key]
	}
	cluster, kubelet, proxy = read("kubeadm-config", "ClusterConfiguration"), read("kubelet-config", "kubelet"), read("kube-proxy", "config.conf")
	return cluster, kubelet, proxy, err
}
