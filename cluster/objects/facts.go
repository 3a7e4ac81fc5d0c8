package objects

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"kubectl-harden.io/kubectl-harden/harden"
)

// The types below decode only those fields of API objects that facts are made of.

// Meta is what facts need of metadata.
type Meta struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Created         time.Time         `json:"creationTimestamp"`
	Deleted         time.Time         `json:"deletionTimestamp"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	OwnerReferences []struct {
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		Controller bool   `json:"controller"`
	} `json:"ownerReferences"`
}

// Node is a core/v1 Node.
type Node struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		PodCIDRs []string `json:"podCIDRs"`
	} `json:"spec"`
	Status struct {
		NodeInfo struct {
			MachineID      string `json:"machineID"`
			KubeletVersion string `json:"kubeletVersion"`
		} `json:"nodeInfo"`
		Conditions []corev1.NodeCondition `json:"conditions"`
		Addresses  []corev1.NodeAddress   `json:"addresses"`

		DaemonEndpoints corev1.NodeDaemonEndpoints `json:"daemonEndpoints"`
	} `json:"status"`
}

// Ready is the node's Ready condition; ok is false where it has none.
func (n Node) Ready() (c corev1.NodeCondition, ok bool) {
	i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	if i < 0 {
		return corev1.NodeCondition{}, false
	}
	return n.Status.Conditions[i], true
}

// ReadySince says whether the kubelet has reported the node ready at or after a time; where not, the reason. Heartbeats
// come in whole seconds.
func (n Node) ReadySince(since time.Time) (ready bool, reason string) {
	c, ok := n.Ready()
	switch {
	case !ok:
		return false, "it has not reported yet"
	case c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second)):
		return false, "its last report is of " + c.LastHeartbeatTime.UTC().Format(time.RFC3339) + ", before the restart"
	case c.Status != corev1.ConditionTrue:
		return false, OneLine(c.Reason + ": " + c.Message)
	}
	return true, ""
}

// Fact of the node. A version that cannot be parsed is unknown.
func (n Node) Fact() harden.NodeFact {
	ready, _ := n.Ready()
	version, err := harden.ParseVersion(n.Status.NodeInfo.KubeletVersion)
	if err != nil {
		version = harden.Version{}
	}
	_, controlPlane := n.Meta.Labels["node-role.kubernetes.io/control-plane"]
	f := harden.NodeFact{
		Name: n.Meta.Name, MachineID: n.Status.NodeInfo.MachineID, KubeletVersion: version,
		ControlPlane: controlPlane, Ready: ready.Status == corev1.ConditionTrue, PodCIDRs: n.Spec.PodCIDRs,
	}
	for _, a := range n.Status.Addresses {
		f.Addresses = append(f.Addresses, a.Address)
	}
	return f
}

// Namespace is a core/v1 Namespace.
type Namespace struct {
	Meta   Meta `json:"metadata"`
	Status struct {
		Phase corev1.NamespacePhase `json:"phase"`
	} `json:"status"`
}

// Fact of the namespace.
func (n Namespace) Fact() harden.NamespaceFact {
	return harden.NamespaceFact{
		Name: n.Meta.Name, Labels: n.Meta.Labels, Terminating: n.Status.Phase == corev1.NamespaceTerminating,
	}
}

// Pod is a core/v1 Pod.
type Pod struct {
	Meta   Meta           `json:"metadata"`
	Spec   corev1.PodSpec `json:"spec"`
	Status struct {
		Phase      corev1.PodPhase       `json:"phase"`
		Conditions []corev1.PodCondition `json:"conditions"`
	} `json:"status"`
}

// Over says that the pod has succeeded or failed, so that it takes part in nothing any more.
func (p Pod) Over() bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Member is the fact of a mirror pod of the control plane; ok is false for other pods.
func (p Pod) Member() (m harden.MemberFact, ok bool) {
	id := harden.ComponentID(p.Meta.Labels["component"])
	if _, known := harden.ComponentByID(id); !known || p.Meta.Annotations[corev1.MirrorPodAnnotationKey] == "" {
		return harden.MemberFact{}, false
	}
	m = harden.MemberFact{Node: p.Spec.NodeName, Component: id}
	for _, c := range p.Spec.Containers {
		if c.Name == string(id) || len(p.Spec.Containers) == 1 {
			m.Args = slices.Concat(c.Command, c.Args)
		}
	}
	for _, c := range p.Status.Conditions {
		m.Ready = m.Ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	return m, true
}

// AddressAnnotation is where kubeadm writes an API server's own address, in its static pod.
const AddressAnnotation = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"

// ControlPlane is the API server whose mirror pod this is. ok is false for other pods, such as one that anybody may make and label so: that
// is none which a kubelet runs from a file.
func (p Pod) ControlPlane() (m harden.ControlPlane, ok bool) {
	if p.Meta.Annotations["kubernetes.io/config.source"] != "file" || p.Meta.Name != "kube-apiserver-"+p.Spec.NodeName {
		return m, false
	}
	m = harden.ControlPlane{Node: p.Spec.NodeName, Address: p.Meta.Annotations[AddressAnnotation]}
	for _, c := range p.Spec.Containers {
		for _, arg := range slices.Concat(c.Command, c.Args) {
			name, _, _ := strings.Cut(arg, "=") // the flag that reloads it begins so too
			m.Encrypts = m.Encrypts || name == "--"+harden.EncryptionFlag
		}
	}
	return m, true
}

// ConfigMap is a core/v1 ConfigMap.
type ConfigMap struct {
	Data map[string]string `json:"data"`
}

// Kubeadm is the fact in kubeadm's ConfigMaps.
func Kubeadm(cluster, kubelet ConfigMap) (*harden.KubeadmFact, error) {
	return harden.ParseKubeadm(cluster.Data["ClusterConfiguration"], kubelet.Data["kubelet"])
}

// KubeProxy is the fact in kube-proxy's ConfigMap.
func KubeProxy(m ConfigMap) (*harden.KubeProxyFact, error) {
	return harden.ParseKubeProxy(m.Data[harden.KubeProxyKey])
}

// Fact of the pod, its security by the standards of the API server's version. Ports of init containers count where those run
// beside the others.
func (p Pod) Fact(v harden.Version) harden.PodFact {
	f := harden.PodFact{
		Namespace: p.Meta.Namespace, Name: p.Meta.Name, Owner: p.Meta.owner(), Labels: p.Meta.Labels,
		HostNetwork: p.Spec.HostNetwork, Node: p.Spec.NodeName,
		Scraped:     p.Meta.Annotations["prometheus.io/scrape"] == "true",
		PodSecurity: podSecurity(v, p.Meta.Annotations, &p.Spec), Images: images(&p.Spec),
		RuntimeClass: ptr(p.Spec.RuntimeClassName),
	}
	running := slices.Clone(p.Spec.Containers)
	for _, c := range p.Spec.InitContainers {
		if ptr(c.RestartPolicy) == corev1.ContainerRestartPolicyAlways {
			running = append(running, c)
		}
	}
	for _, c := range running {
		for _, port := range c.Ports {
			f.Ports = append(f.Ports, harden.PortFact{
				Name: port.Name, Port: port.ContainerPort, Protocol: protocol(port.Protocol), HostPort: port.HostPort,
			})
		}
	}
	return f
}

// ptr is what p points to, the zero value for nil.
func ptr[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// owner is the controller that an operator knows: a Deployment names its ReplicaSets by its own name and the hash that
// their pods carry as a label.
func (m Meta) owner() string {
	for _, o := range m.OwnerReferences {
		if !o.Controller {
			continue
		}
		if o.Kind == "ReplicaSet" {
			if hash := m.Labels["pod-template-hash"]; hash != "" {
				if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
					return "Deployment/" + name
				}
			}
		}
		return o.Kind + "/" + o.Name
	}
	return ""
}

// Service is a core/v1 Service.
type Service struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Type        corev1.ServiceType   `json:"type"`
		ExternalIPs []string             `json:"externalIPs"`
		Selector    map[string]string    `json:"selector"`
		Ports       []corev1.ServicePort `json:"ports"`
	} `json:"spec"`
}

// Fact of the Service.
func (s Service) Fact() harden.ServiceFact {
	f := harden.ServiceFact{
		Namespace: s.Meta.Namespace, Name: s.Meta.Name, Type: s.Spec.Type, Selector: s.Spec.Selector, ExternalIPs: s.Spec.ExternalIPs,
	}
	if f.Type == "" {
		f.Type = corev1.ServiceTypeClusterIP
	}
	for _, p := range s.Spec.Ports {
		target := p.TargetPort
		if target == (intstr.IntOrString{}) {
			target = intstr.FromInt32(p.Port)
		}
		f.Ports = append(f.Ports, harden.ServicePortFact{
			Name: p.Name, Port: p.Port, TargetPort: target, Protocol: protocol(p.Protocol), NodePort: p.NodePort,
		})
	}
	return f
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// NetworkPolicy is a networking.k8s.io/v1 NetworkPolicy.
type NetworkPolicy struct {
	Meta Meta                           `json:"metadata"`
	Spec networkingv1.NetworkPolicySpec `json:"spec"`
}

// Fact of the policy.
func (p NetworkPolicy) Fact() harden.PolicyFact {
	return harden.PolicyFact{
		Namespace: p.Meta.Namespace, Name: p.Meta.Name, Spec: p.Spec,
		Ours: p.Meta.Labels["app.kubernetes.io/managed-by"] == "kubectl-harden",
	}
}

// DaemonSet is the fact of a DaemonSet.
func (w Workload) DaemonSet() harden.DaemonSetFact {
	f := harden.DaemonSetFact{Namespace: w.Meta.Namespace, Name: w.Meta.Name}
	for _, c := range w.Spec.Template.Spec.Containers {
		f.Images = append(f.Images, c.Image)
	}
	return f
}

// clientConfig is where the API server sends a webhook's requests.
type clientConfig struct {
	URL     string      `json:"url"`
	Service *serviceRef `json:"service"`
}

type serviceRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      *int32 `json:"port"`
}

// port of a Service reference; the API's default is 443.
func (s serviceRef) port() int32 {
	if s.Port == nil {
		return 443
	}
	return *s.Port
}

func (c clientConfig) fact(kind, name string, failClosed bool) harden.WebhookFact {
	f := harden.WebhookFact{Kind: kind, Name: name, URL: c.URL, FailClosed: failClosed}
	if c.Service != nil {
		f.Namespace, f.Service, f.Port = c.Service.Namespace, c.Service.Name, c.Service.port()
	}
	return f
}

// WebhookConfiguration is an admissionregistration.k8s.io/v1 configuration of either kind.
type WebhookConfiguration struct {
	Meta     Meta `json:"metadata"`
	Webhooks []struct {
		ClientConfig  clientConfig `json:"clientConfig"`
		FailurePolicy string       `json:"failurePolicy"`
	} `json:"webhooks"`
}

// Facts of the configuration, one for each endpoint; kind is that of the configuration.
func (w WebhookConfiguration) Facts(kind string) []harden.WebhookFact {
	var out []harden.WebhookFact
	for _, h := range w.Webhooks {
		f := h.ClientConfig.fact(kind, w.Meta.Name, h.FailurePolicy != "Ignore")
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// CustomResourceDefinition is an apiextensions.k8s.io/v1 CustomResourceDefinition.
type CustomResourceDefinition struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Conversion struct {
			Strategy string `json:"strategy"`
			Webhook  struct {
				ClientConfig clientConfig `json:"clientConfig"`
			} `json:"webhook"`
		} `json:"conversion"`
	} `json:"spec"`
}

// Fact of the definition's conversion webhook, where it has one. A conversion that is not answered fails the request.
func (d CustomResourceDefinition) Fact() (f harden.WebhookFact, ok bool) {
	if d.Spec.Conversion.Strategy != "Webhook" {
		return harden.WebhookFact{}, false
	}
	return d.Spec.Conversion.Webhook.ClientConfig.fact("CustomResourceDefinition", d.Meta.Name, true), true
}

// APIService is an apiregistration.k8s.io/v1 APIService.
type APIService struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Service *serviceRef `json:"service"`
	} `json:"spec"`
}

// Fact of the API, where it is not the API server's own.
func (a APIService) Fact() (f harden.APIServiceFact, ok bool) {
	s := a.Spec.Service
	if s == nil {
		return harden.APIServiceFact{}, false
	}
	return harden.APIServiceFact{Name: a.Meta.Name, Namespace: s.Namespace, Service: s.Name, Port: s.port()}, true
}
