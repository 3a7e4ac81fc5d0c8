package hardentest

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Kubeadm is what kubeadm of the minor uploaded to the cluster of its first node, its ClusterConfiguration edited.
func Kubeadm(t testing.TB, minor string, edits ...func(string) string) *harden.KubeadmFact {
	t.Helper()
	cluster := uploaded(t, minor, "kubeadm-config", "ClusterConfiguration")
	for _, edit := range edits {
		cluster = edit(cluster)
	}
	f, err := harden.ParseKubeadm(cluster, uploaded(t, minor, "kubelet-config", "kubelet"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// KubeProxy is how kubeadm 1.37 configures kube-proxies, edited.
func KubeProxy(t testing.TB, edits ...func(string) string) *harden.KubeProxyFact {
	t.Helper()
	text := uploaded(t, "1.37", "kube-proxy", harden.KubeProxyKey)
	for _, edit := range edits {
		text = edit(text)
	}
	f, err := harden.ParseKubeProxy(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func uploaded(t testing.TB, minor, name, key string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(Root(t, minor)), "cluster", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return DataOf(t, data, key)
}

// ConfigMap is a ConfigMap with one key, in the normal form of objects.
func ConfigMap(t testing.TB, ref harden.ObjectRef, key, text string) []byte {
	t.Helper()
	data, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]string{key: text},
		"metadata": map[string]any{"name": ref.Name, "namespace": ref.Namespace},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// DataOf is the text under a key of a ConfigMap.
func DataOf(t testing.TB, configMap []byte, key string) string {
	t.Helper()
	var m struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(configMap, &m); err != nil {
		t.Fatal(err)
	}
	return m.Data[key]
}
