package apiserver

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

func table() hardentest.Table { return hardentest.Table{Area: Area(), Component: harden.APIServer} }

func TestElsewhere(t *testing.T) { table().Elsewhere(t) }

// All default remedies that concern the node alone, taken together on an untouched node.
func TestAllOnFreshNode(t *testing.T) {
	want := map[string][]string{
		"1.30": {"kube-apiserver.yaml: + - --profiling=false", "kube-apiserver.yaml: + - --tls-min-version=VersionTLS12"},
		"1.34": {
			"make /etc/kubernetes/authn", "write /etc/kubernetes/authn/config.yaml",
			"kube-apiserver.yaml: + - --authentication-config=/etc/kubernetes/authn/config.yaml",
			"kube-apiserver.yaml: + - --profiling=false",
			"kube-apiserver.yaml: + - --tls-min-version=VersionTLS12",
			"kube-apiserver.yaml: + - mountPath: /etc/kubernetes/authn",
			"kube-apiserver.yaml: + name: authn-config",
			"kube-apiserver.yaml: + readOnly: true",
			"kube-apiserver.yaml: + - hostPath:",
			"kube-apiserver.yaml: + path: /etc/kubernetes/authn",
			"kube-apiserver.yaml: + type: Directory",
			"kube-apiserver.yaml: + name: authn-config",
		},
	}
	want["1.37"] = want["1.34"]
	for _, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			n := hardentest.APIServer(t, minor)
			choices, skipped, err := harden.Select(n.Facts(t), []harden.Area{Area()}, harden.Selection{All: true})
			if err != nil {
				t.Fatal(err)
			}
			p, err := n.Plan(t, Area(), choices...)
			if err != nil {
				t.Fatal(err)
			}
			if got := hardentest.Changes(t, p); !slices.Equal(got, want[minor]) {
				t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want[minor], "\n"))
			}
			for _, s := range skipped {
				if s.Control == "apiserver-profiling" || s.Reason.IsZero() {
					t.Errorf("skipped %s: %s", s.Control, s.Reason)
				}
			}
		})
	}
}
