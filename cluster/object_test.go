package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

var deny = harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny"}

const (
	policies   = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
	policyYAML = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  labels:
    app.kubernetes.io/managed-by: kubectl-harden
  name: deny
  namespace: shop
spec:
  podSelector: {}
  policyTypes:
  - Ingress
`
)

// withPolicies knows NetworkPolicies; the server adds what a server adds.
func withPolicies(t *testing.T) *apiServer {
	t.Helper()
	a := newAPI(t, pkiOptions{})
	a.json("/apis/networking.k8s.io/v1", `{"resources": [{"name": "networkpolicies/status", "kind": "NetworkPolicy", "namespaced": true},
		{"name": "networkpolicies", "kind": "NetworkPolicy", "namespaced": true}, {"name": "ingressclasses", "kind": "IngressClass", "namespaced": false}]}`)
	return a
}

// served is the policy as the server holds it.
func served(uid, version string) string {
	return fmt.Sprintf(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop", "uid": %q,
		"resourceVersion": %q, "generation": 1, "creationTimestamp": "2026-11-23T00:00:00Z", "finalizers": ["example.com/keep"],
		"ownerReferences": [{"kind": "App", "name": "shop", "uid": "o1"}], "managedFields": [{"manager": "kubectl-harden"}], "annotations": {},
		"labels": {"app.kubernetes.io/managed-by": "kubectl-harden"}}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}, "status": {}}`, uid, version)
}

func last(a *apiServer) asked {
	all := a.got()
	return all[len(all)-1]
}

func normalForm(t *testing.T, body string) string {
	t.Helper()
	o, err := objects.Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	data, err := o.Normal().YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func reasonOf(err error) objects.Reason {
	var fault *objects.Error
	if errors.As(err, &fault) {
		return fault.Reason
	}
	return ""
}

func TestObject(t *testing.T) {
	a := withPolicies(t)
	c := a.client(t)
	s, uid, version, err := c.Object(t.Context(), deny)
	if err != nil || s.Exists || uid != "" || version != "" {
		t.Fatalf("absent: %+v %q %q %v", s, uid, version, err)
	}
	a.json(policies+"/deny", served("u1", "7"))
	s, uid, version, err = c.Object(t.Context(), deny)
	if err != nil || !s.Exists || uid != "u1" || version != "7" || string(s.Data) != policyYAML {
		t.Fatalf("%s %q %q %v", s.Data, uid, version, err)
	}
	for name, ref := range map[string]harden.ObjectRef{
		"unknown kind":           {APIVersion: "networking.k8s.io/v1", Kind: "Nothing", Namespace: "shop", Name: "x"},
		"unknown group":          {APIVersion: "nothing.example/v1", Kind: "Nothing", Namespace: "shop", Name: "x"},
		"no namespace":           {APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Name: "x"},
		"a namespace too many":   {APIVersion: "networking.k8s.io/v1", Kind: "IngressClass", Namespace: "shop", Name: "x"},
		"a name that is a path":  {APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "../../x"},
		"a space that is a path": {APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "..", Name: "x"},
		"no name":                {APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop"},
	} {
		if _, _, _, err := c.Object(t.Context(), ref); reasonOf(err) != objects.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDryRun(t *testing.T) {
	a := withPolicies(t)
	c := a.client(t)
	code := http.StatusCreated
	a.handle("PATCH "+policies+"/deny", func(w http.ResponseWriter, _ *http.Request) { answer(w, code, served("u1", "7")) })
	after, uid, version, err := c.DryRun(t.Context(), []byte(policyYAML))
	if err != nil || string(after) != policyYAML || uid != "" || version != "" {
		t.Errorf("to be made: %s %q %q %v", after, uid, version, err)
	}
	r := last(a)
	if r.media != "application/apply-patch+yaml" || r.query != "dryRun=All&fieldManager=kubectl-harden&fieldValidation=Strict" || normalForm(t, r.body) != policyYAML {
		t.Errorf("asked %+v", r)
	}
	code = http.StatusOK
	if _, uid, version, err = c.DryRun(t.Context(), []byte(policyYAML)); err != nil || uid != "u1" || version != "7" {
		t.Errorf("to be changed: %q %q %v", uid, version, err)
	}
	if _, _, _, err := c.DryRun(t.Context(), []byte("kind: NetworkPolicy\nkind: Pod\n")); reasonOf(err) != objects.Refused {
		t.Errorf("a key twice: %v", err)
	}
}

func TestPreview(t *testing.T) {
	a := withPolicies(t)
	c := a.client(t)
	a.json("GET "+policies+"/deny", served("u1", "7"))
	a.json("PATCH "+policies+"/deny", served("u1", "7"))
	p, err := c.Preview(t.Context(), deny, []byte(policyYAML))
	if err != nil || !p.Before.Equal(p.After) || p.UID != "u1" || p.ResourceVersion != "7" {
		t.Errorf("%+v %v", p, err)
	}
	a.json("PATCH "+policies+"/deny", served("u1", "8"))
	if _, err := c.Preview(t.Context(), deny, []byte(policyYAML)); reasonOf(err) != objects.Changed {
		t.Errorf("changed in between: %v", err)
	}
	other := deny
	other.Name = "other"
	if _, err := c.Preview(t.Context(), other, []byte(policyYAML)); reasonOf(err) != objects.Refused {
		t.Errorf("another object's YAML: %v", err)
	}
}

// A conflict with ourselves is settled, one with anybody else is not.
func TestFieldManagers(t *testing.T) {
	for name, test := range map[string]struct {
		managers []string
		reason   objects.Reason
	}{
		"ourselves":       {[]string{"kubectl-harden"}, ""},
		"somebody":        {[]string{"argocd"}, objects.Contested},
		"both":            {[]string{"kubectl-harden", "argocd"}, objects.Contested},
		"a name like our": {[]string{"kubectl-harden-fake"}, objects.Contested},
	} {
		t.Run(name, func(t *testing.T) {
			a := withPolicies(t)
			a.handle("PATCH "+policies+"/deny", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("force") == "true" {
					answer(w, 200, served("u1", "8"))
					return
				}
				var causes []map[string]string
				for _, m := range test.managers {
					causes = append(causes, map[string]string{"reason": "FieldManagerConflict", "message": fmt.Sprintf("conflict with %q using networking.k8s.io/v1", m), "field": ".spec"})
				}
				data, _ := json.Marshal(causes)
				answer(w, 409, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":409,"reason":"Conflict","message":"Apply failed","details":{"causes":`+string(data)+`}}`)
			})
			if _, _, _, err := a.client(t).DryRun(t.Context(), []byte(policyYAML)); reasonOf(err) != test.reason {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	a := withPolicies(t)
	c := a.client(t)
	a.handle("POST "+policies, func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, served("u1", "7")) })
	uid, version, err := c.Create(t.Context(), deny, []byte(served("other", "6")))
	if err != nil || uid != "u1" || version != "7" {
		t.Fatalf("%q %q %v", uid, version, err)
	}
	if r := last(a); r.query != "fieldManager=kubectl-harden&fieldValidation=Strict" || strings.Contains(r.body, "other") || strings.Contains(r.body, "ownerReferences") || normalForm(t, r.body) != policyYAML {
		t.Errorf("asked %+v", r)
	}
	a.fails("POST "+policies, 409, "AlreadyExists", `networkpolicies "deny" already exists`)
	if _, _, err = c.Create(t.Context(), deny, []byte(policyYAML)); reasonOf(err) != objects.Exists {
		t.Errorf("got %v", err)
	}
	a.fails("POST "+policies, 422, "Invalid", `NetworkPolicy "deny" is invalid`)
	if _, _, err = c.Create(t.Context(), deny, []byte(policyYAML)); reasonOf(err) != objects.Refused {
		t.Errorf("got %v", err)
	}
}

func TestPreconditions(t *testing.T) {
	a := withPolicies(t)
	c := a.client(t)
	a.json("GET "+policies+"/deny", served("u1", "7"))
	a.json("PUT "+policies+"/deny", served("u1", "8"))
	a.handle("DELETE "+policies+"/deny", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"preconditions":{"uid":"u1","resourceVersion":"7"}`) {
			status(w, 409, "Conflict", "the UID in the precondition does not match")
			return
		}
		answer(w, 200, `{"kind": "Status", "status": "Success"}`)
	})

	prior := strings.Replace(policyYAML, "  labels:\n    app.kubernetes.io/managed-by: kubectl-harden\n", "  annotations:\n    a: b\n", 1)
	if version, err := c.Replace(t.Context(), deny, []byte(prior), "u1", "7"); err != nil || version != "8" {
		t.Fatalf("%q %v", version, err)
	}
	r := last(a)
	for _, want := range []string{`"resourceVersion":"7"`, `"uid":"u1"`, `"finalizers":["example.com/keep"]`, `"ownerReferences"`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("the replacement lacks %s: %s", want, r.body)
		}
	}
	if normalForm(t, r.body) != prior {
		t.Errorf("replaced by %s", r.body)
	}

	if err := c.Delete(t.Context(), deny, "u1", "7"); err != nil {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), deny, "u1", "6"); reasonOf(err) != objects.Changed {
		t.Errorf("another version: %v", err)
	}

	// What is meant must be known, and still be that.
	for _, pre := range [][2]string{{"", ""}, {"u1", ""}, {"", "7"}, {"u2", "7"}, {"u1", "6"}} {
		if _, err := c.Replace(t.Context(), deny, []byte(prior), pre[0], pre[1]); reasonOf(err) != objects.Changed {
			t.Errorf("replacing %v: %v", pre, err)
		}
	}
	if err := c.Delete(t.Context(), deny, "", ""); reasonOf(err) != objects.Changed {
		t.Errorf("deleting without preconditions: %v", err)
	}
	a.fails("PUT "+policies+"/deny", 409, "Conflict", "the object has been modified")
	if _, err := c.Replace(t.Context(), deny, []byte(prior), "u1", "7"); reasonOf(err) != objects.Changed {
		t.Errorf("modified while replacing: %v", err)
	}
}

// What an edit would leave is the server's answer to a dry run of the whole object, and is for what was read only.
func TestEdited(t *testing.T) {
	a := withPolicies(t)
	a.json(policies+"/deny", served("u1", "7"))
	a.json("PUT "+policies+"/deny", strings.Replace(served("u1", "7"), `"podSelector": {}`, `"podSelector": {"matchLabels": {"a": "b"}}`, 1))
	c := a.client(t)
	edit := func(s harden.State) (harden.State, error) {
		s.Data = []byte(strings.Replace(string(s.Data), "podSelector: {}", "podSelector:\n    matchLabels:\n      a: b", 1))
		return s, nil
	}
	seen, err := c.Edited(t.Context(), deny, edit)
	if err != nil || seen.UID != "u1" || seen.ResourceVersion != "7" || string(seen.Before.Data) != policyYAML || !strings.Contains(string(seen.After.Data), "a: b") {
		t.Fatalf("%+v %v", seen, err)
	}
	r := last(a)
	if !strings.Contains(r.query, "dryRun=All") || !strings.Contains(r.body, `"resourceVersion":"7"`) || !strings.Contains(r.body, `"finalizers":["example.com/keep"]`) {
		t.Errorf("asked %+v", r)
	}
	asked := len(a.got())
	same, err := c.Edited(t.Context(), deny, func(s harden.State) (harden.State, error) { return s, nil })
	if err != nil || !same.Before.Equal(same.After) || strings.Contains(last(a).query, "dryRun") || len(a.got()) == asked {
		t.Errorf("no change: %+v %v", same, err)
	}
	if _, err := c.Edited(t.Context(), deny, func(harden.State) (harden.State, error) { return harden.State{}, errors.New("by hand") }); err == nil || err.Error() != "by hand" {
		t.Errorf("an edit that refuses: %v", err)
	}
	a.fails("PUT "+policies+"/deny", 409, "Conflict", "the object has been modified")
	if _, err := c.Edited(t.Context(), deny, edit); reasonOf(err) != objects.Changed {
		t.Errorf("modified meanwhile: %v", err)
	}
}
