package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
	"sigs.k8s.io/yaml"
)

func refused(doing string, ref harden.ObjectRef, err error) error {
	return &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Refused, Cause: err}
}

// admit decodes, defaults and checks what is to be written.
func (c *Cluster) admit(doing string, data []byte) (objects.Object, error) {
	o, err := objects.Decode(data)
	if err != nil {
		return nil, &objects.Error{Doing: doing, Subject: "the object", Reason: objects.Refused, Cause: err}
	}
	ref := o.Ref()
	if ref == harden.KubeadmConfig || ref == harden.KubeletConfig {
		return o.Normal(), nil
	}
	if ref.APIVersion != "networking.k8s.io/v1" || ref.Kind != "NetworkPolicy" {
		return nil, refused(doing, ref, errors.New("the sandbox takes NetworkPolicies and kubeadm's ConfigMaps only"))
	}
	if _, ok := c.records[harden.ObjectRef{APIVersion: "v1", Kind: "Namespace", Name: ref.Namespace}]; !ok {
		return nil, &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.NotFound,
			Cause: fmt.Errorf("there is no namespace %q", ref.Namespace)}
	}
	var p networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		return nil, refused(doing, ref, err)
	}
	setDefaults(&p.Spec)
	if err := check(p); err != nil {
		return nil, refused(doing, ref, err)
	}
	out, err := as[objects.Object](objects.Object{
		"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": p.ObjectMeta, "spec": p.Spec,
	})
	if err != nil {
		return nil, refused(doing, ref, err)
	}
	return out.Normal(), nil
}

// setDefaults does what the API server does with fields that are not set.
func setDefaults(s *networkingv1.NetworkPolicySpec) {
	tcp := func(ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				p := corev1.ProtocolTCP
				ports[i].Protocol = &p
			}
		}
	}
	for _, rule := range s.Ingress {
		tcp(rule.Ports)
	}
	for _, rule := range s.Egress {
		tcp(rule.Ports)
	}
	if len(s.PolicyTypes) == 0 {
		s.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(s.Egress) > 0 {
			s.PolicyTypes = append(s.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
}

// check is the API server's validation of a policy.
func check(p networkingv1.NetworkPolicy) error {
	var errs field.ErrorList
	meta := field.NewPath("metadata")
	for _, why := range validation.IsDNS1123Subdomain(p.Name) {
		errs = append(errs, field.Invalid(meta.Child("name"), p.Name, why))
	}
	errs = append(errs, metavalidation.ValidateLabels(p.Labels, meta.Child("labels"))...)
	spec := field.NewPath("spec")
	errs = append(errs, checkSelector(&p.Spec.PodSelector, spec.Child("podSelector"))...)
	known := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	for _, t := range p.Spec.PolicyTypes {
		if !slices.Contains(known, t) {
			errs = append(errs, field.NotSupported(spec.Child("policyTypes"), t, known))
		}
	}
	for i, rule := range p.Spec.Ingress {
		errs = append(errs, checkRule(rule.Ports, rule.From, spec.Child("ingress").Index(i), "from")...)
	}
	for i, rule := range p.Spec.Egress {
		errs = append(errs, checkRule(rule.Ports, rule.To, spec.Child("egress").Index(i), "to")...)
	}
	return errs.ToAggregate()
}

func checkSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

func checkRule(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, at *field.Path, peer string) (errs field.ErrorList) {
	for i, p := range ports {
		errs = append(errs, checkPort(p, at.Child("ports").Index(i))...)
	}
	for i, p := range peers {
		at := at.Child(peer).Index(i)
		errs = append(errs, checkSelector(p.PodSelector, at.Child("podSelector"))...)
		errs = append(errs, checkSelector(p.NamespaceSelector, at.Child("namespaceSelector"))...)
		switch selects := p.PodSelector != nil || p.NamespaceSelector != nil; {
		case p.IPBlock == nil && !selects:
			errs = append(errs, field.Required(at, "must specify a peer"))
		case p.IPBlock != nil && selects:
			errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
		case p.IPBlock != nil:
			errs = append(errs, checkBlock(*p.IPBlock, at.Child("ipBlock"))...)
		}
	}
	return errs
}

func checkPort(p networkingv1.NetworkPolicyPort, at *field.Path) (errs field.ErrorList) {
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	if !slices.Contains(protocols, *p.Protocol) {
		errs = append(errs, field.NotSupported(at.Child("protocol"), *p.Protocol, protocols))
	}
	var why []string
	switch {
	case p.Port == nil && p.EndPort != nil:
		return append(errs, field.Required(at.Child("port"), "must be specified when endPort is"))
	case p.Port == nil:
		return errs
	case p.Port.Type == intstr.Int:
		why = validation.IsValidPortNum(p.Port.IntValue())
	default:
		why = validation.IsValidPortName(p.Port.StrVal)
	}
	for _, w := range why {
		errs = append(errs, field.Invalid(at.Child("port"), p.Port.String(), w))
	}
	if p.EndPort != nil && (p.Port.Type != intstr.Int || *p.EndPort < p.Port.IntVal || *p.EndPort > 65535) {
		errs = append(errs, field.Invalid(at.Child("endPort"), *p.EndPort, "must be a number from port to 65535"))
	}
	return errs
}

func checkBlock(b networkingv1.IPBlock, at *field.Path) (errs field.ErrorList) {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return append(errs, field.Invalid(at.Child("cidr"), b.CIDR, "must be a CIDR"))
	}
	for i, e := range b.Except {
		part, err := netip.ParsePrefix(e)
		if err != nil || !whole.Contains(part.Addr()) || part.Bits() <= whole.Bits() {
			errs = append(errs, field.Invalid(at.Child("except").Index(i), e, "must be a strict subset of cidr"))
		}
	}
	return errs
}
