package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"kubectl-harden.io/kubectl-harden/harden"
)

var allNeeds = []harden.Need{harden.NeedAPIServer, harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens, harden.NeedKubeadm, harden.NeedKubeProxy}

const (
	kubeadmConfig = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
	kubeletConfig = "/api/v1/namespaces/kube-system/configmaps/kubelet-config"
	kubeProxy     = "/api/v1/namespaces/kube-system/configmaps/kube-proxy"
	kubeadmText   = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer:\n  extraArgs: [{name: profiling, value: 'false'}]\n"
)

// lists are answers of a small cluster, by path.
var lists = map[string]string{
	"/api/v1/nodes": `{"items": [{"metadata": {"name": "cp1", "labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"podCIDRs": ["10.244.0.0/24"]}, "status": {
		"nodeInfo": {"machineID": "m1", "kubeletVersion": "v1.36.1"}, "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
		"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]}},
		{"metadata": {"name": "w1"}, "status": {"nodeInfo": {"kubeletVersion": "strange"}}}]}`,
	kubeadmConfig: `{"data": {"ClusterConfiguration": "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer:\n  extraArgs: [{name: profiling, value: 'false'}]\n"}}`,
	kubeletConfig: `{"data": {"kubelet": "podPidsLimit: 4096\n"}}`,
	kubeProxy:     `{"data": {"config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nbindAddress: 0.0.0.0\nhealthzBindAddress: \"\"\nmetricsBindAddress: 0.0.0.0:10249\n"}}`,
	"/api/v1/namespaces/kube-system/pods": `{"items": [
		{"metadata": {"name": "kube-apiserver-cp1", "labels": {"component": "kube-apiserver"}, "annotations": {"kubernetes.io/config.mirror": "m"}},
			"spec": {"nodeName": "cp1", "containers": [{"name": "kube-apiserver", "command": ["kube-apiserver", "--profiling=false"], "args": ["--v=2"]}]},
			"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
		{"metadata": {"name": "fake", "labels": {"component": "kube-apiserver"}}, "spec": {"nodeName": "cp1", "containers": [{"name": "a"}]}}]}`,
	"/api/v1/namespaces": `{"items": [{"metadata": {"name": "shop", "labels": {"team": "a"}}, "status": {"phase": "Active"}},
		{"metadata": {"name": "old"}, "status": {"phase": "Terminating"}}]}`,
	"/api/v1/pods": `{"items": [
		{"metadata": {"namespace": "shop", "name": "web-7d9-x1", "labels": {"app": "web", "pod-template-hash": "7d9"}, "annotations": {"prometheus.io/scrape": "true"},
			"ownerReferences": [{"kind": "ReplicaSet", "name": "web-7d9", "controller": true}]},
			"spec": {"nodeName": "w1", "containers": [{"image": "web", "ports": [{"name": "http", "containerPort": 8080}]}],
				"initContainers": [{"ports": [{"containerPort": 1}]}, {"restartPolicy": "Always", "ports": [{"containerPort": 15090, "protocol": "UDP"}]}]},
			"status": {"phase": "Running"}},
		{"metadata": {"namespace": "shop", "name": "db-0", "ownerReferences": [{"kind": "Other", "name": "x"}, {"kind": "StatefulSet", "name": "db", "controller": true}]}, "spec": {}, "status": {"phase": "Pending"}},
		{"metadata": {"namespace": "shop", "name": "rs-1", "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "controller": true}]}, "spec": {}},
		{"metadata": {"namespace": "shop", "name": "job-1"}, "spec": {}, "status": {"phase": "Succeeded"}},
		{"metadata": {"namespace": "kube-system", "name": "etcd-cp1"}, "spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 2381, "hostPort": 2381, "protocol": "TCP"}]}]}}]}`,
	"/api/v1/services": `{"items": [{"metadata": {"namespace": "shop", "name": "web"}, "spec": {"type": "NodePort", "selector": {"app": "web"}, "externalIPs": ["203.0.113.7"],
		"ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080, "protocol": "TCP"}]}},
		{"metadata": {"namespace": "shop", "name": "plain"}, "spec": {"ports": [{"port": 53, "protocol": "UDP"}]}}]}`,
	"/apis/networking.k8s.io/v1/networkpolicies": `{"items": [{"metadata": {"namespace": "shop", "name": "deny", "labels": {"app.kubernetes.io/managed-by": "kubectl-harden"}},
		"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}]}`,
	"/apis/apps/v1/deployments": `{"items": [{"metadata": {"namespace": "shop", "name": "web"},
		"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web", "imagePullPolicy": "IfNotPresent"}]}}}}]}`,
	"/apis/apps/v1/statefulsets": `{"items": []}`,
	"/apis/batch/v1/cronjobs": `{"items": [{"metadata": {"namespace": "ops", "name": "backup"},
		"spec": {"jobTemplate": {"spec": {"template": {"spec": {"hostPID": true, "containers": [{"name": "c", "image": "backup", "imagePullPolicy": "Never"}]}}}}}}]}`,
	"/apis/apps/v1/daemonsets": `{"items": [{"metadata": {"namespace": "kube-system", "name": "calico-node"},
		"spec": {"template": {"spec": {"containers": [{"image": "calico/node:v3"}]}}}}]}`,
	"/apis/apiregistration.k8s.io/v1/apiservices": `{"items": [{"metadata": {"name": "v1."}, "spec": {}},
		{"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {"service": {"namespace": "kube-system", "name": "metrics-server"}}}]}`,
	"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": `{"items": [{"metadata": {"name": "policy"}, "webhooks": [
		{"failurePolicy": "Fail", "clientConfig": {"service": {"namespace": "payments", "name": "policy"}}},
		{"failurePolicy": "Fail", "clientConfig": {"service": {"namespace": "payments", "name": "policy"}}}]}]}`,
	"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": `{"items": [{"metadata": {"name": "inject"}, "webhooks": [
		{"failurePolicy": "Ignore", "clientConfig": {"url": "https://192.0.2.50/inject"}}]}]}`,
	"/apis/apiextensions.k8s.io/v1/customresourcedefinitions": `{"items": [{"metadata": {"name": "plain.example"}, "spec": {"conversion": {"strategy": "None"}}},
		{"metadata": {"name": "things.example"}, "spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"namespace": "ops", "name": "convert", "port": 9443}}}}}}]}`,
}

func withLists(t testing.TB) *apiServer {
	t.Helper()
	a := newAPI(t, pkiOptions{})
	for path, body := range lists {
		a.json(path, body)
	}
	a.handle("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE serviceaccount_stale_tokens_total counter\nserviceaccount_stale_tokens_total_other 9\nserviceaccount_stale_tokens_total 3\n")
	})
	return a
}

func TestFacts(t *testing.T) {
	a := withLists(t)
	got, missing := a.client(t).Facts(t.Context(), allNeeds)
	if len(missing) != 0 {
		t.Fatalf("missing: %v", missing)
	}
	stale := 3.0
	restricted := harden.PodSecurityFact{Level: "restricted"}
	baseline := harden.PodSecurityFact{Level: "baseline", Why: []string{
		"allowPrivilegeEscalation != false", "unrestricted capabilities", "runAsNonRoot != true", "seccompProfile",
	}}
	want := &harden.ClusterFacts{
		Version: harden.Version{Major: 1, Minor: 37, Patch: 2},
		Nodes: []harden.NodeFact{
			{Name: "cp1", MachineID: "m1", KubeletVersion: harden.Version{Major: 1, Minor: 36, Patch: 1}, ControlPlane: true, Ready: true, Addresses: []string{"192.0.2.11"}, PodCIDRs: []string{"10.244.0.0/24"}},
			{Name: "w1"},
		},
		Namespaces: []harden.NamespaceFact{{Name: "shop", Labels: map[string]string{"team": "a"}}, {Name: "old", Terminating: true}},
		Pods: []harden.PodFact{
			{Namespace: "shop", Name: "web-7d9-x1", Owner: "Deployment/web", Labels: map[string]string{"app": "web", "pod-template-hash": "7d9"}, Node: "w1", Scraped: true,
				Ports:       []harden.PortFact{{Name: "http", Port: 8080, Protocol: corev1.ProtocolTCP}, {Port: 15090, Protocol: corev1.ProtocolUDP}},
				PodSecurity: baseline, Images: []harden.ImageFact{{}, {Image: "web"}}},
			{Namespace: "shop", Name: "db-0", Owner: "StatefulSet/db", PodSecurity: restricted},
			{Namespace: "shop", Name: "rs-1", Owner: "ReplicaSet/rs", PodSecurity: restricted},
			{Namespace: "kube-system", Name: "etcd-cp1", HostNetwork: true, Ports: []harden.PortFact{{Port: 2381, Protocol: corev1.ProtocolTCP, HostPort: 2381}},
				PodSecurity: harden.PodSecurityFact{Level: "privileged", Why: []string{"host namespaces", "hostPort"}}, Images: []harden.ImageFact{{}}},
		},
		Templates: []harden.TemplateFact{
			{Namespace: "shop", Owner: "Deployment/web", PodSecurity: baseline, Images: []harden.ImageFact{{Image: "web", PullPolicy: "IfNotPresent"}}},
			{Namespace: "kube-system", Owner: "DaemonSet/calico-node", PodSecurity: baseline, Images: []harden.ImageFact{{Image: "calico/node:v3"}}},
			{Namespace: "ops", Owner: "CronJob/backup", PodSecurity: harden.PodSecurityFact{Level: "privileged", Why: []string{"host namespaces"}},
				Images: []harden.ImageFact{{Image: "backup", PullPolicy: "Never"}}},
		},
		Services: []harden.ServiceFact{
			{Namespace: "shop", Name: "web", Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "web"}, ExternalIPs: []string{"203.0.113.7"},
				Ports: []harden.ServicePortFact{{Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP, NodePort: 30080}}},
			{Namespace: "shop", Name: "plain", Type: corev1.ServiceTypeClusterIP,
				Ports: []harden.ServicePortFact{{Port: 53, TargetPort: intstr.FromInt32(53), Protocol: corev1.ProtocolUDP}}},
		},
		Policies: []harden.PolicyFact{{Namespace: "shop", Name: "deny", Ours: true,
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}},
		Webhooks: []harden.WebhookFact{
			{Kind: "ValidatingWebhookConfiguration", Name: "policy", Namespace: "payments", Service: "policy", Port: 443, FailClosed: true},
			{Kind: "MutatingWebhookConfiguration", Name: "inject", URL: "https://192.0.2.50/inject"},
			{Kind: "CustomResourceDefinition", Name: "things.example", Namespace: "ops", Service: "convert", Port: 9443, FailClosed: true},
		},
		APIServices: []harden.APIServiceFact{{Name: "v1beta1.metrics.k8s.io", Namespace: "kube-system", Service: "metrics-server", Port: 443}},
		DaemonSets:  []harden.DaemonSetFact{{Namespace: "kube-system", Name: "calico-node", Images: []string{"calico/node:v3"}}},
		StaleTokens: &stale,
		Kubeadm: &harden.KubeadmFact{APIVersion: "kubeadm.k8s.io/v1beta4", CertificatesDir: "/etc/kubernetes/pki",
			ExtraArgs:            map[harden.ComponentID][]harden.KubeadmArg{harden.APIServer: {{Name: "profiling", Value: "false"}}},
			ExtraVolumes:         map[harden.ComponentID][]harden.KubeadmVolume{},
			ClusterConfiguration: kubeadmText, KubeletConfiguration: "podPidsLimit: 4096\n", KubeletFields: map[string]any{"podPidsLimit": 4096.0}},
		KubeProxy: &harden.KubeProxyFact{BindAddress: "0.0.0.0", MetricsBindAddress: "0.0.0.0:10249"},
		Members:   []harden.MemberFact{{Node: "cp1", Component: harden.APIServer, Ready: true, Args: []string{"kube-apiserver", "--profiling=false", "--v=2"}}},
	}
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", g, w)
	}
	for _, r := range a.got() {
		if strings.Contains(r.query, "resourceVersion") || strings.HasPrefix(r.path, "/api") && r.path != rootCA && !strings.Contains(r.path, "/configmaps/") && !strings.Contains(r.query, "limit=") {
			t.Errorf("%s?%s: not a page of a consistent list", r.path, r.query)
		}
	}
}

// Only what is asked for is read, and a list that may not be read takes its own need with it and no other.
func TestFactsByNeed(t *testing.T) {
	a := withLists(t)
	a.fails("/apis/apps/v1/daemonsets", 403, "Forbidden", "daemonsets.apps is forbidden")
	a.fails("/metrics", 403, "Forbidden", "no")
	facts, missing := a.client(t).Facts(t.Context(), allNeeds)
	if len(missing) != 2 || len(facts.Nodes) != 2 || facts.StaleTokens != nil {
		t.Errorf("missing %v, facts %+v", missing, facts)
	}
	if got := missing[harden.NeedWorkloads].String(); !strings.Contains(got, "may not read this: listing daemon sets: ") {
		t.Errorf("workloads: %s", got)
	}
	if got := missing[harden.NeedTokens].String(); !strings.Contains(got, "may not read this: reading the API server's metrics: ") || !strings.Contains(got, "403") {
		t.Errorf("tokens: %s", got)
	}

	b := withLists(t)
	if _, missing := b.client(t).Facts(t.Context(), []harden.Need{harden.NeedNodes}); len(missing) != 0 || len(b.got()) != 2 {
		t.Errorf("missing %v after %v", missing, b.got())
	}
}

func TestFactsWithoutAnAPI(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	a.Close()
	facts, missing := c.Facts(t.Context(), allNeeds)
	if facts == nil || len(missing) != 5 {
		t.Fatalf("facts %v, missing %v", facts, missing)
	}
	for need, why := range missing {
		if !strings.HasPrefix(why.String(), "the API server does not answer: ") {
			t.Errorf("%s: %s", need, why)
		}
	}
}

func TestMetricsWithoutTheCounter(t *testing.T) {
	a := withLists(t)
	for _, body := range []string{"", "up 1\n", strings.Repeat("x", 2<<20)} {
		a.handle("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		facts, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedTokens})
		if _, ok := missing[harden.NeedTokens]; !ok || facts.StaleTokens != nil {
			t.Errorf("%.20q: %v", body, missing)
		}
	}
}

// pages serves namespaces n0.. of a list of total, two at a time; expire says whether a page asked for is gone.
func pages(a *apiServer, total int, expire func(from int) bool) {
	a.handle("/api/v1/namespaces", func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if _, err := fmt.Sscanf(r.URL.Query().Get("continue"), "after-%d", &from); err == nil && expire(from) {
			status(w, http.StatusGone, "Expired", "The provided continue parameter is too old")
			return
		}
		var items []string
		for i := from; i < min(from+2, total); i++ {
			items = append(items, fmt.Sprintf(`{"metadata": {"name": "n%d\u001b[2J\u202e"}}`, i))
		}
		next := ""
		if from+2 < total {
			next = fmt.Sprintf("after-%d", from+2)
		}
		answer(w, 200, fmt.Sprintf(`{"metadata": {"continue": %q}, "items": [%s]}`, next, strings.Join(items, ",")))
	})
}

func TestPages(t *testing.T) {
	for name, test := range map[string]struct {
		expire func() func(int) bool
		want   int // items; -1: an error
	}{
		"none expires": {func() func(int) bool { return func(int) bool { return false } }, 7},
		"one expires": {func() func(int) bool {
			gone := false
			return func(from int) bool {
				if from == 4 && !gone {
					gone = true
					return true
				}
				return false
			}
		}, 7},
		"all expire": {func() func(int) bool { return func(int) bool { return true } }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			a := withLists(t)
			pages(a, 7, test.expire())
			facts, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedWorkloads})
			if why, failed := missing[harden.NeedWorkloads]; failed || test.want < 0 {
				if test.want >= 0 || !strings.Contains(why.String(), "listing namespaces") {
					t.Errorf("missing: %q", why)
				}
				return
			}
			if len(facts.Namespaces) != test.want {
				t.Fatalf("%d namespaces: %v", len(facts.Namespaces), facts.Namespaces)
			}
			for i, n := range facts.Namespaces {
				if want := fmt.Sprintf("n%d\x1b[2J\u202e", i); n.Name != want {
					t.Errorf("namespace %d: %q, want %q, untouched", i, n.Name, want)
				}
			}
		})
	}
}

func TestListThatDoesNotEnd(t *testing.T) {
	a := withLists(t)
	a.json("/api/v1/namespaces", `{"metadata": {"continue": "again"}, "items": []}`)
	_, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedWorkloads})
	if got := missing[harden.NeedWorkloads].String(); !strings.Contains(got, "does not end") {
		t.Errorf("got %q", got)
	}
}

func BenchmarkFacts(b *testing.B) {

	a := withLists(b)
	var pods []string
	for i := range 110 {
		pods = append(pods, fmt.Sprintf(`{"metadata": {"namespace": "shop", "name": "web-%d", "labels": {"app": "web"}, "managedFields": [%s]},
			"spec": {"containers": [{"image": "web", "env": [%s], "ports": [{"containerPort": 8080}]}]}, "status": {"phase": "Running"}}`, i,
			strings.TrimSuffix(strings.Repeat(`{"manager": "kubelet", "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}}}}}},`, 20), ","),
			strings.TrimSuffix(strings.Repeat(`{"name": "A", "value": "some value"},`, 60), ",")))
	}
	a.json("/api/v1/pods", `{"items": [`+strings.Join(pods, ",")+`]}`)
	c, err := Connect(Options{Kubeconfig: a.kubeconfig(b, nil), Timeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, missing := c.Facts(b.Context(), allNeeds); len(missing) != 0 {
			b.Fatal(missing)
		}
	}
}

// TestFactsComeOverTheConnectionOfTheCheck: making another one costs both sides more than most of the lists.
func TestFactsComeOverTheConnectionOfTheCheck(t *testing.T) {
	a := withLists(t)
	a.json(rootCA, `{"data": {}}`)
	a.json("/api/v1/nodes/cp1", nodeJSON("0123456789abcdef0123456789abcdef"))
	var mu sync.Mutex
	from := map[string]bool{}
	a.handle("/version", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		from[r.RemoteAddr] = true
		answer(w, http.StatusOK, `{"gitVersion": "v1.36.1"}`)
	})
	c := a.client(t)
	if err := c.CheckIdentity(t.Context(), harden.Identity{Node: "cp1", MachineID: "0123456789abcdef0123456789abcdef", CADigest: a.digest}); err != nil {
		t.Fatal(err)
	}
	if _, missing := c.Facts(t.Context(), []harden.Need{harden.NeedNodes}); len(missing) > 0 {
		t.Fatal(missing)
	}
	if len(from) != 1 {
		t.Errorf("the version was asked for over %d connections", len(from))
	}
}

// A cluster may have no kube-proxy; a ConfigMap that may not be read, or is none of kube-proxy's, is not known.
func TestKubeProxysConfiguration(t *testing.T) {
	ask := func(a *apiServer) (*harden.KubeProxyFact, string) {
		facts, missing := a.client(t).Facts(t.Context(), []harden.Need{harden.NeedKubeProxy})
		return facts.KubeProxy, missing[harden.NeedKubeProxy].String()
	}
	if k, why := ask(newAPI(t, pkiOptions{})); k != nil || why != "" {
		t.Errorf("without one: %+v, %s", k, why)
	}
	for body, says := range map[string]string{
		`{"data": {"kubeconfig.conf": ""}}`: `config.conf of kube-proxy is "" of ""`,
		`{"data": {"config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeletConfiguration\n"}}`: `config.conf of kube-proxy is "KubeletConfiguration"`,
		`{"data": {"config.conf": "kind: [\n"}}`:                           "config.conf of kube-proxy: ",
		`{"data": {"config.conf": "kind: KubeProxyConfiguration\n"}}`:      `config.conf of kube-proxy is "KubeProxyConfiguration" of ""`,
		`{"data": {"config.conf": "metricsBindAddress: 0.0.0.0:10249\n"}}`: `config.conf of kube-proxy is "" of ""`,
	} {
		a := newAPI(t, pkiOptions{})
		a.json(kubeProxy, body)
		if k, why := ask(a); k != nil || !strings.Contains(why, says) || !strings.Contains(why, "ConfigMap kube-system/kube-proxy") {
			t.Errorf("%s: %+v, %s", body, k, why)
		}
	}
	a := newAPI(t, pkiOptions{})
	a.fails(kubeProxy, 403, "Forbidden", "no")
	if k, why := ask(a); k != nil || !strings.Contains(why, "may not read this: reading kube-proxy's configuration: ") {
		t.Errorf("forbidden: %+v, %s", k, why)
	}
}
