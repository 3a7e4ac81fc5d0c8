package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

var identity = harden.Identity{Node: "cp1", MachineID: "m1", CADigest: "d1", KubernetesVersion: "v1.37.2"}

const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  namespace: shop
spec:
  podSelector: {}
`

var deny = harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny"}

func TestKubeProxysConfiguration(t *testing.T) {
	for text, want := range map[string]string{"": "", "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmetricsBindAddress: 0.0.0.0:10249\n": "0.0.0.0:10249"} {
		facts, missing := New(Fixture{Identity: identity, ProxyConfiguration: text}).Facts(t.Context(), []harden.Need{harden.NeedKubeProxy})
		if len(missing) != 0 || (facts.KubeProxy != nil) != (want != "") || want != "" && facts.KubeProxy.MetricsBindAddress != want {
			t.Errorf("%q: %+v %v", text, facts.KubeProxy, missing)
		}
	}
}

func TestFacts(t *testing.T) {
	facts, missing := New(Fixture{Identity: identity}).Facts(t.Context(), []harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens})
	if len(missing) != 0 {
		t.Fatal(missing)
	}
	if n := facts.Nodes; len(n) != 1 || n[0].Name != "cp1" || n[0].MachineID != "m1" || !n[0].ControlPlane || !n[0].Ready || n[0].KubeletVersion != facts.Version {
		t.Errorf("nodes %+v", n)
	}
	var namespaces, owners, enforcers []string
	for _, n := range facts.Namespaces {
		namespaces = append(namespaces, n.Name)
	}
	if got := strings.Join(namespaces, " "); got != "default kube-node-lease kube-public kube-system monitoring payments shop" {
		t.Errorf("namespaces %s", got)
	}
	known := map[string]bool{}
	for _, p := range facts.Pods {
		owners = append(owners, p.Namespace+" "+p.Owner)
		known[p.Namespace+"/"+p.Labels["app"]] = true
	}
	for _, want := range []string{"shop Deployment/web", "shop Deployment/cart", "shop StatefulSet/db", "payments Deployment/card-policy", "monitoring StatefulSet/prometheus", "kube-system DaemonSet/calico-node", "kube-system Node/cp1"} {
		if !slices.Contains(owners, want) {
			t.Errorf("there is no pod of %s: %v", want, owners)
		}
	}
	types := map[corev1.ServiceType]bool{}
	for _, s := range facts.Services {
		types[s.Type] = true
		if app := s.Selector["app"]; app != "" && !known[s.Namespace+"/"+app] {
			t.Errorf("service %s/%s selects nothing", s.Namespace, s.Name)
		}
	}
	if len(types) != 4 {
		t.Errorf("service types %v", types)
	}
	for _, d := range facts.DaemonSets {
		enforcers = append(enforcers, d.Name)
	}
	if !slices.Contains(enforcers, "calico-node") {
		t.Errorf("daemon sets %v", enforcers)
	}
	want := harden.WebhookFact{Kind: "ValidatingWebhookConfiguration", Name: "card-policy", Namespace: "payments", Service: "card-policy", Port: 443, FailClosed: true}
	if len(facts.Webhooks) != 1 || facts.Webhooks[0] != want {
		t.Errorf("webhooks %+v", facts.Webhooks)
	}
	if len(facts.APIServices) != 1 || len(facts.Policies) != 0 || facts.StaleTokens == nil {
		t.Errorf("APIs %v, policies %v, stale tokens %v", facts.APIServices, facts.Policies, facts.StaleTokens)
	}
}

func TestDown(t *testing.T) {
	c := New(Fixture{Identity: identity})
	c.Down(true)
	ctx := t.Context()
	_, _, object := errOf3(c.Object(ctx, deny))
	_, _, create := errOf3s(c.Create(ctx, deny, []byte(policy)))
	_, get := c.AdminGet(ctx, "/readyz", "")
	_, _, ready := c.NodeReady(ctx, "cp1", time.Time{})
	for _, err := range []error{object, create, get, ready, c.CheckIdentity(ctx, identity), c.Delete(ctx, deny, "u", "1")} {
		var fault *objects.Error
		if !errors.As(err, &fault) || !fault.Unreachable() {
			t.Errorf("got %v", err)
		}
	}
	facts, missing := c.Facts(ctx, []harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedKubelet})
	if facts == nil || len(missing) != 2 {
		t.Errorf("%v %v", facts, missing)
	}
	c.Down(false)
	if err := c.CheckIdentity(ctx, identity); err != nil {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.CheckIdentity(gone, identity); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func errOf3(s harden.State, _, _ string, err error) (harden.State, string, error) { return s, "", err }
func errOf3s(uid, version string, err error) (string, string, error)              { return uid, version, err }

func TestCheckIdentity(t *testing.T) {
	c := New(Fixture{Identity: identity})
	for name, change := range map[string]func(*harden.Identity){
		"CA": func(i *harden.Identity) { i.CADigest = "d2" }, "node": func(i *harden.Identity) { i.Node = "cp2" }, "machine": func(i *harden.Identity) { i.MachineID = "m2" },
	} {
		other := identity
		change(&other)
		var fault *objects.Error
		if err := c.CheckIdentity(t.Context(), other); !errors.As(err, &fault) || !fault.OtherCluster() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Others' fields stay, and what they have set is not taken from them.
func TestPreviewAmongOthers(t *testing.T) {
	c := New(Fixture{Identity: identity})
	ctx := t.Context()
	theirs := strings.Replace(policy, "  namespace: shop\n", "  namespace: shop\n  labels: {team: shop}\n", 1)
	c.mu.Lock()
	want, err := c.admit("making", []byte(theirs))
	if err != nil {
		t.Fatal(err)
	}
	c.store(want, nil)
	c.mu.Unlock()

	ours := strings.Replace(policy, "  namespace: shop\n", "  namespace: shop\n  labels: {ours: \"1\"}\n", 1)
	p, err := c.Preview(ctx, deny, []byte(ours))
	if err != nil || !strings.Contains(string(p.After.Data), "team: shop") || !strings.Contains(string(p.After.Data), `ours: "1"`) {
		t.Fatalf("%s %v", p.After.Data, err)
	}
	if _, err = c.Replace(ctx, deny, p.After.Data, p.UID, p.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	changing := strings.Replace(ours, `ours: "1"`, `ours: "2"`, 1)
	if p, err = c.Preview(ctx, deny, []byte(changing)); err != nil || !strings.Contains(string(p.After.Data), `ours: "2"`) {
		t.Errorf("our own label cannot be changed: %s %v", p.After.Data, err)
	}
	taking := strings.Replace(theirs, "team: shop", "team: ours", 1)
	var fault *objects.Error
	if _, _, _, err := c.DryRun(ctx, []byte(taking)); !errors.As(err, &fault) || fault.Reason != objects.Contested {
		t.Errorf("got %v", err)
	}
}

func TestExportImport(t *testing.T) {
	ctx := t.Context()
	c := New(Fixture{Identity: identity})
	before, err := c.Contents()
	if err != nil {
		t.Fatal(err)
	}
	uid, version, err := c.Create(ctx, deny, []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := c.Export()
	if err != nil {
		t.Fatal(err)
	}
	with, err := c.Contents()
	if err != nil || bytes.Equal(before, with) {
		t.Fatalf("the policy does not show: %v", err)
	}

	other := New(Fixture{Identity: identity})
	if err := other.Import(saved); err != nil {
		t.Fatal(err)
	}
	if again, err := other.Export(); err != nil || !bytes.Equal(again, saved) {
		t.Errorf("export after import differs: %v", err)
	}
	if got, err := other.Contents(); err != nil || !bytes.Equal(got, with) {
		t.Errorf("contents after import differ: %v", err)
	}
	if err := other.Delete(ctx, deny, uid, version); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Contents(); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the contents are not what they were: %v", err)
	}
	for _, bad := range []string{"", "{", `{"records": [{"object": {}}]}`, `{"unknown": 1}`} {
		if other.Import([]byte(bad)) == nil {
			t.Errorf("%q was imported", bad)
		}
	}
	if got, err := other.Contents(); err != nil || !bytes.Equal(got, before) {
		t.Errorf("a failed import changed the contents: %v", err)
	}
}

// What the fixture asks may itself take the API down, as a kubelet that restarts the API server does.
func TestHooks(t *testing.T) {
	heartbeat := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	var c *Cluster
	ready := true
	c = New(Fixture{
		Identity: identity,
		Ready: func() (bool, time.Time, string) {
			c.Down(false)
			return ready, heartbeat, "starting"
		},
		Config: func() map[string]any { return map[string]any{"readOnlyPort": 0} },
		Answer: func(path, agent string) int { return map[string]int{"/debug/pprof/ proof": 404}[path+" "+agent] },
	})
	ctx := t.Context()
	if ok, why, err := c.NodeReady(ctx, "cp1", heartbeat); err != nil || !ok {
		t.Errorf("%t %s %v", ok, why, err)
	}
	if ok, why, err := c.NodeReady(ctx, "cp1", heartbeat.Add(time.Second)); err != nil || ok || !strings.Contains(why, "before the restart") {
		t.Errorf("%t %s %v", ok, why, err)
	}
	ready = false
	if ok, why, err := c.NodeReady(ctx, "cp1", heartbeat); err != nil || ok || !strings.Contains(why, "starting") {
		t.Errorf("%t %s %v", ok, why, err)
	}
	if _, _, err := c.NodeReady(ctx, "cp9", heartbeat); err == nil {
		t.Error("cp9 is there")
	}
	if got, err := c.Configz(ctx, "cp1"); err != nil || fmt.Sprint(got) != "map[readOnlyPort:0]" {
		t.Errorf("%v %v", got, err)
	}
	if status, err := c.AdminGet(ctx, "/debug/pprof/", "proof"); err != nil || status != 404 {
		t.Errorf("%d %v", status, err)
	}
	plain := New(Fixture{Identity: identity})
	for path, want := range map[string]int{"/readyz?verbose": 200, "/livez/etcd": 200, "/version": 200, "/api/v1/nodes": 200, "/apis/apps/v1": 200, "/debug/pprof/": 404, "/versions": 404} {
		if status, err := plain.AdminGet(ctx, path, ""); err != nil || status != want {
			t.Errorf("%s: %d %v", path, status, err)
		}
	}
	if _, err := plain.Configz(ctx, "cp1"); err == nil {
		t.Error("a configuration out of nothing")
	}
	if leases, err := plain.Leases(ctx); err != nil || len(leases) != 2 {
		t.Errorf("%v %v", leases, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := New(Fixture{Identity: identity})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			ref := deny
			ref.Name = fmt.Sprintf("deny-%d", i)
			uid, version, err := c.Create(t.Context(), ref, []byte(strings.Replace(policy, "name: deny", "name: "+ref.Name, 1)))
			if err == nil {
				_, _ = c.Facts(t.Context(), []harden.Need{harden.NeedWorkloads})
				err = c.Delete(t.Context(), ref, uid, version)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
