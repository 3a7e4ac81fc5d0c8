package apiserver

import (
	"reflect"
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// proofsOf are what the default remedy of a control wants to be proven.
func proofsOf(t *testing.T, id string, f *harden.Facts, set harden.Values) []harden.Proof {
	t.Helper()
	_, c, ok := harden.FindControl([]harden.Area{Area()}, id)
	if !ok || c.Remedies[0].Proofs == nil {
		t.Fatalf("%s proves nothing", id)
	}
	values, err := c.Remedies[0].Fill(id, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range c.Remedies[0].Options {
		if _, set := values[o.Name]; !set && o.Found != nil {
			values[o.Name] = o.Found(f, values)
		}
	}
	return c.Remedies[0].Proofs(f, values)
}

func TestPluginsAreProvenByTheirWork(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	for _, p := range append(slices.Clone(plugins), eventRateLimit) {
		if got, want := proofsOf(t, p.id, f, nil), []harden.Proof{{Control: p.id, Kind: harden.ProofAdmission, Path: p.name}}; !slices.Equal(got, want) {
			t.Errorf("%s: %+v", p.id, got)
		}
	}
}

func TestOldTokensAreProvenUselessWhereTheyCanBeRead(t *testing.T) {
	for path, want := range map[string][]harden.Proof{
		"/etc/kubernetes/pki/tokens.csv": {{Control: "apiserver-token-auth-file", Kind: harden.ProofOldToken, Path: "/etc/kubernetes/pki/tokens.csv", Request: "/api", Status: 401}},
		"/in/the/image/tokens.csv":       nil,
	} {
		n := hardentest.StaticPod(t, "1.37", harden.APIServer, hardentest.Flag(tokenFileFlag, path))
		if got := proofsOf(t, "apiserver-token-auth-file", n.Facts(t), nil); !slices.Equal(got, want) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// The default level is tried where it counts, and by nobody whose pods may be exempt.
func TestThePodSecurityDefaultIsProvenWhereItCounts(t *testing.T) {
	const id = "apiserver-pod-security-defaults"
	none := []harden.Proof(nil)
	in := func(namespace string) []harden.Proof {
		return []harden.Proof{{Control: id, Kind: harden.ProofPodRefused, Path: namespace}}
	}
	namespaces := func(f *harden.Facts) {
		f.Cluster = &harden.ClusterFacts{Namespaces: []harden.NamespaceFact{
			{Name: "going", Terminating: true}, {Name: "kube-system"}, {Name: "labelled", Labels: map[string]string{enforceLabel: "baseline"}}, {Name: "shop"}, {Name: "web"},
		}}
		delete(f.Missing, harden.NeedWorkloads)
	}
	for _, row := range []struct {
		name, text string
		facts      func(*harden.Facts)
		set        harden.Values
		want       []harden.Proof
	}{
		{"the cluster is not known", "", func(*harden.Facts) {}, nil, none},
		{"the first that is neither labelled nor exempt", "", namespaces, nil, in("shop")},
		{"exempt by option", "", namespaces, harden.Values{"exempt": "shop"}, in("web")},
		{"nothing is enforced", "", namespaces, harden.Values{"enforce": harden.PodSecurityPrivileged}, none},
		{"users are exempt", admissionHead + "plugins:\n- name: PodSecurity\n  configuration:\n    kind: PodSecurityConfiguration\n    exemptions: {usernames: [kubernetes-admin]}\n", namespaces, nil, none},
	} {
		n := hardentest.Fixture(t, "1.37")
		if row.text != "" {
			edits, change := admission(row.text, nil)
			n = hardentest.StaticPod(t, "1.37", harden.APIServer, edits...)
			change(n)
		}
		f := n.Facts(t)
		row.facts(f)
		if got := proofsOf(t, id, f, row.set); !slices.Equal(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}

// Whatever remedy sets the floor is proven by it, and a list by the floor that counts.
func TestTLSIsProvenByHandshakes(t *testing.T) {
	for name, tt := range map[string]struct {
		flag, id string
		remedy   int
		set      harden.Values
		want     harden.Proof
	}{
		"written down": {id: "apiserver-tls-min-version", want: harden.Proof{Path: "TLS 1.2"}},
		"raised":       {id: "apiserver-tls-min-version", remedy: 1, set: harden.Values{"version": "VersionTLS13"}, want: harden.Proof{Path: "TLS 1.3"}},
		"a list":       {id: "apiserver-tls-cipher-suites", set: harden.Values{"suites": "A, B"}, want: harden.Proof{Path: "TLS 1.2", Want: []string{"A", "B"}}},
		"a list above": {flag: "VersionTLS13", id: "apiserver-tls-cipher-suites", set: harden.Values{"suites": "A"}, want: harden.Proof{Path: "TLS 1.3", Want: []string{"A"}}},
	} {
		n := hardentest.StaticPod(t, "1.37", harden.APIServer)
		if tt.flag != "" {
			n = hardentest.StaticPod(t, "1.37", harden.APIServer, hardentest.Flag("tls-min-version", tt.flag))
		}
		_, c, _ := harden.FindControl([]harden.Area{Area()}, tt.id)
		tt.want.Control, tt.want.Kind, tt.want.Component = tt.id, harden.ProofHandshake, harden.APIServer
		if got := c.Remedies[tt.remedy].Proofs(n.Facts(t), tt.set); !reflect.DeepEqual(got, []harden.Proof{tt.want}) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
