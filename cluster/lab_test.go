//go:build lab

package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// These run on a control-plane node of a real cluster (see lab/):
//
//	go test -c -tags lab -o cluster.test ./cluster, copied to the node, ./cluster.test -test.run Lab -test.v

func lab(t *testing.T) (*Client, harden.Identity) {
	t.Helper()
	c, err := Connect(Options{NodeRoot: "/"})
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	block, _ := pem.Decode(read("/etc/kubernetes/pki/ca.crt"))
	sum := sha256.Sum256(block.Bytes)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return c, harden.Identity{Node: host, MachineID: strings.TrimSpace(string(read("/etc/machine-id"))), CADigest: hex.EncodeToString(sum[:])}
}

func TestLabIdentity(t *testing.T) {
	c, node := lab(t)
	if err := c.CheckIdentity(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	digest, version, err := c.Identity(t.Context())
	if err != nil || digest != node.CADigest || version.IsZero() {
		t.Errorf("%s %s %v", digest, version, err)
	}
	for name, change := range map[string]func(*harden.Identity){
		"CA": func(i *harden.Identity) { i.CADigest = strings.Repeat("ab", 32) }, "node": func(i *harden.Identity) { i.Node = "cp9" }, "machine": func(i *harden.Identity) { i.MachineID = "other" },
	} {
		other := node
		change(&other)
		var fault *objects.Error
		if err := c.CheckIdentity(t.Context(), other); !errors.As(err, &fault) || !fault.OtherCluster() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLabFacts(t *testing.T) {
	c, node := lab(t)
	began := time.Now()
	facts, missing := c.Facts(t.Context(), []harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens})
	t.Logf("read in %s", time.Since(began))
	if len(missing) != 0 {
		t.Fatal(missing)
	}
	if len(facts.Nodes) == 0 || facts.Nodes[0].Name != node.Node || facts.Nodes[0].MachineID != node.MachineID || !facts.Nodes[0].ControlPlane {
		t.Errorf("nodes %+v", facts.Nodes)
	}
	owners := map[string]bool{}
	for _, p := range facts.Pods {
		owners[p.Name+" "+p.Owner] = true
	}
	if !owners["kube-apiserver-"+node.Node+" Node/"+node.Node] || len(facts.Namespaces) < 4 || len(facts.Services) == 0 || facts.StaleTokens == nil {
		t.Errorf("pods %v, namespaces %v, services %v, stale tokens %v", owners, facts.Namespaces, facts.Services, facts.StaleTokens)
	}
}

func TestLabLifeOfAPolicy(t *testing.T) {
	c, _ := lab(t)
	t.Cleanup(func() {
		ref := harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "default", Name: "kubectl-harden-test"}
		if s, uid, version, err := c.Object(context.Background(), ref); err == nil && s.Exists {
			_ = c.Delete(context.Background(), ref, uid, version)
		}
	})
	lifeOfAPolicy(t, c, "default")
}

func TestLabNode(t *testing.T) {
	c, node := lab(t)
	ctx := t.Context()
	if config, err := c.Configz(ctx, node.Node); err != nil || config["staticPodPath"] != "/etc/kubernetes/manifests" {
		t.Errorf("%v %v", config, err)
	}
	if ready, why, err := c.NodeReady(ctx, node.Node, time.Now().Add(-time.Hour)); err != nil || !ready {
		t.Errorf("%t %s %v", ready, why, err)
	}
	if ready, why, err := c.NodeReady(ctx, node.Node, time.Now().Add(time.Hour)); err != nil || ready || why == "" {
		t.Errorf("ready in an hour: %t %s %v", ready, why, err)
	}
	for path, want := range map[string]int{"/readyz?verbose": 200, "/no-such-path": 404} {
		if status, err := c.AdminGet(ctx, path, ""); err != nil || status != want {
			t.Errorf("%s: %d %v", path, status, err)
		}
	}
	if ready, failing, err := c.Readyz(ctx); err != nil || !ready || len(failing) != 0 {
		t.Errorf("%t %v %v", ready, failing, err)
	}
	leases, err := c.Leases(ctx)
	if err != nil || time.Since(leases["kube-scheduler"].Renewed) > time.Minute {
		t.Errorf("%v %v", leases, err)
	}
}

// Credentials of the kubelet are known and not enough.
func TestLabForbidden(t *testing.T) {
	c, err := Connect(Options{NodeRoot: "/", Kubeconfig: filepath.Join("/etc/kubernetes", "kubelet.conf")})
	if err != nil {
		t.Fatal(err)
	}
	facts, missing := c.Facts(t.Context(), []harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens})
	for need, why := range missing {
		t.Logf("%s: %s", need, why)
	}
	if _, ok := missing[harden.NeedWorkloads]; !ok || !strings.Contains(missing[harden.NeedWorkloads].String(), "may not read this") {
		t.Errorf("missing %v, facts %+v", missing, facts)
	}
}

// What kubeadm leaves as it is, as the proofs of changes see it: with each change they see the opposite.
func TestLabProofs(t *testing.T) {
	c, _ := lab(t)
	ctx := t.Context()
	if err := c.TrialWrite(ctx); err != nil {
		t.Fatal(err)
	}
	plugins, err := c.AdmissionPlugins(ctx)
	if err != nil || !slices.Contains(plugins, "NodeRestriction") || !slices.Contains(plugins, "PodSecurity") || slices.Contains(plugins, "AlwaysPullImages") {
		t.Errorf("plugins %v %v", plugins, err)
	}
	if life, asked, err := c.TokenLife(ctx); err != nil || !asked || life < 300*24*time.Hour {
		t.Errorf("a token is good for %s %v %v", life, asked, err)
	}
	if status, err := c.GetWith(ctx, "nobody-has-this-token", "/api"); err != nil || status != 401 {
		t.Errorf("a token that nobody has is answered %d %v", status, err)
	}
	if refusal, err := c.TrialPod(ctx, "default"); err != nil || refusal != "" {
		t.Errorf("a privileged pod is refused: %q %v", refusal, err)
	}
}
