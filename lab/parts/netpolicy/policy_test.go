package main

import (
	"encoding/json"
	"slices"
	"testing"
)

const cluster = `{
 "namespaces": [
  {"metadata": {"name": "shop", "labels": {"team": "a"}}},
  {"metadata": {"name": "other"}}],
 "pods": [
  {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
   "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}]},
   "status": {"podIPs": [{"ip": "10.0.0.1"}]}},
  {"metadata": {"name": "client", "namespace": "shop"}, "status": {"podIPs": [{"ip": "10.0.0.2"}]}},
  {"metadata": {"name": "client", "namespace": "other", "labels": {"app": "client"}}, "status": {"podIPs": [{"ip": "10.0.0.3"}]}},
  {"metadata": {"name": "agent", "namespace": "other"}, "spec": {"hostNetwork": true}, "status": {"podIPs": [{"ip": "10.77.0.11"}]}}]
}`

func TestRules(t *testing.T) {
	tests := map[string]struct {
		policies string
		isolated bool
		want     []string
	}{
		"no policy": {`[]`, false, nil},
		"a policy of another namespace": {
			`[{"metadata": {"namespace": "other"}, "spec": {"podSelector": {}}}]`, false, nil},
		"one that selects other pods": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {"matchLabels": {"app": "db"}}}}]`, false, nil},
		"egress only": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}]`, false, nil},
		"deny": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}]`, true, nil},
		"everybody": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [{}]}}]`, true, []string{"accept"}},
		"the same namespace": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}}]`, true,
			[]string{"ip saddr 10.0.0.1 accept", "ip saddr 10.0.0.2 accept"}},
		"all namespaces, without pods of the host's network, to a port by name": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [
			   {"from": [{"namespaceSelector": {}}], "ports": [{"port": "http", "protocol": "TCP"}]}]}}]`, true,
			[]string{"ip saddr 10.0.0.1 tcp dport 8080 accept", "ip saddr 10.0.0.2 tcp dport 8080 accept", "ip saddr 10.0.0.3 tcp dport 8080 accept"}},
		"pods of other namespaces by both selectors": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [{"from": [
			   {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, "podSelector": {"matchLabels": {"app": "client"}}}]}]}}]`, true,
			[]string{"ip saddr 10.0.0.3 accept"}},
		"a block of addresses to a range of ports": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [
			   {"from": [{"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}}], "ports": [{"port": 80, "endPort": 90, "protocol": "UDP"}]}]}}]`, true,
			[]string{"ip saddr 10.1.0.0/16 ip saddr != 10.1.2.0/24 udp dport 80-90 accept"}},
		"a name that no container has": {
			`[{"metadata": {"namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": "grpc"}]}]}}]`, true, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var w world
			for text, into := range map[string]any{cluster: &struct {
				Namespaces *[]namespace
				Pods       *[]pod
			}{&w.namespaces, &w.pods}, test.policies: &w.policies} {
				if err := json.Unmarshal([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			rules, isolated := w.rulesFor(w.pods[0])
			if isolated != test.isolated || !slices.Equal(rules, test.want) {
				t.Errorf("isolated %t, rules %q; want %t, %q", isolated, rules, test.isolated, test.want)
			}
		})
	}
}
