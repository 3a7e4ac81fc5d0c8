package apiserver

import (
	"encoding/json"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestEncryption(t *testing.T) {
	const file, key = "/etc/kubernetes/enc/enc.yaml", "c2VjcmV0IGtleSBvZiB0aGUgdGVzdCwgMzIgYnl0ZXM="
	edits := []hardentest.Edit{hardentest.Flag(encryptionFlag, file), hardentest.Mount("/etc/kubernetes/enc", "Directory", "readOnly: true")}
	write := func(resources, providers string) func(*hardentest.Node) {
		return func(n *hardentest.Node) {
			n.Write(file, "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: ["+resources+"]\n  providers: ["+providers+"]\n", 0o600)
		}
	}
	box := "{secretbox: {keys: [{name: k, secret: " + key + "}]}}"
	table().Verdicts(t, "apiserver-encryption-at-rest", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "nothing is encrypted"},
		{Name: "key first", Edits: edits, Change: write("secrets", box+", {identity: {}}"), Want: harden.StatusPass, Says: "secretbox"},
		{Name: "identity first", Edits: edits, Change: write("secrets", "{identity: {}}, "+box), Want: harden.StatusFail, Says: "plain text"},
		{Name: "everything", Edits: edits, Change: write("'*.*'", box), Want: harden.StatusPass},
		{Name: "others only", Edits: edits, Change: write("configmaps", box), Want: harden.StatusFail, Says: "no rule"},
		{Name: "aesgcm", Edits: edits, Change: write("secrets", "{aesgcm: {}}"), Want: harden.StatusManual},
		{Name: "none", Edits: edits, Change: write("secrets", ""), Want: harden.StatusFail},
		{Name: "no file", Edits: edits, Want: harden.StatusManual, Says: "does not exist"},
		{Name: "no mount", Edits: edits[:1], Want: harden.StatusManual, Says: "no mount"},
		{Name: "not YAML", Edits: edits, Change: func(n *hardentest.Node) { n.Write(file, "secret: ["+key, 0o600) }, Want: harden.StatusManual},
	})
	n := hardentest.APIServer(t, "1.37", edits...)
	write("secrets", box)(n)
	facts, err := json.Marshal(n.Facts(t))
	if err != nil || strings.Contains(string(facts), key) {
		t.Errorf("the key is among the facts, or they cannot be written: %v", err)
	}
}
