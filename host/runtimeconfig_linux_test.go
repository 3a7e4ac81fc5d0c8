package host

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (f *fakeRuntime) Status(_ context.Context, q *cri.StatusRequest) (*cri.StatusResponse, error) {
	if !q.Verbose {
		return &cri.StatusResponse{}, nil
	}
	return &cri.StatusResponse{Info: map[string]string{"config": f.config}}, nil
}

func TestConfigOfTheRuntime(t *testing.T) {
	fake, _, _, c := connectRuntime(t)
	fake.config = told(t, "containerd-2.3.4.json")
	if got, err := c.Config(t.Context()); err != nil || got.Name != "fake" || !got.AppArmor {
		t.Errorf("Config() = %+v, %v", got, err)
	}
	fake.config = strings.Replace(fake.config, "{", `{"x":"`+strings.Repeat("x", maxStatus)+`",`, 1)
	if got, err := c.Config(t.Context()); err == nil {
		t.Errorf("an answer that is too long is taken: %+v", got)
	}
}

// TestRealRuntimeConfig shows what the runtime at the socket in KUBECTL_HARDEN_CRI tells, with -v: the names of its settings, and what
// is read of them. Credentials of registries are among the values, so these are not shown.
func TestRealRuntimeConfig(t *testing.T) {
	socket := os.Getenv("KUBECTL_HARDEN_CRI")
	if socket == "" {
		t.Skip("KUBECTL_HARDEN_CRI is not set")
	}
	r, _ := newRoot(t)
	r.Proc = "/proc"
	c, err := r.Runtime(t.Context(), socket)
	must(t, err)
	defer c.Close()
	status, err := c.client.Status(t.Context(), &cri.StatusRequest{Verbose: true})
	must(t, err)
	var config map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(status.Info["config"]), &config))
	for name, value := range config {
		t.Logf("%s: %d bytes", name, len(value))
	}
	got, err := c.Config(t.Context())
	must(t, err)
	text, err := json.Marshal(got)
	must(t, err)
	t.Logf("%s", text)
}
