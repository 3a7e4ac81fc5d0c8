package apiserver

import (
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
	cases := []verdictCase{
		{name: "kubeadm's", want: harden.StatusPass, says: "Node, RBAC"},
		{name: "in args", edits: []hardentest.Edit{hardentest.InArgs()}, want: harden.StatusPass},
		{name: "split", edits: []hardentest.Edit{hardentest.Split()}, want: harden.StatusPass},
		{name: "missing", edits: []hardentest.Edit{hardentest.NoFlag(modeFlag)}, want: harden.StatusFail, says: "not set, which means AlwaysAllow"},
		{name: "without Node", edits: modes("RBAC"), want: harden.StatusFail, says: "Node is missing"},
		{name: "without either", edits: modes("ABAC"), want: harden.StatusFail, says: "Node and RBAC is missing"},
		{name: "AlwaysAllow behind", edits: modes("Node,RBAC,AlwaysAllow"), want: harden.StatusFail, says: "AlwaysAllow is among"},
		{name: "in two flags", edits: []hardentest.Edit{hardentest.NoFlag(modeFlag), hardentest.Flag(modeFlag, "Node"), hardentest.Flag(modeFlag, "RBAC")}, want: harden.StatusPass},
		{name: "with a webhook", edits: modes("Node,RBAC,Webhook"), want: harden.StatusPass},
		{name: "the process counts", facts: func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, "--authorization-mode=AlwaysAllow") }, want: harden.StatusFail},
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
		cases = append(cases, verdictCase{name: file.name, edits: edits, change: change, want: file.want, says: file.says})
	}
	edits, _ := byConfig("")
	cases = append(cases,
		verdictCase{name: "a file that nothing mounts", edits: edits[:2], want: harden.StatusFail, says: "no mount"},
		verdictCase{name: "a file that was not read", edits: edits, facts: func(f *harden.Facts) {
			f.Files["/etc/kubernetes/authz/config.yaml"] = harden.FileFact{Unread: harden.Msg("permission denied")}
		}, want: harden.StatusManual, says: "permission denied"},
	)
	try(t, "apiserver-authorization-mode", cases)
}

func TestAuthorizationModeRemedy(t *testing.T) {
	const id = "apiserver-authorization-mode"
	edits, change := byConfig("kind: AuthorizationConfiguration\nauthorizers: [{type: RBAC}]\n")
	plan(t, []planCase{
		{name: "adds what is missing", minor: "1.37", edits: modes("RBAC,Webhook"), choice: harden.Choice{Control: id},
			want: []string{"kube-apiserver.yaml: - - --authorization-mode=RBAC,Webhook", "kube-apiserver.yaml: + - --authorization-mode=RBAC,Webhook,Node"}},
		{name: "AlwaysAllow has to be accepted", minor: "1.30", edits: modes("AlwaysAllow"), choice: harden.Choice{Control: id, Named: true}, skip: "--accept apiserver-authorization-mode"},
		{name: "accepted", minor: "1.30", edits: modes("AlwaysAllow"), choice: harden.Choice{Control: id, Accept: true},
			want: []string{"kube-apiserver.yaml: - - --authorization-mode=AlwaysAllow", "kube-apiserver.yaml: + - --authorization-mode=Node,RBAC"}},
		{name: "a missing flag", minor: "1.34", edits: []hardentest.Edit{hardentest.NoFlag(modeFlag)}, choice: harden.Choice{Control: id, Accept: true},
			want: []string{"kube-apiserver.yaml: + - --authorization-mode=Node,RBAC"}},
		{name: "a file is respected", minor: "1.37", edits: edits, change: change, choice: harden.Choice{Control: id, Accept: true}, skip: "by hand"},
	})
}
