package apiserver

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestFiles(t *testing.T) {
	for _, fc := range fileControls {
		flag, file := fc.flags[0], fc.files[0]
		instead := []hardentest.Edit{hardentest.NoFlag(flag), hardentest.Flag(flag, "/srv/other")}
		table().Verdicts(t, fc.id, []hardentest.Verdict{
			{Name: "kubeadm's " + flag, Want: harden.StatusPass, Says: file},
			{Name: "missing " + flag, Edits: []hardentest.Edit{hardentest.NoFlag(flag)}, Want: harden.StatusFail},
			{Name: "not mounted " + flag, Edits: instead, Want: harden.StatusFail, Says: "no mount shows /srv/other"},
		})
		table().Changes(t, []hardentest.Change{
			{Name: "adds " + flag, Minor: "1.37", Edits: []hardentest.Edit{hardentest.NoFlag(flag)}, Choice: harden.Choice{Control: fc.id, Accept: true},
				Want: []string{"kube-apiserver.yaml: + - --" + flag + "=" + file}},
			{Name: "somebody's own " + flag, Minor: "1.37", Edits: instead, Choice: harden.Choice{Control: fc.id, Accept: true}, Skip: "is not kubeadm's"},
		})
	}
	table().Verdicts(t, "apiserver-etcd-files", []hardentest.Verdict{
		{Name: "plain text", Edits: []hardentest.Edit{hardentest.NoFlag("etcd-servers"), hardentest.Flag("etcd-servers", "https://a:1,http://b:2")}, Want: harden.StatusFail, Says: "http://b:2"},
	})
}

// TestTheServingKeyIsNoKeyForTokens: the serving certificate passed as a key for tokens alone.
func TestTheServingKeyIsNoKeyForTokens(t *testing.T) {
	const id, flag = "apiserver-service-account-key-file", "service-account-key-file"
	only := func(at string) []hardentest.Edit {
		return []hardentest.Edit{hardentest.NoFlag(flag), hardentest.Flag(flag, at)}
	}
	copied := func(n *hardentest.Node) {
		n.Write("/etc/kubernetes/pki/tokens.crt", string(n.Files["/etc/kubernetes/pki/apiserver.crt"].Data), 0o644)
	}
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "the certificate", Edits: only("/etc/kubernetes/pki/apiserver.crt"), Want: harden.StatusFail, Says: "the key that the API server serves with"},
		{Name: "its key", Edits: only("/etc/kubernetes/pki/apiserver.key"), Want: harden.StatusFail, Says: "the key that the API server serves with"},
		{Name: "beside another", Edits: set(flag, "/etc/kubernetes/pki/apiserver.crt"), Want: harden.StatusFail, Says: "the key that the API server serves with"},
		{Name: "a copy", Edits: only("/etc/kubernetes/pki/tokens.crt"), Change: copied, Want: harden.StatusFail, Says: "tokens.crt holds"},
		{Name: "another certificate", Edits: only("/etc/kubernetes/pki/front-proxy-client.crt"), Want: harden.StatusPass},
		{Name: "two of its own", Edits: set(flag, "/etc/kubernetes/pki/sa-new.pub"), Want: harden.StatusPass},
	}, "1.30", "1.37")
}

func set(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.Flag(name, value)}
}

func TestRequests(t *testing.T) {
	table().Verdicts(t, "apiserver-request-timeout", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "60 seconds"},
		{Name: "benchmark's", Edits: set(timeoutFlag, "300s"), Want: harden.StatusPass},
		{Name: "none", Edits: set(timeoutFlag, "0s"), Want: harden.StatusFail},
		{Name: "nothing is done in it", Edits: set(timeoutFlag, "1ms"), Want: harden.StatusFail, Says: "before most of them"},
		{Name: "a webhook is not done in it", Edits: set(timeoutFlag, "9s"), Want: harden.StatusManual, Says: "webhook"},
		{Name: "a webhook is done in it", Edits: set(timeoutFlag, "10s"), Want: harden.StatusPass},
		{Name: "long", Edits: set(timeoutFlag, "1h"), Want: harden.StatusManual},
		{Name: "no duration", Edits: set(timeoutFlag, "300"), Want: harden.StatusFail, Says: "no duration"},
	})
	table().Verdicts(t, "apiserver-service-account-lookup", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass}, {Name: "off", Edits: set(lookupFlag, "false"), Want: harden.StatusFail}, {Name: "on", Edits: set(lookupFlag, "true"), Want: harden.StatusPass},
	})
	table().Verdicts(t, "apiserver-alpha-apis", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "AllAlpha", Edits: set(gatesFlag, "A=true,AllAlpha=true"), Want: harden.StatusFail, Says: "AllAlpha=true"},
		{Name: "AllAlpha off", Edits: set(gatesFlag, "AllAlpha=false"), Want: harden.StatusPass},
		{Name: "api/all", Edits: set(runtimeFlag, "api/all"), Want: harden.StatusFail},
		{Name: "api/alpha", Edits: set(runtimeFlag, "api/alpha=true"), Want: harden.StatusFail},
		{Name: "one", Edits: set(runtimeFlag, "resource.k8s.io/v1alpha3=true"), Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "timeout", Minor: "1.37", Edits: set(timeoutFlag, "0s"), Choice: harden.Choice{Control: "apiserver-request-timeout"}, Want: []string{"kube-apiserver.yaml: - - --request-timeout=0s"}},
		{Name: "lookup", Minor: "1.30", Edits: set(lookupFlag, "false"), Choice: harden.Choice{Control: "apiserver-service-account-lookup"}, Want: []string{"kube-apiserver.yaml: - - --service-account-lookup=false"}},
		{Name: "alpha", Minor: "1.34", Edits: append(set(gatesFlag, "A=true,AllAlpha=true"), set(runtimeFlag, "api/all=true")...), Choice: harden.Choice{Control: "apiserver-alpha-apis"},
			Want: []string{"kube-apiserver.yaml: - - --runtime-config=api/all=true", "kube-apiserver.yaml: - - --feature-gates=A=true,AllAlpha=true", "kube-apiserver.yaml: + - --feature-gates=A=true"}},
	})
}

func TestMorePlugins(t *testing.T) {
	for _, name := range []string{"ServiceAccount", "NamespaceLifecycle", "ValidatingAdmissionWebhook", "PodSecurity"} {
		id := "apiserver-admission-" + strings.ToLower(name)
		table().Verdicts(t, id, []hardentest.Verdict{
			{Name: "kubeadm's " + name, Want: harden.StatusPass, Says: "by default"}, {Name: "off " + name, Edits: set(disableFlag, "X,"+name), Want: harden.StatusFail, Says: "turned off"},
		})
	}
	const deny, pull, admit = "apiserver-admission-denyserviceexternalips", "apiserver-admission-alwayspullimages", "apiserver-admission-alwaysadmit"
	table().Verdicts(t, deny, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail}, {Name: "on", Edits: set(enableFlag, "DenyServiceExternalIPs"), Want: harden.StatusPass},
	})
	table().Verdicts(t, pull, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusManual}, {Name: "on", Edits: set(enableFlag, "AlwaysPullImages"), Want: harden.StatusPass},
	})
	table().Verdicts(t, admit, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass}, {Name: "on", Edits: set(enableFlag, "AlwaysAdmit"), Want: harden.StatusFail},
	})
	cluster := func(c harden.ClusterFacts) func(*harden.Facts) {
		return func(f *harden.Facts) {
			delete(f.Missing, harden.NeedWorkloads)
			f.Cluster = &c
		}
	}
	const add = "kube-apiserver.yaml: + - --enable-admission-plugins=NodeRestriction,"
	const old = "kube-apiserver.yaml: - - --enable-admission-plugins=NodeRestriction"
	table().Changes(t, []hardentest.Change{
		{Name: "deny", Minor: "1.37", Facts: cluster(harden.ClusterFacts{}), Choice: harden.Choice{Control: deny}, Want: []string{old, add + "DenyServiceExternalIPs"}},
		{Name: "deny where some are used", Minor: "1.37", Facts: cluster(harden.ClusterFacts{Services: []harden.ServiceFact{{ExternalIPs: []string{"203.0.113.7"}}}}), Choice: harden.Choice{Control: deny}, Skip: "1 Services have some"},
		{Name: "deny unseen", Minor: "1.37", Choice: harden.Choice{Control: deny}, Skip: "--accept " + deny},
		{Name: "pull", Minor: "1.30", Facts: cluster(harden.ClusterFacts{}), Choice: harden.Choice{Control: pull, Accept: true}, Want: []string{old, add + "AlwaysPullImages"}},
		{Name: "pull never", Minor: "1.30", Facts: cluster(harden.ClusterFacts{Templates: []harden.TemplateFact{{Images: []harden.ImageFact{{Image: "x", PullPolicy: "Never"}}}}}),
			Choice: harden.Choice{Control: pull, Accept: true}, Skip: "never pulled"},
		{Name: "admit", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Replace("plugins=NodeRestriction", "plugins=NodeRestriction,AlwaysAdmit")}, Choice: harden.Choice{Control: admit},
			Want: []string{old + ",AlwaysAdmit", "kube-apiserver.yaml: + - --enable-admission-plugins=NodeRestriction"}},
	})
}
