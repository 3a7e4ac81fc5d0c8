package cluster

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

func csr(name, user, created, conditions string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"uid":"u-%s","resourceVersion":"7","creationTimestamp":%q},
		"spec":{"signerName":"kubernetes.io/kubelet-serving","username":%q,"groups":["system:nodes"],"usages":["server auth"],"request":%q},"status":{"conditions":[%s]}}`,
		name, name, created, user, base64.StdEncoding.EncodeToString([]byte("pem")), conditions)
}

func TestServingRequests(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("GET /api/v1/nodes/cp1", `{"metadata":{"name":"cp1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.11"}]}}`)
	a.json("GET "+signingRequests, `{"items":[`+strings.Join([]string{
		csr("old", "system:node:cp1", "2026-11-01T00:00:00Z", `{"type":"Approved","status":"True"}`),
		csr("new", "system:node:cp1", "2026-11-02T00:00:00Z", ""),
		csr("others", "system:node:cp2", "2026-11-03T00:00:00Z", ""),
		csr("failed", "system:node:cp1", "2026-10-01T00:00:00Z", `{"type":"Failed","status":"True"}`),
	}, ",")+`]}`)
	got, known, err := a.client(t).ServingRequests(t.Context(), "cp1")
	if err != nil || fmt.Sprint(known) != "[192.0.2.11]" || len(got) != 3 {
		t.Fatalf("%v %v %v", got, known, err)
	}
	if got[0].Name != "new" || got[0].Approved || string(got[0].Request) != "pem" || !got[1].Approved || !got[2].Denied {
		t.Errorf("%+v", got)
	}
	if q := last(a).query; !strings.Contains(q, "fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving") {
		t.Errorf("asked %s", q)
	}
	a.json("GET /api/v1/nodes/cp1", `{"metadata":{"name":"cp1","deletionTimestamp":"2026-11-01T00:00:00Z"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.11"}]}}`)
	if _, known, err := a.client(t).ServingRequests(t.Context(), "cp1"); err != nil || known != nil {
		t.Errorf("a node that is being deleted is known as %v (%v)", known, err)
	}
}

func TestApprove(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("GET "+signingRequests+"/new", csr("new", "system:node:cp1", "2026-11-02T00:00:00Z", `{"type":"Other","status":"True"}`))
	a.handle("PUT "+signingRequests+"/new/approval", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{}`) })
	r := signingRequest{}
	r.Meta.Name, r.Meta.UID, r.Meta.ResourceVersion = "new", "u-new", "7"
	if err := a.client(t).Approve(t.Context(), r.fact(), "why"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"type":"Other"`, `"type":"Approved"`, `"message":"why"`, `"resourceVersion":"7"`, `"request":"cGVt"`} {
		if body := last(a).body; !strings.Contains(body, want) {
			t.Errorf("lacks %s: %s", want, body)
		}
	}
	r.Meta.ResourceVersion = "6"
	if err := a.client(t).Approve(t.Context(), r.fact(), "why"); reasonOf(err) == objects.Unreachable || err == nil || !strings.Contains(err.Error(), "changed since it was checked") {
		t.Errorf("another version: %v", err)
	}
}
