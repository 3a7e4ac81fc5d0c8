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

func TestSecretsThatLieInEtcdAsTheyWereBefore(t *testing.T) {
	for _, tt := range []struct {
		name, first string
		stored      harden.StoredFact
		want        harden.Status
		message     string
		evidence    string
	}{
		{"all encrypted", "secretbox", harden.StoredFact{Looked: 41}, harden.StatusPass, "all 41 in etcd are encrypted", "0 of 41 in plain text"},
		{"there is none", "secretbox", harden.StoredFact{}, harden.StatusPass, "etcd has none", "0 of 0"},
		{"some in plain text", "secretbox", harden.StoredFact{Looked: 41, Plain: 3}, harden.StatusFail, "3 of 41 in etcd are in plain text still", "3 of 41 in plain text"},
		{"by aesgcm, in plain text", "aesgcm", harden.StoredFact{Looked: 41, Plain: 3}, harden.StatusFail, "3 of 41", "3 of 41"},
		{"by aesgcm", "aesgcm", harden.StoredFact{Looked: 41}, harden.StatusManual, "changed often", "0 of 41"},
		{"not all looked at", "kms", harden.StoredFact{Looked: 500, More: true}, harden.StatusPass, "the rest was not looked at", "0 of the first 500"},
		{"not all looked at, some in plain text", "kms", harden.StoredFact{Looked: 500, Plain: 1, More: true}, harden.StatusFail, "1 of the first 500", "1 of the first 500"},
		{"not looked at", "secretbox", harden.StoredFact{Unread: harden.Msg("it is away")}, harden.StatusPass, "cannot be seen here", "it is away"},
		{"written in plain text", "identity", harden.StoredFact{Looked: 41, Plain: 41}, harden.StatusFail, "identity is the first", "41 of 41"},
	} {
		f := hardentest.APIServer(t, "1.37", hardentest.Flag(encryptionFlag, "/etc/kubernetes/enc/enc.yaml")).Facts(t)
		f.Encryption = &harden.EncryptionFact{Path: "/e", Secrets: &tt.stored, Rules: []harden.EncryptionRule{{Resources: []string{"secrets"}, Providers: []string{tt.first}}}}
		v := assessEncryption(f)
		if last := v.Evidence[len(v.Evidence)-1].Value; v.Status != tt.want || !strings.Contains(v.Message.String(), tt.message) || !strings.Contains(last, tt.evidence) {
			t.Errorf("%s: %s: %s: %s", tt.name, v.Status, v.Message, last)
		}
		if plain := strings.Contains(v.Message.String(), "anew") && v.Status == harden.StatusFail; plain != (len(v.Hints) > 0) {
			t.Errorf("%s: hints %q", tt.name, v.Hints)
		}
	}
}
