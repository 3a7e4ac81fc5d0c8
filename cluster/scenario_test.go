package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/cluster/sandbox"
	"kubectl-harden.io/kubectl-harden/harden"
)

// surface is what a real cluster and the sandbox have in common.
type surface interface {
	Identity(ctx context.Context) (caDigest string, version harden.Version, err error)
	CheckIdentity(ctx context.Context, node harden.Identity) error
	Facts(ctx context.Context, needs []harden.Need) (*harden.ClusterFacts, map[harden.Need]harden.Message)
	Object(ctx context.Context, ref harden.ObjectRef) (s harden.State, uid, resourceVersion string, err error)
	DryRun(ctx context.Context, yaml []byte) (after []byte, uid, resourceVersion string, err error)
	Preview(ctx context.Context, ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error)
	Create(ctx context.Context, ref harden.ObjectRef, yaml []byte) (uid, resourceVersion string, err error)
	Replace(ctx context.Context, ref harden.ObjectRef, yaml []byte, uid, resourceVersion string) (newVersion string, err error)
	Delete(ctx context.Context, ref harden.ObjectRef, uid, resourceVersion string) error
	NodeReady(ctx context.Context, node string, since time.Time) (ready bool, reason string, err error)
	Configz(ctx context.Context, node string) (map[string]any, error)
	AdminGet(ctx context.Context, path, userAgent string) (status int, err error)
	Readyz(ctx context.Context) (ready bool, failing []string, err error)
	ControlPlanes(ctx context.Context) ([]harden.ControlPlane, error)
	AskAt(ctx context.Context, address, path string) error
	Endpoints(ctx context.Context) ([]string, error)
	Leases(ctx context.Context) (map[string]harden.Lease, error)
}

var (
	_ surface = (*Client)(nil)
	_ surface = (*sandbox.Cluster)(nil)
)

func TestSandboxLifeOfAPolicy(t *testing.T) {
	c := sandbox.New(sandbox.Fixture{Identity: harden.Identity{Node: "cp1", MachineID: "m1", CADigest: "d1", KubernetesVersion: "v1.37.2"}})
	lifeOfAPolicy(t, c, "shop")
}

// lifeOfAPolicy is what a plan and its undo do to an object; the sandbox and a real API server must agree on all of it.
func lifeOfAPolicy(t *testing.T, c surface, namespace string) {
	t.Helper()
	ctx := t.Context()
	ref := harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: namespace, Name: "kubectl-harden-test"}
	policy := func(lines ...string) []byte {
		return []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: kubectl-harden-test\n  namespace: " + namespace +
			"\n  labels:\n    app.kubernetes.io/managed-by: kubectl-harden\n" + strings.Join(lines, "\n") + "\n")
	}
	first := policy("spec:", "  podSelector: {}", "  ingress:", "  - from:", "    - podSelector: {}", "    ports:", "    - port: 8080")
	second := policy("spec:", "  podSelector: {}", "  policyTypes: [Ingress]", "  ingress: []")
	fatal := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	reason := func(what string, err error, want objects.Reason) {
		t.Helper()
		var fault *objects.Error
		if !errors.As(err, &fault) || fault.Reason != want {
			t.Fatalf("%s: got %v, want %s", what, err, want)
		}
	}
	read := func() (harden.State, string, string) {
		t.Helper()
		s, uid, version, err := c.Object(ctx, ref)
		fatal("reading", err)
		return s, uid, version
	}

	// Seen is written: what the dry run shows, with the server's defaults, is what is there afterwards.
	p, err := c.Preview(ctx, ref, first)
	fatal("preview", err)
	if p.Before.Exists || p.UID != "" || p.ResourceVersion != "" {
		t.Fatalf("it exists: %+v", p)
	}
	for _, want := range []string{"policyTypes:\n  - Ingress\n", "protocol: TCP\n", "app.kubernetes.io/managed-by: kubectl-harden\n"} {
		if !strings.Contains(string(p.After.Data), want) {
			t.Errorf("the preview lacks %q:\n%s", want, p.After.Data)
		}
	}
	if s, _, _ := read(); s.Exists {
		t.Fatal("the dry run has written")
	}
	uid, version, err := c.Create(ctx, ref, p.After.Data)
	fatal("creating", err)
	s, gotUID, gotVersion := read()
	if !s.Equal(p.After) || gotUID != uid || gotVersion != version {
		t.Fatalf("written %s as %s %s, shown %s, said %s %s", s.Data, gotUID, gotVersion, p.After.Data, uid, version)
	}
	_, _, err = c.Create(ctx, ref, first)
	reason("creating again", err, objects.Exists)

	// Idempotent: the same wish changes nothing.
	p, err = c.Preview(ctx, ref, first)
	fatal("preview of the same", err)
	if !p.Before.Equal(p.After) || p.UID != uid || p.ResourceVersion != version {
		t.Fatalf("the same wish changes it:\n%s\n%s", p.Before.Data, p.After.Data)
	}

	// A change of what we have made ourselves and back, under its preconditions.
	p, err = c.Preview(ctx, ref, second)
	fatal("preview of a change", err)
	if p.Before.Equal(p.After) || strings.Contains(string(p.After.Data), "8080") {
		t.Fatalf("it does not change:\n%s", p.After.Data)
	}
	replaced, err := c.Replace(ctx, ref, p.After.Data, uid, version)
	fatal("replacing", err)
	if s, _, v := read(); !s.Equal(p.After) || v != replaced {
		t.Fatalf("written %s, shown %s", s.Data, p.After.Data)
	}
	_, err = c.Replace(ctx, ref, p.Before.Data, uid, version)
	reason("replacing an old version", err, objects.Changed)
	reason("deleting an old version", c.Delete(ctx, ref, uid, version), objects.Changed)
	restored, err := c.Replace(ctx, ref, p.Before.Data, uid, replaced)
	fatal("replacing by what was", err)
	if s, u, v := read(); !s.Equal(p.Before) || u != uid || v != restored {
		t.Fatalf("restored %s, was %s", s.Data, p.Before.Data)
	}
	p, err = c.Preview(ctx, ref, second)
	fatal("preview after an undo", err)
	if strings.Contains(string(p.After.Data), "8080") {
		t.Errorf("what was undone cannot be done again:\n%s", p.After.Data)
	}

	// Undo of the creation, of that object only.
	reason("deleting another one", c.Delete(ctx, ref, "11111111-2222-4333-8444-555555555555", restored), objects.Changed)
	fatal("deleting", c.Delete(ctx, ref, uid, restored))
	if s, _, _ := read(); s.Exists {
		t.Fatal("it is still there")
	}
	reason("deleting what is gone", c.Delete(ctx, ref, uid, restored), objects.NotFound)

	// What the server does not take.
	for what, yaml := range map[string][]byte{
		"an unknown field":   policy("spec:", "  podSelector: {}", "  egres: []"),
		"a wrong type":       policy("spec:", "  podSelector: {}", "  policyTypes: Ingress"),
		"a bad port":         policy("spec:", "  podSelector: {}", "  ingress: [{ports: [{port: 99999}]}]"),
		"a bad label":        policy("spec:", "  podSelector: {matchLabels: {a: \"b c\"}}"),
		"an empty peer":      policy("spec:", "  podSelector: {}", "  ingress: [{from: [{}]}]"),
		"a bad block":        policy("spec:", "  podSelector: {}", "  ingress: [{from: [{ipBlock: {cidr: here}}]}]"),
		"an except outside":  policy("spec:", "  podSelector: {}", "  ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [10.0.0.0/8]}}]}]"),
		"an unknown type":    policy("spec:", "  podSelector: {}", "  policyTypes: [Sideways]"),
		"a backward range":   policy("spec:", "  podSelector: {}", "  ingress: [{ports: [{port: 90, endPort: 80}]}]"),
		"a key that repeats": policy("spec:", "  podSelector: {}", "  podSelector: {}"),
	} {
		_, _, _, err := c.DryRun(ctx, yaml)
		reason("trying "+what, err, objects.Refused)
		_, _, err = c.Create(ctx, ref, yaml)
		reason("creating "+what, err, objects.Refused)
	}
	elsewhere := ref
	elsewhere.Namespace = "no-such-namespace"
	_, _, err = c.Create(ctx, elsewhere, []byte(strings.Replace(string(first), "namespace: "+namespace, "namespace: no-such-namespace", 1)))
	reason("creating in no namespace", err, objects.NotFound)
}
