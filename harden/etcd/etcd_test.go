package etcd

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func table() hardentest.Table { return hardentest.Table{Area: Area(), Component: harden.Etcd} }

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

func TestElsewhere(t *testing.T) { table().Elsewhere(t) }

const (
	file   = "etcd.yaml: "
	config = "/etc/kubernetes/etcd/config.yaml"
)

func set(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.Flag(name, value)}
}

func instead(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.NoFlag(name), hardentest.Flag(name, value)}
}

func without(names ...string) []hardentest.Edit {
	var out []hardentest.Edit
	for _, n := range names {
		out = append(out, hardentest.NoFlag(n))
	}
	return out
}

// variables sets flags by etcd's environment.
func variables(assignments ...string) hardentest.Edit {
	text := "    env:\n"
	for _, a := range assignments {
		name, value, _ := strings.Cut(a, "=")
		text += "    - name: " + name + "\n      value: \"" + value + "\"\n"
	}
	return hardentest.Replace("    image: ", text+"    image: ")
}

// configured is an etcd that goes by a configuration file alone.
var configured = []hardentest.Edit{hardentest.Flag("config-file", config), hardentest.Mount("/etc/kubernetes/etcd", "Directory", "readOnly: true")}

func write(text string) func(*hardentest.Node) {
	return func(n *hardentest.Node) {
		n.Files["/etc/kubernetes/etcd"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write(config, text, 0o600)
	}
}

// single is a cluster whose only control-plane node this is.
func single(f *harden.Facts) {
	delete(f.Missing, harden.NeedNodes)
	f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{{Name: "cp1", ControlPlane: true}, {Name: "w1"}}}
}

func choose(id string, accept bool) harden.Choice {
	return harden.Choice{Control: id, Named: true, Accept: accept}
}

func TestCertificates(t *testing.T) {
	for _, s := range []struct {
		id, cert, key, section, urls, path string
	}{
		{"etcd-server-certificate", certFlag, keyFlag, "client-transport-security", clientURLFlag, "server"},
		{"etcd-peer-certificate", peerCertFlag, peerKeyFlag, "peer-transport-security", peerURLFlag, "peer"},
	} {
		env := variables("ETCD_"+upper(s.cert)+"=/c", "ETCD_"+upper(s.key)+"=/k")
		inFile := write(s.section + ":\n  cert-file: /c\n  key-file: /k\n")
		table().Verdicts(t, s.id, []hardentest.Verdict{
			{Name: "kubeadm's", Want: harden.StatusPass, Says: s.path + ".crt"},
			{Name: "no key", Edits: without(s.key), Want: harden.StatusFail, Says: "not both given"},
			{Name: "plain text too", Edits: instead(s.urls, "https://192.0.2.11:1,http://127.0.0.1:2"), Want: harden.StatusFail, Says: "http://127.0.0.1:2"},
			{Name: "by environment", Edits: append(without(s.cert, s.key), env), Want: harden.StatusPass, Says: "/c"},
			{Name: "by file", Edits: configured, Change: inFile, Want: harden.StatusPass, Says: "/c"},
			{Name: "flags beside a file do not count", Edits: configured, Change: write("name: cp1\n"), Want: harden.StatusFail},
			{Name: "a file that is not there", Edits: configured, Want: harden.StatusManual, Says: "does not exist"},
			{Name: "a file that is not mounted", Edits: set("config-file", config), Change: inFile, Want: harden.StatusManual, Says: "not known here"},
		})
		table().Changes(t, []hardentest.Change{
			{Name: "adds " + s.path, Minor: "1.37", Edits: without(s.cert, s.key), Facts: single, Choice: choose(s.id, true),
				Want: []string{file + "+ - --" + s.cert + "=/etc/kubernetes/pki/etcd/" + s.path + ".crt", file + "+ - --" + s.key + "=/etc/kubernetes/pki/etcd/" + s.path + ".key"}},
			{Name: "not from plain text " + s.path, Minor: "1.37", Edits: instead(s.urls, "http://192.0.2.11:2"), Facts: single, Choice: choose(s.id, true), Skip: "must change at the same time"},
			{Name: "not unasked " + s.path, Minor: "1.37", Edits: without(s.key), Choice: choose(s.id, false), Skip: "--accept " + s.id},
		})
	}
}

func upper(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

func TestAuth(t *testing.T) {
	for _, s := range []struct{ id, auth, ca, section string }{
		{"etcd-client-cert-auth", authFlag, caFlag, "client-transport-security"},
		{"etcd-peer-client-cert-auth", peerAuthFlag, peerCAFlag, "peer-transport-security"},
	} {
		table().Verdicts(t, s.id, []hardentest.Verdict{
			{Name: "kubeadm's", Want: harden.StatusPass, Says: "/etc/kubernetes/pki/etcd/ca.crt"},
			{Name: "off", Edits: instead(s.auth, "false"), Want: harden.StatusFail, Says: "not asked for"},
			{Name: "missing", Edits: without(s.auth), Want: harden.StatusFail},
			{Name: "no CA", Edits: without(s.ca), Want: harden.StatusFail, Says: "no CA says whose count"},
			{Name: "by environment", Edits: append(without(s.auth), variables("ETCD_"+upper(s.auth)+"=true")), Want: harden.StatusPass},
			{Name: "a flag beats the environment", Edits: append(instead(s.auth, "false"), variables("ETCD_"+upper(s.auth)+"=true")), Want: harden.StatusFail},
			{Name: "by file", Edits: configured, Change: write(s.section + ":\n  client-cert-auth: true\n  trusted-ca-file: /ca\n"), Want: harden.StatusPass},
		})
		table().Changes(t, []hardentest.Change{
			{Name: "adds " + s.auth, Minor: "1.30", Edits: without(s.auth), Facts: single, Choice: choose(s.id, true), Want: []string{file + "+ - --" + s.auth + "=true"}},
			{Name: "with the CA " + s.auth, Minor: "1.37", Edits: without(s.auth, s.ca), Facts: single, Choice: choose(s.id, true),
				Want: []string{file + "+ - --" + s.auth + "=true", file + "+ - --" + s.ca + "=/etc/kubernetes/pki/etcd/ca.crt"}},
			{Name: "in the file " + s.auth, Minor: "1.37", Edits: configured, Change: write(s.section + ":\n  client-cert-auth: false # why\n  trusted-ca-file: /ca\n"), Facts: single, Choice: choose(s.id, true),
				Want: []string{"config.yaml: - client-cert-auth: false # why", "config.yaml: + client-cert-auth: true # why", file + "+ kubectl-harden.io/files-sha256: ..."}},
		})
	}
	table().Changes(t, []hardentest.Change{
		{Name: "not an API server without certificate", Minor: "1.37", Edits: without(authFlag), Facts: func(f *harden.Facts) {
			single(f)
			c := f.Components[harden.APIServer]
			c.Args = strings.Split(strings.ReplaceAll(strings.Join(c.Args, " "), "--etcd-certfile", "--x"), " ")
		}, Choice: choose("etcd-client-cert-auth", true), Skip: "it would be cut off"},
	})
}

func TestAutoTLS(t *testing.T) {
	for id, flag := range map[string]string{"etcd-auto-tls": autoFlag, "etcd-peer-auto-tls": peerAutoFlag} {
		table().Verdicts(t, id, []hardentest.Verdict{
			{Name: "kubeadm's", Want: harden.StatusPass},
			{Name: "on", Edits: set(flag, "true"), Want: harden.StatusFail},
			{Name: "off", Edits: set(flag, "false"), Want: harden.StatusPass},
			{Name: "by environment", Edits: []hardentest.Edit{variables("ETCD_" + upper(flag) + "=true")}, Want: harden.StatusFail},
		})
		table().Changes(t, []hardentest.Change{
			{Name: "removes " + flag, Minor: "1.37", Edits: set(flag, "true"), Facts: single, Choice: choose(id, true), Want: []string{file + "- - --" + flag + "=true"}},
			{Name: "over the environment " + flag, Minor: "1.37", Edits: []hardentest.Edit{variables("ETCD_" + upper(flag) + "=true")}, Facts: single, Choice: choose(id, true), Want: []string{file + "+ - --" + flag + "=false"}},
			{Name: "not without a certificate " + flag, Minor: "1.37", Edits: append(set(flag, "true"), without(certFlag, peerCertFlag)...), Facts: single, Choice: choose(id, true), Skip: "none to serve with"},
		})
	}
}

func TestUniqueCA(t *testing.T) {
	cluster := hardentest.Fixture(t, "1.37").Files["/etc/kubernetes/pki/ca.crt"]
	table().Verdicts(t, "etcd-unique-ca", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "the cluster's", Change: func(n *hardentest.Node) {
			n.Files["/etc/kubernetes/pki/etcd/ca.crt"] = n.Files["/etc/kubernetes/pki/ca.crt"]
		}, Want: harden.StatusFail, Says: "the CA that certifies the cluster's clients"},
		{Name: "the cluster's among others", Change: func(n *hardentest.Node) {
			s := n.Files["/etc/kubernetes/pki/etcd/ca.crt"]
			s.Data = append(append([]byte{}, s.Data...), n.Files["/etc/kubernetes/pki/ca.crt"].Data...)
			n.Files["/etc/kubernetes/pki/etcd/ca.crt"] = s
		}, Want: harden.StatusFail},
		{Name: "none", Edits: without(caFlag), Want: harden.StatusFail, Says: "no CA"},
		{Name: "not there", Change: func(n *hardentest.Node) { delete(n.Files, "/etc/kubernetes/pki/etcd/ca.crt") }, Want: harden.StatusManual, Says: "was not read"},
		{Name: "no certificate", Change: func(n *hardentest.Node) { n.Write("/etc/kubernetes/pki/etcd/ca.crt", "x", 0o644) }, Want: harden.StatusManual},
	})
	if len(cluster.Data) == 0 {
		t.Error("the fixture has no CA")
	}
}

func TestMetrics(t *testing.T) {
	const id = "etcd-metrics-address"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "everywhere", Edits: instead(metricsFlag, "http://0.0.0.0:2381"), Want: harden.StatusFail, Says: "http://0.0.0.0:2381"},
		{Name: "one of two", Edits: instead(metricsFlag, "http://127.0.0.1:2381,http://192.0.2.11:2381"), Want: harden.StatusFail, Says: "192.0.2.11"},
		{Name: "none", Edits: without(metricsFlag), Want: harden.StatusPass, Says: "with a certificate only"},
		{Name: "IPv6", Edits: instead(metricsFlag, "http://[::1]:2381"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "loopback", Minor: "1.37", Edits: append(instead(metricsFlag, "http://0.0.0.0:2381"), hardentest.Replace("        host: 127.0.0.1\n", "        host: 192.0.2.11\n")), Facts: single, Choice: choose(id, true),
			Want: []string{file + "- - --listen-metrics-urls=http://0.0.0.0:2381", file + "+ - --listen-metrics-urls=http://127.0.0.1:2381",
				file + "- host: 192.0.2.11", file + "+ host: 127.0.0.1", file + "- host: 192.0.2.11", file + "+ host: 127.0.0.1", file + "- host: 192.0.2.11", file + "+ host: 127.0.0.1"}},
	})
}

func TestTLS(t *testing.T) {
	const floor, list = "etcd-tls-min-version", "etcd-cipher-suites"
	const strong = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	table().Verdicts(t, floor, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "own floor"},
		{Name: "1.3", Edits: set(minFlag, "TLS1.3"), Want: harden.StatusPass},
		{Name: "no version", Edits: set(minFlag, "VersionTLS12"), Want: harden.StatusFail, Says: "does not start"},
	})
	table().Verdicts(t, list, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "CBC"},
		{Name: "strong", Edits: set(suitesFlag, strong), Want: harden.StatusPass},
		{Name: "not for the key", Edits: set(suitesFlag, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), Want: harden.StatusFail, Says: "RSA key"},
		{Name: "not for HTTP/2", Edits: set(suitesFlag, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), Want: harden.StatusFail, Says: "HTTP/2"},
		{Name: "only 1.3", Edits: set(minFlag, "TLS1.3"), Want: harden.StatusPass},
		{Name: "1.3 and a list", Edits: append(set(minFlag, "TLS1.3"), set(suitesFlag, strong)...), Want: harden.StatusFail, Says: "does not start"},
		{Name: "in a file", Edits: configured, Change: write("cipher-suites: [" + strong + "]\nclient-transport-security:\n  cert-file: /etc/kubernetes/pki/etcd/server.crt\n"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "suites", Minor: "1.34", Facts: single, Choice: choose(list, true), Want: []string{file + "+ - --cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}},
		{Name: "a floor that etcd knows", Minor: "1.37", Edits: set(minFlag, "1.2"), Facts: single, Choice: choose(floor, true), Want: []string{file + "- - --tls-min-version=1.2", file + "+ - --tls-min-version=TLS1.2"}},
		{Name: "not both", Minor: "1.37", Edits: append(set(minFlag, "1.2"), set(suitesFlag, strong)...), Facts: single, Choice: harden.Choice{Control: floor, Accept: true, Options: harden.Values{"version": "TLS1.3"}}, Skip: "does not start with TLS 1.3 alone"},
	})
}

func TestRemovedFlags(t *testing.T) {
	const id = "etcd-removed-flags"
	kept := func(f *harden.Facts) {
		single(f)
		f.Cluster.Kubeadm = &harden.KubeadmFact{ExtraArgs: map[harden.ComponentID][]harden.KubeadmArg{harden.Etcd: {{Name: "experimental-memory-mlock", Value: "true"}}}}
	}
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "somebody's", Edits: set("experimental-corrupt-check-time", "4h"), Want: harden.StatusFail, Says: "--experimental-corrupt-check-time=4h"},
		{Name: "in kubeadm's configuration", Facts: kept, Want: harden.StatusFail, Says: "--experimental-memory-mlock=true"},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "removes", Minor: "1.34", Edits: set("experimental-corrupt-check-time", "4h"), Facts: single, Choice: choose(id, true), Want: []string{file + "- - --experimental-corrupt-check-time=4h"}},
	})
}

func TestQuorum(t *testing.T) {
	for _, row := range []struct {
		name  string
		edits []hardentest.Edit
		facts func(*harden.Facts)
		want  harden.PreconditionState
	}{
		{"unread", nil, func(*harden.Facts) {}, harden.PreconditionUnknown},
		{"the only member", nil, single, harden.Met},
		{"another control plane", nil, func(f *harden.Facts) {
			single(f)
			f.Cluster.Nodes[1].ControlPlane = true
		}, harden.PreconditionUnknown},
		{"joined others", instead(clusterFlag, "cp1=https://192.0.2.11:2380,cp2=https://192.0.2.12:2380"), single, harden.PreconditionUnknown},
	} {
		f := hardentest.StaticPod(t, "1.37", harden.Etcd, row.edits...).Facts(t)
		row.facts(f)
		if got := quorum(f); got.State != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

// TestSnapshotNeedsNoWord: the plan takes one itself, and only where nothing runs is it left to a person.
func TestSnapshotNeedsNoWord(t *testing.T) {
	for offline, want := range map[bool]harden.PreconditionState{false: harden.Met, true: harden.PreconditionUnknown} {
		f := hardentest.APIServerFacts(t, "1.37")
		f.Identity.Offline = offline
		got := snapshot(f)
		if got.State != want || offline && !strings.Contains(got.Message.String(), "/var/lib/etcd below") {
			t.Errorf("offline %v: %s: %s", offline, got.State, got.Message)
		}
	}
}

// Nothing of etcd is taken unasked.
func TestAllTakesNothing(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	choices, _, err := harden.Select(f, []harden.Area{Area()}, harden.Selection{All: true})
	if err != nil || len(choices) > 0 {
		t.Errorf("%+v, %v", choices, err)
	}
}

// Both of etcd's listeners are asked, at the addresses that it has; its probes are without TLS.
func TestHandshakesAreAskedOfBothListeners(t *testing.T) {
	for name, tt := range map[string]struct {
		edits []hardentest.Edit
		id    string
		set   harden.Values
		path  string
		list  []string
		at    []string
	}{
		"floor":                    {id: "etcd-tls-min-version", set: harden.Values{"version": "TLS1.3"}, path: "TLS 1.3", at: []string{"127.0.0.1:2379", "192.0.2.11:2380"}},
		"suites":                   {id: "etcd-cipher-suites", set: harden.Values{"suites": "A,B"}, path: "TLS 1.2", list: []string{"A", "B"}, at: []string{"127.0.0.1:2379", "192.0.2.11:2380"}},
		"peers without TLS":        {edits: instead(peerURLFlag, "http://192.0.2.11:2380"), id: "etcd-cipher-suites", set: harden.Values{"suites": "A"}, path: "TLS 1.2", list: []string{"A"}, at: []string{"127.0.0.1:2379"}},
		"everywhere":               {edits: instead(clientURLFlag, "https://0.0.0.0:2379"), id: "etcd-tls-min-version", set: harden.Values{"version": "TLS1.2"}, path: "TLS 1.2", at: []string{"127.0.0.1:2379", "192.0.2.11:2380"}},
		"a highest version is set": {edits: set(maxFlag, "TLS1.2"), id: "etcd-tls-min-version", set: harden.Values{"version": "TLS1.2"}},
	} {
		f := hardentest.StaticPod(t, "1.37", harden.Etcd, tt.edits...).Facts(t)
		_, c, _ := harden.FindControl([]harden.Area{Area()}, tt.id)
		var at []string
		for _, p := range c.Remedies[0].Proofs(f, tt.set) {
			at = append(at, p.Request)
			list, _ := p.Want.([]string)
			if p.Kind != harden.ProofHandshake || p.Component != harden.Etcd || p.Path != tt.path || !slices.Equal(list, tt.list) {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(at, tt.at) {
			t.Errorf("%s: asked at %v", name, at)
		}
	}
}
