package cluster

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.handle("/api/v1/secrets", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continue") == "" {
			answer(w, 200, `{"metadata":{"continue":"more"},"items":[{"metadata":{"namespace":"a","name":"x"},"data":{"k":"c2VjcmV0"}}]}`)
			return
		}
		answer(w, 200, `{"metadata":{},"items":[{"metadata":{"namespace":"b","name":"y"}}]}`)
	})
	got, err := a.client(t).Names(context.Background(), "secrets")
	if err != nil || !slices.Equal(got, []string{"a/x", "b/y"}) {
		t.Errorf("%v, %v", got, err)
	}
	a.fails("/api/v1/secrets", 500, "InternalError", "unable to transform key")
	if _, err := a.client(t).Names(context.Background(), "secrets"); err == nil || !strings.Contains(err.Error(), "unable to transform key") {
		t.Errorf("Secrets that cannot be decrypted: %v", err)
	}
	if _, err := a.client(t).Names(context.Background(), "pods"); err == nil {
		t.Error("pods are written anew")
	}
}

func TestRewrite(t *testing.T) {
	const path, body = "/api/v1/namespaces/a/secrets/x", `{"metadata":{"name":"x","resourceVersion":"7"},"immutable":true}`
	for _, row := range []struct {
		name string
		puts []int // what each write is answered with
		gone bool
		err  string
	}{
		{name: "at once", puts: []int{200}},
		{name: "somebody was faster, twice", puts: []int{409, 409, 200}},
		{name: "somebody is always faster", puts: []int{409}, err: "10 times"},
		{name: "gone before it was read", gone: true},
		{name: "gone before it was written", puts: []int{404}},
		{name: "refused", puts: []int{422}, err: "does not take it as it is"},
		{name: "unreachable", puts: []int{503}, err: "writing anew: secrets a/x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := newAPI(t, pkiOptions{})
			if !row.gone {
				a.json("GET "+path, body)
			}
			n := 0
			a.handle("PUT "+path, func(w http.ResponseWriter, _ *http.Request) {
				code := row.puts[min(n, len(row.puts)-1)]
				if n++; code == 200 {
					answer(w, code, body)
					return
				}
				status(w, code, map[int]string{404: "NotFound", 409: "Conflict", 422: "Invalid", 503: "ServiceUnavailable"}[code], "hunter2")
			})
			err := a.client(t).Rewrite(context.Background(), "secrets", "a/x")
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("%v, want %q", err, row.err)
			}
			if row.name == "refused" && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it quotes what may be secret: %v", err)
			}
			for _, q := range a.got() {
				if q.method == "PUT" && q.body != body {
					t.Errorf("it was not written as it is: %s", q.body)
				}
			}
		})
	}
}
