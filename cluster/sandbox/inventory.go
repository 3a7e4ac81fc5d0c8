package sandbox

import (
	"fmt"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// workload is a line of the inventory: what runs in the sandbox.
type workload struct {
	namespace, kind, name string
	pods                  int
	ports                 []port
	image                 string
	hostNetwork, scraped  bool
	labels                map[string]any // besides app
}

type port struct {
	name   string
	number int
	proto  string // TCP if empty
}

var workloads = []workload{
	{namespace: "kube-system", kind: "DaemonSet", name: "calico-node", pods: 1, hostNetwork: true, image: "docker.io/calico/node:v3.31.2", labels: map[string]any{"k8s-app": "calico-node"}},
	{namespace: "kube-system", kind: "DaemonSet", name: "kube-proxy", pods: 1, hostNetwork: true, image: "registry.k8s.io/kube-proxy:v1.37.2", labels: map[string]any{"k8s-app": "kube-proxy"}},
	{namespace: "kube-system", kind: "Deployment", name: "calico-kube-controllers", pods: 1, image: "docker.io/calico/kube-controllers:v3.31.2", labels: map[string]any{"k8s-app": "calico-kube-controllers"}},
	{namespace: "kube-system", kind: "Deployment", name: "coredns", pods: 2, image: "registry.k8s.io/coredns/coredns:v1.13.1", labels: map[string]any{"k8s-app": "kube-dns"}, ports: []port{{"dns", 53, "UDP"}, {"dns-tcp", 53, ""}, {"metrics", 9153, ""}}},
	{namespace: "kube-system", kind: "Deployment", name: "metrics-server", pods: 1, image: "registry.k8s.io/metrics-server/metrics-server:v0.8.0", ports: []port{{"https", 10250, ""}}},
	{namespace: "shop", kind: "Deployment", name: "web", pods: 2, image: "registry.example/shop/web:2.4", scraped: true, ports: []port{{"http", 8080, ""}, {"metrics", 9100, ""}}},
	{namespace: "shop", kind: "Deployment", name: "cart", pods: 1, image: "registry.example/shop/cart:1.9", ports: []port{{"http", 8081, ""}}},
	{namespace: "shop", kind: "StatefulSet", name: "db", pods: 1, image: "docker.io/library/postgres:17", ports: []port{{"postgres", 5432, ""}}},
	{namespace: "payments", kind: "Deployment", name: "api", pods: 2, image: "registry.example/payments/api:5.0", ports: []port{{"https", 8443, ""}}},
	{namespace: "payments", kind: "Deployment", name: "card-policy", pods: 1, image: "registry.example/payments/card-policy:1.1", ports: []port{{"webhook", 9443, ""}}},
	{namespace: "monitoring", kind: "StatefulSet", name: "prometheus", pods: 1, image: "quay.io/prometheus/prometheus:v3.7.0", ports: []port{{"web", 9090, ""}}},
}

// services cover every type.
var services = []struct {
	namespace, name, kind string
	app                   string // selected; empty: none
	headless              bool
	port                  int
	target                any
	nodePort              int
	proto                 string
	external              string
}{
	{namespace: "default", name: "kubernetes", kind: "ClusterIP", port: 443, target: 6443},
	{namespace: "kube-system", name: "kube-dns", kind: "ClusterIP", app: "coredns", port: 53, target: "dns", proto: "UDP"},
	{namespace: "kube-system", name: "metrics-server", kind: "ClusterIP", app: "metrics-server", port: 443, target: "https"},
	{namespace: "shop", name: "web", kind: "LoadBalancer", app: "web", port: 80, target: "http", nodePort: 30080},
	{namespace: "shop", name: "cart", kind: "ClusterIP", app: "cart", port: 80, target: 8081},
	{namespace: "shop", name: "db", kind: "ClusterIP", app: "db", headless: true, port: 5432, target: "postgres"},
	{namespace: "shop", name: "mail", kind: "ExternalName", external: "mail.example.com"},
	{namespace: "payments", name: "api", kind: "NodePort", app: "api", port: 443, target: "https", nodePort: 30443},
	{namespace: "payments", name: "card-policy", kind: "ClusterIP", app: "card-policy", port: 443, target: "webhook"},
	{namespace: "monitoring", name: "prometheus", kind: "ClusterIP", app: "prometheus", port: 9090, target: "web"},
}

// inventory is everything in a new cluster.
func inventory(f Fixture) []objects.Object {
	all := []objects.Object{nodeObject(f)}
	for _, n := range []string{"default", "kube-node-lease", "kube-public", "kube-system", "monitoring", "payments", "shop"} {
		o := object("v1", "Namespace", "", n, map[string]any{"kubernetes.io/metadata.name": n})
		o["spec"] = map[string]any{"finalizers": []any{"kubernetes"}}
		o["status"] = map[string]any{"phase": "Active"}
		all = append(all, o)
	}
	for _, component := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		all = append(all, pod(f, workload{
			namespace: "kube-system", kind: "Node", name: component, hostNetwork: true, image: "registry.k8s.io/" + component + ":" + f.Identity.KubernetesVersion,
			labels: map[string]any{"component": component, "tier": "control-plane"},
		}, component+"-"+f.Identity.Node, f.Identity.Node, nil))
	}
	for _, w := range workloads {
		all = append(all, controller(w))
		all = append(all, w.podsOf(f)...)
	}
	for _, s := range services {
		spec := map[string]any{"type": s.kind}
		if s.app != "" {
			spec["selector"] = map[string]any{"app": s.app}
		}
		if s.headless {
			spec["clusterIP"] = "None"
		}
		if s.external != "" {
			spec["externalName"] = s.external
		} else {
			p := map[string]any{"port": s.port, "targetPort": s.target, "protocol": "TCP"}
			if s.proto != "" {
				p["protocol"] = s.proto
			}
			if s.nodePort > 0 {
				p["nodePort"] = s.nodePort
			}
			spec["ports"] = []any{p}
		}
		o := object("v1", "Service", s.namespace, s.name, nil)
		o["spec"] = spec
		all = append(all, o)
	}
	cluster := f.ClusterConfiguration
	if cluster == "" {
		cluster = fmt.Sprintf(plainConfiguration, f.Identity.KubernetesVersion)
	}
	if f.ProxyConfiguration != "" {
		all = append(all, configMap(harden.KubeProxyConfig, map[string]any{harden.KubeProxyKey: f.ProxyConfiguration}))
	}
	return append(all, webhook(), metricsAPI(),
		configMap(harden.KubeadmConfig, map[string]any{"ClusterConfiguration": cluster}),
		configMap(harden.KubeletConfig, map[string]any{"kubelet": f.KubeletConfiguration}))
}

// plainConfiguration is what kubeadm init without extra arguments keeps.
const plainConfiguration = `apiServer: {}
apiVersion: kubeadm.k8s.io/v1beta4
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
etcd:
  local:
    dataDir: /var/lib/etcd
kind: ClusterConfiguration
kubernetesVersion: %s
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
scheduler: {}
`

func configMap(ref harden.ObjectRef, data map[string]any) objects.Object {
	o := object(ref.APIVersion, ref.Kind, ref.Namespace, ref.Name, nil)
	o["data"] = data
	return o
}

func object(apiVersion, kind, namespace, name string, labels map[string]any) objects.Object {
	meta := map[string]any{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	return objects.Object{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
}

func nodeObject(f Fixture) objects.Object {
	o := object("v1", "Node", "", f.Identity.Node, map[string]any{
		"kubernetes.io/hostname": f.Identity.Node, "node-role.kubernetes.io/control-plane": "",
	})
	o["spec"] = map[string]any{}
	o["status"] = map[string]any{
		"nodeInfo": map[string]any{"machineID": f.Identity.MachineID, "kubeletVersion": f.Kubelet.String()},
		"addresses": []any{
			map[string]any{"type": "InternalIP", "address": f.Address},
			map[string]any{"type": "Hostname", "address": f.Identity.Node},
		},
	}
	return o
}

func (w workload) podsOf(f Fixture) []objects.Object {
	var out []objects.Object
	for i := range w.pods {
		owner, name := w.name, fmt.Sprintf("%s-%d", w.name, i)
		var extra map[string]any
		switch w.kind {
		case "Deployment":
			const hash = "7d9f8c6b54"
			owner, extra = w.name+"-"+hash, map[string]any{"pod-template-hash": hash}
			name = fmt.Sprintf("%s-%05d", owner, i)
		case "DaemonSet":
			name = fmt.Sprintf("%s-%05d", w.name, i)
		}
		out = append(out, pod(f, w, name, owner, extra))
	}
	return out
}

func pod(f Fixture, w workload, name, owner string, extra map[string]any) objects.Object {
	ownerKind, ownerAPI := w.kind, "apps/v1"
	switch w.kind {
	case "Deployment":
		ownerKind = "ReplicaSet"
	case "Node":
		ownerAPI = "v1"
	}
	labels := w.allLabels()
	for k, v := range extra {
		labels[k] = v
	}
	o := object("v1", "Pod", w.namespace, name, labels)
	meta := map[string]any{"ownerReferences": []any{
		map[string]any{"apiVersion": ownerAPI, "kind": ownerKind, "name": owner, "controller": true},
	}}
	if w.scraped {
		meta["annotations"] = map[string]any{"prometheus.io/scrape": "true"}
	}
	o = o.WithMeta(meta)
	spec := w.podSpec()
	spec["nodeName"] = f.Identity.Node
	o["spec"] = spec
	o["status"] = map[string]any{"phase": "Running"}
	return o
}

func (w workload) allLabels() map[string]any {
	labels := map[string]any{"app": w.name}
	for k, v := range w.labels {
		labels[k] = v
	}
	return labels
}

func (w workload) podSpec() map[string]any {
	c := map[string]any{"name": w.name, "image": w.image}
	var ports []any
	for _, p := range w.ports {
		proto := p.proto
		if proto == "" {
			proto = "TCP"
		}
		ports = append(ports, map[string]any{"name": p.name, "containerPort": p.number, "protocol": proto})
	}
	if ports != nil {
		c["ports"] = ports
	}
	spec := map[string]any{"containers": []any{c}}
	if w.hostNetwork {
		spec["hostNetwork"] = true
	}
	return spec
}

func controller(w workload) objects.Object {
	o := object("apps/v1", w.kind, w.namespace, w.name, w.allLabels())
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": w.name}},
		"template": map[string]any{"metadata": map[string]any{"labels": w.allLabels()}, "spec": w.podSpec()},
	}
	if w.kind != "DaemonSet" {
		spec["replicas"] = w.pods
	}
	o["spec"] = spec
	return o
}

func webhook() objects.Object {
	o := object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "card-policy", nil)
	o["webhooks"] = []any{map[string]any{
		"name": "card-policy.payments.example.com", "failurePolicy": "Fail",
		"clientConfig": map[string]any{"service": map[string]any{"namespace": "payments", "name": "card-policy", "port": 443}},
		"rules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE", "UPDATE"}, "resources": []any{"pods"},
		}},
	}}
	return o
}

func metricsAPI() objects.Object {
	o := object("apiregistration.k8s.io/v1", "APIService", "", "v1beta1.metrics.k8s.io", nil)
	o["spec"] = map[string]any{
		"group": "metrics.k8s.io", "version": "v1beta1",
		"service": map[string]any{"namespace": "kube-system", "name": "metrics-server", "port": 443},
	}
	return o
}
