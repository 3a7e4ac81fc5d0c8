package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

func TestEncryption(t *testing.T) {
	const sum = "1c4e7d1087341c4e7d1087341c4e7d1087341c4e7d1087341c4e7d1087341c4e"
	told := func(sums ...string) (body string) {
		for _, s := range sums {
			body += encryptionMetric + `apiserver_id_hash="sha256:77",hash="sha256:` + s + `"} 1` + "\n"
		}
		return "# TYPE go_threads gauge\ngo_threads 7\n" + body
	}
	a := newAPI(t, pkiOptions{})
	own := strings.TrimPrefix(a.URL, "https://")
	var body string
	a.handle("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	for _, row := range []struct {
		name, body, address string
		encrypts            bool
		want, says          string
	}{
		{name: "read", body: told(sum), encrypts: true, want: sum},
		{name: "read, though its manifest does not say so any more", body: told(sum), want: sum},
		{name: "none", body: told()},
		{name: "one that does not tell", body: told(), encrypts: true, says: "Kubernetes tells it since 1.34"},
		{name: "several", body: told(sum, strings.Repeat("0", 64)), encrypts: true, says: "it names several"},
		{name: "no address", address: "cp2", says: "not an address with a port"},
		{name: "nobody there", address: "127.0.0.1:1", says: "127.0.0.1:1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if body = row.body; row.address == "" {
				row.address = own
			}
			got, err := a.client(t).Encryption(t.Context(), harden.ControlPlane{Node: "cp2", Address: row.address, Encrypts: row.encrypts})
			if got != row.want || (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

// TestKeys: a single one shares its key with nobody, and is not asked.
func TestKeys(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	own := strings.TrimPrefix(a.URL, "https://")
	pod := func(node, address, arg string) string {
		return fmt.Sprintf(`{"metadata": {"name": "kube-apiserver-%s", "annotations": {"kubernetes.io/config.source": "file", %q: %q}},
			"spec": {"nodeName": %q, "containers": [{"command": ["kube-apiserver", %q]}]}}`, node, objects.AddressAnnotation, address, node, arg)
	}
	const pods = "/api/v1/namespaces/kube-system/pods"
	a.handle("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "go_threads 7\n") })
	read := func() []harden.KeyFact {
		facts, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedKeys})
		if len(missing) > 0 {
			t.Error(missing)
		}
		return facts.Keys
	}
	a.json(pods, `{"items": [`+pod("cp1", own, "--encryption-provider-config=/e")+`]}`)
	if got := read(); got != nil {
		t.Errorf("a single one: %v", got)
	}
	a.json(pods, `{"items": [`+pod("cp1", own, "--encryption-provider-config-automatic-reload=false")+","+pod("cp2", own, "--encryption-provider-config=/e")+`]}`)
	got := read()
	defer func() {
		a.json(pods, `{"items": []}`)
		if _, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedKeys}); missing[harden.NeedKeys].IsZero() {
			t.Error("no control plane is known, and so nothing of what they encrypt with; that is not said")
		}
	}()
	if len(got) != 2 || got[0].Node != "cp1" || got[0].SHA256 != "" || !got[0].Unread.IsZero() || !strings.Contains(got[1].Unread.String(), "since 1.34") {
		t.Errorf("%+v", got)
	}
}
