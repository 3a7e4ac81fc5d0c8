package apiserver

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const modeFlag = "authorization-mode"

func modes(list string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.NoFlag(modeFlag), hardentest.Flag(modeFlag, list)}
}

// byConfig is a node whose authorization is configured by a file with this text; an empty text is no file.
func byConfig(text string) ([]hardentest.Edit, func(*hardentest.Node)) {
	const at = "/etc/kubernetes/authz/config.yaml"
	return []hardentest.Edit{hardentest.NoFlag(modeFlag), hardentest.Flag("authorization-config", at), hardentest.Mount("/etc/kubernetes/authz", "Directory", "readOnly: true")},
		func(n *hardentest.Node) {
			if text != "" {
				n.Write(at, text, 0o600)
			}
		}
}

func TestAuthorizationMode(t *testing.T) {
	cases := []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "Node, RBAC"},
		{Name: "in args", Edits: []hardentest.Edit{hardentest.InArgs()}, Want: harden.StatusPass},
		{Name: "split", Edits: []hardentest.Edit{hardentest.Split()}, Want: harden.StatusPass},
		{Name: "missing", Edits: []hardentest.Edit{hardentest.NoFlag(modeFlag)}, Want: harden.StatusFail, Says: "not set, which means AlwaysAllow"},
		{Name: "without Node", Edits: modes("RBAC"), Want: harden.StatusFail, Says: "Node is missing"},
		{Name: "without either", Edits: modes("ABAC"), Want: harden.StatusFail, Says: "Node and RBAC is missing"},
		{Name: "AlwaysAllow behind", Edits: modes("Node,RBAC,AlwaysAllow"), Want: harden.StatusFail, Says: "AlwaysAllow is among"},
		{Name: "in two flags", Edits: []hardentest.Edit{hardentest.NoFlag(modeFlag), hardentest.Flag(modeFlag, "Node"), hardentest.Flag(modeFlag, "RBAC")}, Want: harden.StatusPass},
		{Name: "with a webhook", Edits: modes("Node,RBAC,Webhook"), Want: harden.StatusPass},
		{Name: "the process counts", Facts: func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, "--authorization-mode=AlwaysAllow") }, Want: harden.StatusFail},
	}
	for _, file := range []struct {
		name, text string
		want       harden.Status
		says       string
	}{
		{"a good file", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n", harden.StatusPass, "Node, RBAC"},
		{"a file without Node", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: RBAC, name: rbac}\n", harden.StatusFail, "Node is missing"},
		{"a file of another kind", "apiVersion: v1\nkind: ConfigMap\n", harden.StatusManual, "look at its authorizers"},
		{"a file that is not there", "", harden.StatusFail, "does not exist"},
	} {
		edits, change := byConfig(file.text)
		cases = append(cases, hardentest.Verdict{Name: file.name, Edits: edits, Change: change, Want: file.want, Says: file.says})
	}
	edits, _ := byConfig("")
	cases = append(cases,
		hardentest.Verdict{Name: "a file that nothing mounts", Edits: edits[:2], Want: harden.StatusFail, Says: "no mount"},
		hardentest.Verdict{Name: "a file that was not read", Edits: edits, Facts: func(f *harden.Facts) {
			f.Files["/etc/kubernetes/authz/config.yaml"] = harden.FileFact{Unread: harden.Msg("permission denied")}
		}, Want: harden.StatusManual, Says: "permission denied"},
	)
	table().Verdicts(t, "apiserver-authorization-mode", cases)
}

func TestAuthorizationModeRemedy(t *testing.T) {
	const id = "apiserver-authorization-mode"
	edits, change := byConfig("kind: AuthorizationConfiguration\nauthorizers: [{type: RBAC}]\n")
	table().Changes(t, []hardentest.Change{
		{Name: "adds what is missing", Minor: "1.37", Edits: modes("RBAC,Webhook"), Choice: harden.Choice{Control: id},
			Want: []string{"kube-apiserver.yaml: - - --authorization-mode=RBAC,Webhook", "kube-apiserver.yaml: + - --authorization-mode=RBAC,Webhook,Node"}},
		{Name: "AlwaysAllow has to be accepted", Minor: "1.30", Edits: modes("AlwaysAllow"), Choice: harden.Choice{Control: id, Named: true}, Skip: "--accept apiserver-authorization-mode"},
		{Name: "accepted", Minor: "1.30", Edits: modes("AlwaysAllow"), Choice: harden.Choice{Control: id, Accept: true},
			Want: []string{"kube-apiserver.yaml: - - --authorization-mode=AlwaysAllow", "kube-apiserver.yaml: + - --authorization-mode=Node,RBAC"}},
		{Name: "a missing flag", Minor: "1.34", Edits: []hardentest.Edit{hardentest.NoFlag(modeFlag)}, Choice: harden.Choice{Control: id, Accept: true},
			Want: []string{"kube-apiserver.yaml: + - --authorization-mode=Node,RBAC"}},
		{Name: "a file is respected", Minor: "1.37", Edits: edits, Change: change, Choice: harden.Choice{Control: id, Accept: true}, Skip: "by hand"},
	})
}

// Who needs a grant is told from the node's own kubeconfigs, and from what runs in the cluster.
func TestGrantsAreProvenOfThoseWhoAreThere(t *testing.T) {
	granted := func(f *harden.Facts) []string {
		var out []string
		for _, p := range proofsOf(t, "apiserver-authorization-mode", f, nil) {
			if p.Kind == harden.ProofGranted {
				out = append(out, p.Path+" in "+strings.Join(p.Want.([]string), ",")+": "+p.Request)
			}
		}
		return out
	}
	f := hardentest.Fixture(t, "1.37").Facts(t)
	own := []string{
		"kubernetes-admin in kubeadm:cluster-admins,system:authenticated: list secrets",
		"system:kube-controller-manager in system:authenticated: create serviceaccounts/token",
		"system:kube-scheduler in system:authenticated: create pods/binding",
		"system:node:cp1 in system:nodes,system:authenticated: patch nodes/status cp1",
	}
	if got := granted(f); !slices.Equal(got, own) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	f.Cluster = &harden.ClusterFacts{Templates: []harden.TemplateFact{
		{Namespace: "shop", Owner: "DaemonSet/kube-proxy"}, {Namespace: "kube-system", Owner: "Deployment/coredns"},
	}}
	dns := "system:serviceaccount:kube-system:coredns in system:serviceaccounts,system:serviceaccounts:kube-system,system:authenticated: list services"
	if got := granted(f); !slices.Equal(got, append(own, dns)) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	f.Kubeconfigs = nil
	if got := granted(f); !slices.Equal(got, []string{dns}) {
		t.Errorf("without kubeconfigs: %v", got)
	}
}

// Only the group that needs no role is known to keep its rights.
func TestTheAdministratorsGroupsAreLookedAt(t *testing.T) {
	for groups, want := range map[string]harden.PreconditionState{
		"system:masters": harden.Met, "kubeadm:cluster-admins": harden.PreconditionUnknown, "ops": harden.PreconditionUnknown, "": harden.PreconditionUnknown,
	} {
		f := hardentest.StaticPod(t, "1.37", harden.APIServer, modes(alwaysAllow)...).Facts(t)
		for i := range f.Kubeconfigs {
			if f.Kubeconfigs[i].Path == "/etc/kubernetes/admin.conf" {
				if f.Kubeconfigs[i].Users[0].Organizations = []string{groups}; groups == "" {
					f.Kubeconfigs[i].Users = nil
				}
			}
		}
		pre := authorizationPreconditions(f, nil)
		if len(pre) != 2 || pre[1].State != want || pre[0].State != harden.PreconditionUnknown || groups != "" && !strings.Contains(pre[1].Evidence[0].Value, groups) {
			t.Errorf("%s: %+v", groups, pre)
		}
	}
}
