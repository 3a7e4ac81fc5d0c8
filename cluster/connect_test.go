package cluster

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

const fixtures = "../host/sandbox/fixtures"

func TestConnectOnANode(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	root := t.TempDir()
	data, err := os.ReadFile(a.kubeconfig(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, AdminKubeconfig), string(data))
	t.Setenv("KUBECONFIG", "/nonexistent")
	c, err := Connect(Options{NodeRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server() != a.URL || c.Context() != "admin@test" {
		t.Errorf("server %s, context %s", c.Server(), c.Context())
	}
	if digest, version, err := c.Identity(t.Context()); err != nil || digest != a.digest || version.String() != "v1.37.2" {
		t.Errorf("identity %s %s %v", digest, version, err)
	}
}

func TestConnectOnAWorkstation(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	t.Setenv("KUBECONFIG", a.kubeconfig(t, nil))
	c, err := Connect(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Identity(t.Context()); err != nil {
		t.Error(err)
	}
	if got := a.got()[0].agent; got != FieldManager {
		t.Errorf("user agent %q", got)
	}
}

// Without root admin.conf was told to be no kubeconfig, where it could not be opened.
func TestAKubeconfigThatCannotBeOpenedIsNotCalledGarbage(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Skip(err) // systems without symbolic links
	}
	t.Setenv("KUBECONFIG", loop)
	for _, opts := range []Options{{}, {Kubeconfig: loop}} {
		if _, err := Connect(opts); err == nil || !strings.Contains(err.Error(), "symbolic links") {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func TestConnectRefuses(t *testing.T) {
	const secret = "c2VjcmV0LXRva2Vu"
	a := newAPI(t, pkiOptions{})
	dir := t.TempDir()
	outside := write(t, filepath.Join(dir, "outside"), "apiVersion: v1\nkind: Config\n")
	leaving := filepath.Join(dir, "leaving")
	if err := os.MkdirAll(filepath.Join(leaving, "etc/kubernetes"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(leaving, AdminKubeconfig)); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(dir, "none"))
	for name, test := range map[string]struct {
		opts Options
		want string
	}{
		"no file":     {Options{Kubeconfig: filepath.Join(dir, "none")}, "it does not exist"},
		"no admin":    {Options{NodeRoot: dir}, "admin.conf: it does not exist"},
		"leaves root": {Options{NodeRoot: leaving}, "escapes"},
		"nothing":     {Options{}, "there are no clusters in it"},
		"garbage":     {Options{Kubeconfig: write(t, filepath.Join(dir, "garbage"), "users:\n- name: a\n  user:\n    token: ["+secret+"\n")}, "it is not a kubeconfig"},
		"wrong types": {Options{Kubeconfig: write(t, filepath.Join(dir, "types"), "apiVersion: v1\nkind: Config\nusers: "+secret+"\n")}, "it is not a kubeconfig"},
		"bad base64":  {Options{Kubeconfig: write(t, filepath.Join(dir, "base64"), "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    client-key-data: \"%"+secret+"\"\n")}, "it is not a kubeconfig"},
		"context":     {Options{Kubeconfig: a.kubeconfig(t, nil), Context: "other"}, `it has no context "other"`},
		"no current":  {Options{Kubeconfig: a.kubeconfig(t, func(c *clientcmdapi.Config) { c.CurrentContext = "" })}, "it has no current context"},
		"plain HTTP": {Options{Kubeconfig: a.kubeconfig(t, func(c *clientcmdapi.Config) {
			*c.Clusters["test"] = clientcmdapi.Cluster{Server: "http://127.0.0.1:8001"}
		})}, "only https"},
		"OIDC": {Options{Kubeconfig: a.kubeconfig(t, func(c *clientcmdapi.Config) {
			*c.AuthInfos["admin"] = clientcmdapi.AuthInfo{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{"id-token": secret}}}
		})}, `"oidc", which is not supported`},
		"key is absent": {Options{Kubeconfig: a.kubeconfig(t, func(c *clientcmdapi.Config) {
			u := c.AuthInfos["admin"]
			u.ClientKeyData, u.ClientKey = nil, "/nonexistent/admin.key"
		})}, "/nonexistent/admin.key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Connect(test.opts)
			var fault *objects.Error
			if !errors.As(err, &fault) || fault.Reason != objects.Credentials {
				t.Fatalf("got %v", err)
			}
			if !strings.HasPrefix(err.Error(), "reading the kubeconfig: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q holds a secret, or a line break", err)
			}
		})
	}
}

// On a node only a proxy that the kubeconfig names is used, whatever the environment of the shell says.
func TestProxyOnANode(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	for name, test := range map[string]struct {
		change func(*clientcmdapi.Config)
		want   string
	}{
		"none":  {nil, ""},
		"named": {func(c *clientcmdapi.Config) { c.Clusters["test"].ProxyURL = "http://192.0.2.1:3128" }, "http://192.0.2.1:3128"},
	} {
		c, err := Connect(Options{NodeRoot: "/", Kubeconfig: a.kubeconfig(t, test.change)})
		if err != nil {
			t.Fatal(err)
		}
		transport := c.http.Transport
		for {
			wrapper, ok := transport.(interface{ WrappedRoundTripper() http.RoundTripper })
			if !ok {
				break
			}
			transport = wrapper.WrappedRoundTripper()
		}
		proxy, err := transport.(*http.Transport).Proxy(httptest.NewRequest(http.MethodGet, "https://192.0.2.11:6443/", nil))
		got := ""
		if proxy != nil {
			got = proxy.String()
		}
		if err != nil || got != test.want {
			t.Errorf("%s: proxy %q %v", name, got, err)
		}
	}
}

// The fixtures' keys are placeholders: that is said, and nothing panics.
func TestConnectWithoutAKey(t *testing.T) {
	for _, minor := range []string{"kubeadm-1.30", "kubeadm-1.34", "kubeadm-1.37"} {
		_, err := Connect(Options{NodeRoot: filepath.Join(fixtures, minor, "root")})
		var fault *objects.Error
		if !errors.As(err, &fault) || fault.Reason != objects.Credentials {
			t.Errorf("%s: %v", minor, err)
		}
	}
}
