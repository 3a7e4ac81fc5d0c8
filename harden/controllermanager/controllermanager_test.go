package controllermanager

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func table() hardentest.Table {
	return hardentest.Table{Area: Area(), Component: harden.ControllerManager}
}

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

func TestElsewhere(t *testing.T) { table().Elsewhere(t) }

const file = "kube-controller-manager.yaml: "

func set(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.Flag(name, value)}
}

func instead(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.NoFlag(name), hardentest.Flag(name, value)}
}

func without(name string) []hardentest.Edit { return []hardentest.Edit{hardentest.NoFlag(name)} }

func live(more ...string) func(*harden.Facts) {
	return func(f *harden.Facts) { hardentest.RunPod(f, harden.ControllerManager, f.CollectedAt, more...) }
}

func choose(id string, accept bool) harden.Choice {
	return harden.Choice{Control: id, Named: true, Accept: accept}
}

func TestManifest(t *testing.T) {
	table().Verdicts(t, "controllermanager-rival-manifest", []hardentest.Verdict{
		{Name: "one file", Want: harden.StatusPass},
		{Name: "a copy", Change: func(n *hardentest.Node) {
			n.Write(harden.StaticPodDir+"/old.yaml", string(n.Files[harden.StaticPodDir+"/kube-controller-manager.yaml"].Data), 0o600)
		}, Want: harden.StatusFail, Says: "the kubelet obeys /etc/kubernetes/manifests/old.yaml"},
	})
	table().Verdicts(t, "controllermanager-running-arguments", []hardentest.Verdict{
		{Name: "offline", Want: harden.StatusNotApplicable},
		{Name: "the same", Facts: live(), Want: harden.StatusPass},
		{Name: "another", Facts: live("--profiling=false"), Want: harden.StatusFail, Says: "process 4711"},
	})
}

func TestProfiling(t *testing.T) {
	const id = "controllermanager-profiling"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "/debug/pprof"},
		{Name: "off", Edits: set("profiling", "false"), Want: harden.StatusPass},
		{Name: "on", Edits: set("profiling", "true"), Want: harden.StatusFail},
		{Name: "not a boolean", Edits: set("profiling", "off"), Want: harden.StatusFail},
		{Name: "the process counts", Facts: live("--profiling=false"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "adds", Minor: "1.30", Choice: choose(id, false), Want: []string{file + "+ - --profiling=false"}},
		{Name: "changes", Minor: "1.37", Edits: set("profiling", "true"), Choice: choose(id, false), Want: []string{file + "- - --profiling=true", file + "+ - --profiling=false"}},
	})
}

func TestGCThreshold(t *testing.T) {
	const id = "controllermanager-terminated-pod-gc-threshold"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "12500"},
		{Name: "a thousand", Edits: set(gcFlag, "1000"), Want: harden.StatusPass},
		{Name: "the benchmark's ten", Edits: set(gcFlag, "10"), Want: harden.StatusManual, Says: "only 10 finished pods"},
		{Name: "never", Edits: set(gcFlag, "0"), Want: harden.StatusFail, Says: "never removed"},
		{Name: "not a number", Edits: set(gcFlag, "many"), Want: harden.StatusFail},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "adds", Minor: "1.34", Choice: choose(id, false), Want: []string{file + "+ - --terminated-pod-gc-threshold=1000"}},
		{Name: "as asked", Minor: "1.37", Choice: harden.Choice{Control: id, Options: harden.Values{"threshold": "500"}}, Want: []string{file + "+ - --terminated-pod-gc-threshold=500"}},
	})
	for _, v := range []string{"10", "0", "20000", "x"} {
		if err := Area().Controls[3].Remedies[0].Options[0].Accepts(v); err == nil {
			t.Errorf("a threshold of %s is taken", v)
		}
	}
}

func TestServiceAccountCredentials(t *testing.T) {
	const id = "controllermanager-use-service-account-credentials"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "off", Edits: instead(accountFlag, "false"), Want: harden.StatusFail, Says: "one user"},
		{Name: "missing", Edits: without(accountFlag), Want: harden.StatusFail},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "adds", Minor: "1.37", Edits: without(accountFlag), Choice: choose(id, false), Want: []string{file + "+ - --use-service-account-credentials=true"}},
		{Name: "not without RBAC", Minor: "1.37", Edits: without(accountFlag), Change: func(n *hardentest.Node) {
			n.Edit(t, hardentest.ManifestPath, "--authorization-mode=Node,RBAC", "--authorization-mode=AlwaysAllow")
		}, Choice: choose(id, true), Skip: "RBAC is not among the authorization modes"},
		{Name: "not unseen", Minor: "1.37", Edits: without(accountFlag), Change: func(n *hardentest.Node) { delete(n.Files, hardentest.ManifestPath) },
			Choice: choose(id, false), Skip: "--accept " + id},
	})
}

func TestFiles(t *testing.T) {
	for flag, path := range map[string]string{keyFlag: keyFile, rootCAFlag: rootCAFile} {
		id := "controllermanager-" + flag
		table().Verdicts(t, id, []hardentest.Verdict{
			{Name: "kubeadm's " + flag, Want: harden.StatusPass, Says: path},
			{Name: "missing " + flag, Edits: without(flag), Want: harden.StatusFail},
			{Name: "not mounted " + flag, Edits: instead(flag, "/srv/file"), Want: harden.StatusFail, Says: "no mount shows /srv/file"},
		})
		table().Changes(t, []hardentest.Change{
			{Name: "adds " + flag, Minor: "1.37", Edits: without(flag), Choice: choose(id, false), Want: []string{file + "+ - --" + flag + "=" + path}},
			{Name: "somebody's own " + flag, Minor: "1.37", Edits: instead(flag, "/srv/file"), Choice: choose(id, false), Skip: "mount it in the manifest by hand"},
		})
	}
}

func TestRotateKubeletServerCertificate(t *testing.T) {
	const id = "controllermanager-rotate-kubelet-server-certificate"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "on by default"},
		{Name: "on", Edits: set(gatesFlag, "RotateKubeletServerCertificate=true"), Want: harden.StatusPass},
		{Name: "off", Edits: set(gatesFlag, "RotateKubeletServerCertificate=false"), Want: harden.StatusFail},
		{Name: "off with all that are beta", Edits: set(gatesFlag, "AllBeta=false"), Want: harden.StatusFail, Says: "AllBeta=false turns"},
		{Name: "on by its name where all that are beta are off", Edits: set(gatesFlag, "RotateKubeletServerCertificate=true,AllBeta=false"), Want: harden.StatusPass},
		{Name: "alpha gates off are others", Edits: set(gatesFlag, "AllAlpha=false"), Want: harden.StatusPass},
		{Name: "off, for the component", Edits: set(gatesFlag, "A=true,kube:RotateKubeletServerCertificate=0"), Want: harden.StatusFail},
		{Name: "another gate", Edits: set(gatesFlag, "CloudControllerManagerWebhook=false"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "with its stage", Minor: "1.37", Edits: set(gatesFlag, "AllBeta=false"), Choice: choose(id, false), Skip: "turns off other gates too"},
		{Name: "the only one", Minor: "1.37", Edits: set(gatesFlag, "RotateKubeletServerCertificate=false"), Choice: choose(id, false),
			Want: []string{file + "- - --feature-gates=RotateKubeletServerCertificate=false"}},
		{Name: "one of two", Minor: "1.30", Edits: set(gatesFlag, "A=true,RotateKubeletServerCertificate=false"), Choice: choose(id, false),
			Want: []string{file + "- - --feature-gates=A=true,RotateKubeletServerCertificate=false", file + "+ - --feature-gates=A=true"}},
	})
}

func TestBindAddress(t *testing.T) {
	const id = "controllermanager-bind-address"
	everywhere := append(instead("bind-address", "0.0.0.0"), hardentest.Replace("        host: 127.0.0.1\n", ""))
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "everywhere", Edits: everywhere, Want: harden.StatusFail, Says: "0.0.0.0"},
		{Name: "missing", Edits: without("bind-address"), Want: harden.StatusFail, Says: "every address"},
		{Name: "IPv6", Edits: instead("bind-address", "::1"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "not unasked", Minor: "1.37", Edits: everywhere, Choice: choose(id, false), Skip: "--accept " + id},
		{Name: "with its probes", Minor: "1.37", Edits: everywhere, Choice: choose(id, true),
			Want: []string{file + "- - --bind-address=0.0.0.0", file + "+ - --bind-address=127.0.0.1", file + "+ host: 127.0.0.1", file + "+ host: 127.0.0.1"}},
		{Name: "not what is scraped", Minor: "1.37", Edits: everywhere, Choice: choose(id, true), Facts: func(f *harden.Facts) {
			delete(f.Missing, harden.NeedWorkloads)
			f.Cluster = &harden.ClusterFacts{Services: []harden.ServiceFact{{Namespace: "kube-system", Name: "kcm", Type: corev1.ServiceTypeClusterIP,
				Ports: []harden.ServicePortFact{{Port: 10257, TargetPort: intstr.FromInt32(10257)}}}}}
		}, Skip: "a Service leads to port 10257"},
	})
}

func TestTLS(t *testing.T) {
	const floor, suites = "controllermanager-tls-min-version", "controllermanager-tls-cipher-suites"
	table().Verdicts(t, floor, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "nothing is written down"},
		{Name: "1.2", Edits: set("tls-min-version", "VersionTLS12"), Want: harden.StatusPass},
		{Name: "1.3", Edits: set("tls-min-version", "VersionTLS13"), Want: harden.StatusPass},
		{Name: "1.0", Edits: set("tls-min-version", "VersionTLS10"), Want: harden.StatusFail, Says: "clients may use VersionTLS10"},
		{Name: "no version", Edits: set("tls-min-version", "1.2"), Want: harden.StatusFail, Says: "does not start"},
	})
	table().Verdicts(t, suites, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "CBC"},
		{Name: "one strong", Edits: set("tls-cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), Want: harden.StatusPass},
		{Name: "unknown", Edits: set("tls-cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,X"), Want: harden.StatusFail, Says: "the controller manager will not start"},
		{Name: "none for HTTP/2", Edits: set("tls-cipher-suites", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), Want: harden.StatusFail, Says: "will not serve"},
		{Name: "weak", Edits: set("tls-cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA"), Want: harden.StatusFail, Says: "weak"},
		{Name: "only TLS 1.3", Edits: set("tls-min-version", "VersionTLS13"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "write the floor down", Minor: "1.30", Choice: choose(floor, false), Want: []string{file + "+ - --tls-min-version=VersionTLS12"}},
		{Name: "not where it would cut off", Minor: "1.37", Edits: set("tls-min-version", "VersionTLS11"), Choice: choose(floor, false), Skip: "--remedy " + floor + "=raise"},
		{Name: "raise", Minor: "1.37", Edits: set("tls-min-version", "VersionTLS11"), Choice: harden.Choice{Control: floor, Remedy: "raise", Options: harden.Values{"version": "VersionTLS13"}},
			Want: []string{file + "- - --tls-min-version=VersionTLS11", file + "+ - --tls-min-version=VersionTLS13"}},
		{Name: "suites", Minor: "1.37", Choice: choose(suites, false), Want: []string{file + "+ - --tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}},
	})
}

func TestRemovedFlags(t *testing.T) {
	const id = "controllermanager-removed-flags"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "one of long ago", Edits: set("pod-eviction-timeout", "5m"), Want: harden.StatusFail, Says: "--pod-eviction-timeout is not known to"},
	})
	old := set("horizontal-pod-autoscaler-downscale-delay", "5m")
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "still known", Edits: old, Want: harden.StatusFail, Says: "from 1.31 on"}}, "1.30")
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "gone", Edits: old, Want: harden.StatusFail, Says: "is not known to"}}, "1.34", "1.37")
	kept := func(f *harden.Facts) {
		f.Cluster = &harden.ClusterFacts{Kubeadm: &harden.KubeadmFact{ExtraArgs: map[harden.ComponentID][]harden.KubeadmArg{harden.ControllerManager: {{Name: "port", Value: "0"}}}}}
	}
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "in kubeadm's configuration", Facts: kept, Want: harden.StatusFail, Says: "--port"}})
	table().Changes(t, []hardentest.Change{
		{Name: "removes", Minor: "1.30", Edits: old, Choice: choose(id, false), Want: []string{file + "- - --horizontal-pod-autoscaler-downscale-delay=5m"}},
	})
}

func TestRemovedGates(t *testing.T) {
	const id = "controllermanager-removed-feature-gates"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "no feature gate"},
		{Name: "one that is known", Edits: set(gatesFlag, "RotateKubeletServerCertificate=true"), Want: harden.StatusPass, Says: "up to 1.37"},
	})
	sidecars := set(gatesFlag, "RotateKubeletServerCertificate=true,SidecarContainers=true")
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "known here", Edits: sidecars, Want: harden.StatusFail, Says: "SidecarContainers is not known any more from 1.37 on"}}, "1.30", "1.34")
	table().Verdicts(t, id, []hardentest.Verdict{{Name: "not known", Edits: sidecars, Want: harden.StatusFail, Says: "is not known to v1.37.2"}}, "1.37")
	table().Changes(t, []hardentest.Change{
		{Name: "without effect", Minor: "1.34", Edits: sidecars, Choice: choose(id, false),
			Want: []string{file + "- - --feature-gates=RotateKubeletServerCertificate=true,SidecarContainers=true", file + "+ - --feature-gates=RotateKubeletServerCertificate=true"}},
		{Name: "the only one", Minor: "1.34", Edits: set(gatesFlag, "SidecarContainers=true"), Choice: choose(id, false), Want: []string{file + "- - --feature-gates=SidecarContainers=true"}},
		{Name: "against the default", Minor: "1.30", Edits: set(gatesFlag, "SidecarContainers=false"), Choice: choose(id, false), Skip: "SidecarContainers=false changes what v1.30"},
		{Name: "before it was the default", Minor: "1.30", Edits: set(gatesFlag, "AuthorizeWithSelectors=true"), Choice: choose(id, false), Skip: "AuthorizeWithSelectors=true changes what v1.30"},
	})
}

// All default remedies that concern the node alone, taken together on an untouched node: one restart.
func TestAllOnFreshNode(t *testing.T) {
	for _, minor := range hardentest.Minors {
		n := hardentest.Fixture(t, minor)
		f := n.Facts(t)
		choices, skipped, err := harden.Select(f, []harden.Area{Area()}, harden.Selection{All: true})
		if err != nil {
			t.Fatal(err)
		}
		plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{Area()}, Choices: choices, Read: n.State, Now: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		got := hardentest.Changes(t, plans.Node)
		if len(got) != 3 || len(plans.Node.Stages[0].Effects) != 1 || !slices.Contains(got, file+"+ - --profiling=false") {
			t.Errorf("%s: %v", minor, got)
		}
		if len(skipped) != 1 || !strings.Contains(skipped[0].Control, "gc-threshold") {
			t.Errorf("%s: skipped %+v", minor, skipped)
		}
	}
}

// What is left behind in kubeadm's configuration alone is removed there, and nothing restarts.
func TestRemovedFromKubeadmAlone(t *testing.T) {
	n := hardentest.Fixture(t, "1.34")
	f := n.Facts(t)
	f.Cluster = &harden.ClusterFacts{Kubeadm: &harden.KubeadmFact{ExtraArgs: map[harden.ComponentID][]harden.KubeadmArg{harden.ControllerManager: {
		{Name: "pod-eviction-timeout", Value: "5m"}, {Name: gatesFlag, Value: "A=true,SidecarContainers=true"},
	}}}}
	for id, want := range map[string]harden.Intent{
		"controllermanager-removed-flags":         harden.RemoveFlag(harden.ControllerManager, "pod-eviction-timeout"),
		"controllermanager-removed-feature-gates": harden.MergeList(harden.ControllerManager, gatesFlag, nil, []string{"SidecarContainers=true"}),
	} {
		_, control, _ := harden.FindControl([]harden.Area{Area()}, id)
		want.Object = &harden.KubeadmConfig
		got, err := control.Remedies[0].Intents(f, nil)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}
