package objects

import (
	"errors"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

const served = `{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1","spec":{"policyTypes":["Ingress"],"podSelector":{},"ingress":[{"ports":[{"port":8080,"endPort":8090}]}]},
"metadata":{"uid":"u","resourceVersion":"7","generation":2,"labels":{},"annotations":{"note":"a\u001b[2Jb"},"managedFields":[{}],"name":"deny","namespace":"shop"},"status":{"x":1}}`

const normal = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  annotations:
    note: "a\e[2Jb"
  name: deny
  namespace: shop
spec:
  ingress:
  - ports:
    - endPort: 8090
      port: 8080
  podSelector: {}
  policyTypes:
  - Ingress
`

func TestNormal(t *testing.T) {
	if got := normalForm(t, []byte(served)); got != normal {
		t.Fatal(got)
	}
	if again := normalForm(t, []byte(normal)); again != normal {
		t.Errorf("not stable: %s", again)
	}
}

func normalForm(t *testing.T, data []byte) string {
	t.Helper()
	o, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.Normal().YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestDecodeRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "[]", "a: b", "kind: A\napiVersion: v1\n", "kind: A\nmetadata: {name: n}\n", "kind: A\nkind: A\napiVersion: v1\nmetadata: {name: n}\n",
		"kind: 7\napiVersion: v1\nmetadata: {name: n}\n", "kind: A\napiVersion: v1\nmetadata: n\n", "\x00", "{",
	} {
		if o, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, o)
		}
	}
	ref := harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny"}
	if _, err := Expect(ref, []byte(normal)); err != nil {
		t.Error(err)
	}
	ref.Namespace = "other"
	if _, err := Expect(ref, []byte(normal)); err == nil {
		t.Error("another object is not refused")
	}
}

// With brings back the content of a normal form and keeps what is the server's.
func TestWith(t *testing.T) {
	live, err := Decode([]byte(served))
	if err != nil {
		t.Fatal(err)
	}
	prior, err := Decode([]byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop, uid: other, labels: {a: b}}\nspec: {podSelector: {}}\nstatus: {y: 2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := live.With(prior).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if normalForm(t, got) != "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  labels:\n    a: b\n  name: deny\n  namespace: shop\nspec:\n  podSelector: {}\n" {
		t.Errorf("content: %s", got)
	}
	for _, want := range []string{"uid: u\n", `resourceVersion: "7"`, "x: 1", "managedFields"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
	if before, err := live.Normal().YAML(); string(before) != normal || err != nil || live.Meta("uid") != "u" {
		t.Error("the live object was changed")
	}
}

func TestErrorIsOneInertLine(t *testing.T) {
	e := &Error{Doing: "listing pods", Subject: "https://192.0.2.11:6443", Reason: Failed, Cause: errors.New("a\r\n\tb \x1b]0;x\x07 \u202e " + strings.Repeat("long ", 500))}
	got := e.Error()
	if !strings.HasPrefix(got, `listing pods: https://192.0.2.11:6443: a b \x1b]0;x\a \u202e long `) || len(got) > maxError+10 {
		t.Errorf("%q", got)
	}
}

func TestCheckSegment(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "../x", "a%2fb", "a?b", "a#b"} {
		if CheckSegment(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"cp1", "v1beta1.metrics.k8s.io", "a..b"} {
		if err := CheckSegment(good); err != nil {
			t.Error(err)
		}
	}
}
