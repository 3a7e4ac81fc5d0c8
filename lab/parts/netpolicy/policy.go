package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The types below are those of the API, as far as they are needed.

type meta struct {
	Name, Namespace string
	Labels          map[string]string
}

type namespace struct{ Metadata meta }

type pod struct {
	Metadata meta
	Spec     struct {
		HostNetwork bool
		Containers  []struct {
			Ports []struct {
				Name          string
				ContainerPort int
				Protocol      string
			}
		}
	}
	Status struct {
		Phase  string
		PodIPs []struct{ IP string }
	}
}

type selector struct {
	MatchLabels      map[string]string
	MatchExpressions []struct {
		Key, Operator string
		Values        []string
	}
}

type policy struct {
	Metadata meta
	Spec     struct {
		PodSelector selector
		PolicyTypes []string
		Ingress     []rule
	}
}

type rule struct {
	From  []peer
	Ports []port
}

type peer struct {
	PodSelector, NamespaceSelector *selector
	IPBlock                        *struct {
		CIDR   string
		Except []string
	}
}

type port struct {
	Protocol string
	Port     json.RawMessage // a number or a name
	EndPort  int
}

func (s selector) matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		have, ok := labels[e.Key]
		in := ok && slices.Contains(e.Values, have)
		switch e.Operator {
		case "In":
			if !in {
				return false
			}
		case "NotIn":
			if in {
				return false
			}
		case "Exists":
			if !ok {
				return false
			}
		case "DoesNotExist":
			if ok {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// world is what the API shows.
type world struct {
	namespaces []namespace
	pods       []pod
	policies   []policy
}

// rulesFor are the nftables rules that accept what the policies allow to a pod. isolated is false where no policy selects it:
// then everything is allowed.
func (w world) rulesFor(p pod) (rules []string, isolated bool) {
	for _, pol := range w.policies {
		if pol.Metadata.Namespace != p.Metadata.Namespace || !pol.Spec.PodSelector.matches(p.Metadata.Labels) {
			continue
		}
		if len(pol.Spec.PolicyTypes) > 0 && !slices.Contains(pol.Spec.PolicyTypes, "Ingress") {
			continue
		}
		isolated = true
		for _, r := range pol.Spec.Ingress {
			for _, from := range w.sources(r, pol.Metadata.Namespace) {
				for _, to := range destinations(r, p) {
					rules = append(rules, strings.Join(strings.Fields(from+" "+to+" accept"), " "))
				}
			}
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules), isolated
}

// sources are matches of the packets' origin; one that is empty matches all.
func (w world) sources(r rule, home string) []string {
	if len(r.From) == 0 {
		return []string{""}
	}
	var out []string
	for _, from := range r.From {
		if b := from.IPBlock; b != nil {
			match := "ip saddr " + b.CIDR
			for _, e := range b.Except {
				match += " ip saddr != " + e
			}
			out = append(out, match)
			continue
		}
		for _, p := range w.pods {
			if p.Spec.HostNetwork || !w.inNamespaces(from.NamespaceSelector, p.Metadata.Namespace, home) {
				continue
			}
			if from.PodSelector != nil && !from.PodSelector.matches(p.Metadata.Labels) {
				continue
			}
			for _, ip := range p.Status.PodIPs {
				out = append(out, "ip saddr "+ip.IP)
			}
		}
	}
	return out
}

func (w world) inNamespaces(s *selector, name, home string) bool {
	if s == nil {
		return name == home
	}
	i := slices.IndexFunc(w.namespaces, func(n namespace) bool { return n.Metadata.Name == name })
	return i >= 0 && s.matches(w.namespaces[i].Metadata.Labels)
}

// destinations are matches of the packets' port; one that is empty matches all.
func destinations(r rule, p pod) []string {
	if len(r.Ports) == 0 {
		return []string{""}
	}
	var out []string
	for _, want := range r.Ports {
		protocol := strings.ToLower(want.Protocol)
		if protocol == "" {
			protocol = "tcp"
		}
		if len(want.Port) == 0 {
			out = append(out, "meta l4proto "+protocol)
			continue
		}
		for _, n := range want.numbers(p, protocol) {
			match := fmt.Sprintf("%s dport %d", protocol, n)
			if want.EndPort > n {
				match += fmt.Sprintf("-%d", want.EndPort)
			}
			out = append(out, match)
		}
	}
	return out
}

// numbers resolves a port's name by the pod's containers.
func (want port) numbers(p pod, protocol string) []int {
	if n, err := strconv.Atoi(string(want.Port)); err == nil {
		return []int{n}
	}
	var name string
	if json.Unmarshal(want.Port, &name) != nil {
		return nil
	}
	var out []int
	for _, c := range p.Spec.Containers {
		for _, have := range c.Ports {
			if have.Name == name && (strings.EqualFold(have.Protocol, protocol) || have.Protocol == "" && protocol == "tcp") {
				out = append(out, have.ContainerPort)
			}
		}
	}
	return out
}

// table is the input for nft that makes a pod's network obey the rules. The node itself may always ask: the kubelet's probes
// come from there.
func table(rules []string, isolated bool, node []string) string {
	script := "add table inet lab_netpolicy\ndelete table inet lab_netpolicy\n"
	if !isolated {
		return script
	}
	script += "table inet lab_netpolicy {\n chain input {\n  type filter hook input priority filter; policy drop;\n" +
		"  iifname \"lo\" accept\n  ct state established,related accept\n"
	for _, address := range node {
		script += "  ip saddr " + address + " accept\n"
	}
	for _, r := range rules {
		script += "  " + r + "\n"
	}
	return script + " }\n}\n"
}
