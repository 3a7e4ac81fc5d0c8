package sandbox

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

func (c *Cluster) readNodes(facts *harden.ClusterFacts, report corev1.NodeCondition) error {
	return each(c, "Node", func(n objects.Node) {
		n.Status.Conditions = []corev1.NodeCondition{report}
		facts.Nodes = append(facts.Nodes, n.Fact())
	})
}

// readKubelets: they sign their own certificates, as kubelets do that nobody has told otherwise.
func (c *Cluster) readKubelets(facts *harden.ClusterFacts, asks bool) error {
	return each(c, "Node", func(n objects.Node) {
		facts.KubeletServing = append(facts.KubeletServing, c.kubeletServing(n, asks))
	})
}

func (c *Cluster) readKubeadm(f *harden.ClusterFacts) error {
	cluster, _, err := c.configMap(harden.KubeadmConfig)
	if err != nil {
		return err
	}
	kubelet, _, err := c.configMap(harden.KubeletConfig)
	if err != nil {
		return err
	}
	if c.fixture.Members != nil {
		f.Members = c.fixture.Members()
	}
	f.Kubeadm, err = objects.Kubeadm(cluster, kubelet)
	return err
}

func (c *Cluster) configMap(ref harden.ObjectRef) (m objects.ConfigMap, found bool, err error) {
	r, found := c.records[ref]
	if found {
		m, err = as[objects.ConfigMap](r.Object)
	}
	return m, found, err
}

func (c *Cluster) readKubeProxy(f *harden.ClusterFacts) error {
	m, found, err := c.configMap(harden.KubeProxyConfig)
	if err != nil || !found {
		return err
	}
	f.KubeProxy, err = objects.KubeProxy(m)
	return err
}

func (c *Cluster) readWorkloads(f *harden.ClusterFacts) error {
	for _, err := range []error{
		each(c, "Namespace", func(n objects.Namespace) { f.Namespaces = append(f.Namespaces, n.Fact()) }),
		each(c, "Pod", func(p objects.Pod) {
			if !p.Over() {
				f.Pods = append(f.Pods, p.Fact(f.Version))
			}
		}),
		each(c, "Service", func(s objects.Service) { f.Services = append(f.Services, s.Fact()) }),
		each(c, "NetworkPolicy", func(p objects.NetworkPolicy) { f.Policies = append(f.Policies, p.Fact()) }),
		each(c, "ValidatingWebhookConfiguration", func(w objects.WebhookConfiguration) {
			f.Webhooks = append(f.Webhooks, w.Facts("ValidatingWebhookConfiguration")...)
		}),
		each(c, "APIService", func(a objects.APIService) {
			if fact, ok := a.Fact(); ok {
				f.APIServices = append(f.APIServices, fact)
			}
		}),
		each(c, "Deployment", func(w objects.Workload) { f.Templates = append(f.Templates, w.Template("Deployment", f.Version)) }),
		each(c, "StatefulSet", func(w objects.Workload) { f.Templates = append(f.Templates, w.Template("StatefulSet", f.Version)) }),
		each(c, "DaemonSet", func(w objects.Workload) {
			f.DaemonSets = append(f.DaemonSets, w.DaemonSet())
			f.Templates = append(f.Templates, w.Template("DaemonSet", f.Version))
		}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func each[T any](c *Cluster, kind string, f func(T)) error {
	for _, ref := range c.refs() {
		if ref.Kind != kind {
			continue
		}
		item, err := as[T](c.records[ref].Object)
		if err != nil {
			return err
		}
		f(item)
	}
	return nil
}

// as decodes an object as the API's clients do.
func as[T any](o objects.Object) (T, error) {
	var out T
	data, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return out, fmt.Errorf("decoding %s: %w", o.Ref(), err)
	}
	return out, nil
}
