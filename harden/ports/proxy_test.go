package ports_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/ports"
)

const (
	proxyHealth  = "tcp [::]:10256 kube-proxy"
	proxyMetrics = "tcp 127.0.0.1:10249 kube-proxy"
	proxyOpen    = "tcp [::]:10249 kube-proxy"
)

// runs lets kube-proxy run with arguments, in a container as kubeadm's does.
func runs(args ...string) func(*harden.Facts) {
	return func(f *harden.Facts) {
		f.KubeProxies = append(f.KubeProxies, harden.ProcessFact{PID: 4711, Container: "c", Args: append([]string{"/usr/local/bin/kube-proxy"}, args...)})
	}
}

// asKubeadm is how kubeadm's DaemonSet starts it.
var asKubeadm = runs("--config=/var/lib/kube-proxy/config.conf", "--hostname-override=cp1")

// configured gives the cluster kubeadm's configuration of kube-proxy, edited; old and new come in turns.
func configured(t *testing.T, edits ...string) func(*harden.Facts) {
	return func(f *harden.Facts) {
		delete(f.Missing, harden.NeedKubeProxy)
		f.Cluster = &harden.ClusterFacts{KubeProxy: hardentest.KubeProxy(t, func(s string) string {
			for i := 0; i < len(edits); i += 2 {
				if !strings.Contains(s, edits[i]) {
					t.Fatalf("no %q", edits[i])
				}
				s = strings.ReplaceAll(s, edits[i], edits[i+1])
			}
			return s
		})}
	}
}

// metricsAt sets where the ConfigMap has the metrics.
func metricsAt(t *testing.T, address string) func(*harden.Facts) {
	return configured(t, `metricsBindAddress: ""`, `metricsBindAddress: "`+address+`"`)
}

func pod(owner, node string) func(*harden.Facts) {
	return func(f *harden.Facts) {
		f.Cluster.Pods = append(f.Cluster.Pods, harden.PodFact{Namespace: "kube-system", Name: "kube-proxy-x", Owner: owner, Node: node})
	}
}

// The verdict goes by what listens and by what kube-proxy is told, and names both, and where they disagree.
func TestKubeProxysMetricsAreJudgedByWhatItIsTold(t *testing.T) {
	const (
		source  = "ConfigMap kube-system/kube-proxy"
		restart = "kubectl -n kube-system rollout restart daemonset kube-proxy"
	)
	for _, tt := range []struct {
		name      string
		listeners []string
		facts     []func(*harden.Facts)
		want      harden.Status
		message   string
		evidence  []string // "source: value", each in the finding's
		not       string   // in no evidence
		hints     int
	}{
		{
			"as kubeadm has it", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){asKubeadm, configured(t)}, harden.StatusPass, "1 ports answer this node only",
			[]string{
				"tcp 127.0.0.1:10249: process 4711 (kube-proxy)", "process 4711 (kube-proxy): --config=/var/lib/kube-proxy/config.conf",
				source + ": metricsBindAddress is not set; its default is 127.0.0.1:10249",
			}, "has not read", 0,
		},
		{
			"open, and told so", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0:10249")}, harden.StatusFail,
			`others can reach tcp [::]:10249 (kube-proxy); set metricsBindAddress: "127.0.0.1:10249" in ConfigMap kube-system/kube-proxy, then restart its pods`,
			[]string{source + ": metricsBindAddress: 0.0.0.0:10249"}, "has not read", 2,
		},
		{
			"open, and told so without a port", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0")}, harden.StatusFail,
			"others can reach", []string{source + ": metricsBindAddress: 0.0.0.0"}, "has not read", 2,
		},
		{
			"closed in the ConfigMap, and not restarted", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "127.0.0.1:10249")}, harden.StatusFail,
			"which ConfigMap kube-system/kube-proxy binds to 127.0.0.1:10249: restart kube-proxy's pods",
			[]string{source + ": metricsBindAddress: 127.0.0.1:10249, where process 4711 listens on tcp [::]:10249: it has not read that"}, "", 1,
		},
		{
			"opened in the ConfigMap, and not restarted", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0:10249")}, harden.StatusFail,
			"others reach kube-proxy's metrics once it starts next, as it is told to serve them at 0.0.0.0:10249",
			[]string{"tcp 127.0.0.1:10249: process 4711 (kube-proxy)", source + ": metricsBindAddress: 0.0.0.0:10249, where process 4711 listens on tcp 127.0.0.1:10249: it has not read that"}, "", 2,
		},
		{
			"opened in the ConfigMap, and it serves none yet", []string{proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "192.0.2.11:10249")}, harden.StatusFail,
			"once it starts next", []string{source + ": metricsBindAddress: 192.0.2.11:10249"}, "has not read", 2,
		},
		{
			"opened in the ConfigMap, and its pod does not run yet", []string{"tcp 127.0.0.1:10248 kubelet"}, []func(*harden.Facts){metricsAt(t, "0.0.0.0:10249"), pod("DaemonSet/kube-proxy", "cp1")},
			harden.StatusFail, "once it starts next", []string{source + ": metricsBindAddress: 0.0.0.0:10249"}, "", 2,
		},
		{
			"left behind by who replaced it", []string{"tcp 127.0.0.1:10248 kubelet"}, []func(*harden.Facts){metricsAt(t, "0.0.0.0:10249"), pod("DaemonSet/kube-proxy", "cp2"), pod("DaemonSet/cilium", "cp1")},
			harden.StatusPass, "1 ports", nil, source, 0,
		},
		{
			"of a cluster in containers", []string{"tcp 127.0.0.1:10248 kubelet"}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0:10249")}, harden.StatusPass, "1 ports", nil, source, 0,
		},
		{
			"beside one of a cluster in containers", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){runs("--metrics-bind-address=0.0.0.0"), func(f *harden.Facts) { f.KubeProxies[0].PID = 99 }, asKubeadm, configured(t)},
			harden.StatusPass, "1 ports", []string{source + ": metricsBindAddress is not set; its default is 127.0.0.1:10249"}, "process 99", 0,
		},
		{
			"at another port, for others", []string{"tcp [::]:10300 kube-proxy", proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0:10300")}, harden.StatusFail,
			`set metricsBindAddress: "127.0.0.1:10300"`, nil, "has not read", 2,
		},
		{
			"both at other ports", []string{"tcp 127.0.0.1:10300 kube-proxy", "tcp [::]:10301 kube-proxy"},
			[]func(*harden.Facts){asKubeadm, configured(t, `metricsBindAddress: ""`, "metricsBindAddress: 127.0.0.1:10300", `healthzBindAddress: ""`, "healthzBindAddress: 0.0.0.0:10301")},
			harden.StatusPass, "1 ports", []string{"tcp 127.0.0.1:10300: process 4711 (kube-proxy)"}, "10301", 0,
		},
		{
			"metrics among the node ports", []string{"tcp [::]:30249 kube-proxy", proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "0.0.0.0:30249")}, harden.StatusFail,
			"others can reach tcp [::]:30249", nil, "", 2,
		},
		{
			"health where metrics usually are", []string{"tcp [::]:10249 kube-proxy", "tcp 127.0.0.1:10256 kube-proxy"},
			[]func(*harden.Facts){asKubeadm, configured(t, `metricsBindAddress: ""`, "metricsBindAddress: 127.0.0.1:10256", `healthzBindAddress: ""`, "healthzBindAddress: 0.0.0.0:10249")},
			harden.StatusPass, "1 ports", []string{"tcp 127.0.0.1:10256: process 4711 (kube-proxy)"}, "10249: process", 0,
		},
		{
			"by IPv6", []string{"tcp [::1]:10249 kube-proxy", proxyHealth}, []func(*harden.Facts){asKubeadm, configured(t, "bindAddress: 0.0.0.0", "bindAddress: '::'")}, harden.StatusPass,
			"1 ports", []string{source + ": metricsBindAddress is not set; its default is [::1]:10249"}, "has not read", 0,
		},
		{
			"for others by IPv6", []string{proxyOpen, proxyHealth},
			[]func(*harden.Facts){asKubeadm, configured(t, "bindAddress: 0.0.0.0", "bindAddress: '::'", `metricsBindAddress: ""`, "metricsBindAddress: '[::]:10249'")}, harden.StatusFail,
			`set metricsBindAddress: "[::1]:10249"`, nil, "has not read", 2,
		},
		{
			"what is no address", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){asKubeadm, metricsAt(t, "localhost:10249")}, harden.StatusPass,
			"1 ports", []string{source + ": metricsBindAddress: localhost:10249, which is no address: kube-proxy does not start with it"}, "", 0,
		},
		{
			"no ConfigMap", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){asKubeadm, configured(t), func(f *harden.Facts) { f.Cluster.KubeProxy = nil }}, harden.StatusFail,
			"set metricsBindAddress", []string{source + ": there is none"}, "", 0,
		},
		{
			"a ConfigMap that may not be read", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){asKubeadm, configured(t), func(f *harden.Facts) {
				f.Cluster.KubeProxy = nil
				f.Missing[harden.NeedKubeProxy] = harden.Msg("forbidden")
			}}, harden.StatusPass, "1 ports", []string{source + ": not read: forbidden"}, "there is none", 0,
		},
		{"without the cluster, by what listens", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){asKubeadm}, harden.StatusPass, "1 ports", nil, source, 0},
		{"without the cluster, open", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){asKubeadm}, harden.StatusFail, "set metricsBindAddress", nil, source, 0},

		{
			"flags, as they are by themselves", []string{proxyMetrics, proxyHealth}, []func(*harden.Facts){runs("--v=2"), metricsAt(t, "0.0.0.0:10249")}, harden.StatusPass,
			"1 ports", []string{"process 4711 (kube-proxy): --metrics-bind-address is not set; its default is 127.0.0.1:10249"}, source, 0,
		},
		{
			"flags that open it", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){runs("--metrics-bind-address=0.0.0.0"), configured(t)}, harden.StatusFail,
			"set --metrics-bind-address=127.0.0.1:10249 in the DaemonSet of kube-proxy", []string{"process 4711 (kube-proxy): --metrics-bind-address=0.0.0.0"}, source, 0,
		},
		{
			"flags that open another port", []string{"tcp [::]:10300 kube-proxy", "tcp [::]:10301 kube-proxy"},
			[]func(*harden.Facts){runs("--metrics-bind-address", "0.0.0.0:10300", "--healthz-bind-address=0.0.0.0:10301")}, harden.StatusFail,
			"others can reach tcp [::]:10300 (kube-proxy); set --metrics-bind-address=127.0.0.1:10300", nil, "10301", 0,
		},
		{
			"flags of the old kind", []string{"tcp [::]:10300 kube-proxy", "tcp [::]:10301 kube-proxy"},
			[]func(*harden.Facts){runs("--metrics-bind-address=0.0.0.0", "--metrics-port=10300", "--healthz-bind-address=0.0.0.0:10301")}, harden.StatusFail,
			"others can reach tcp [::]:10300 (kube-proxy); set --metrics-bind-address=127.0.0.1:10300", nil, "healthz", 0,
		},
		{
			"flags that serve none", []string{proxyHealth, "tcp 127.0.0.1:10248 kubelet"}, []func(*harden.Facts){runs("--metrics-bind-address=0.0.0.0", "--metrics-port=0")}, harden.StatusPass,
			"1 ports", []string{"process 4711 (kube-proxy): --metrics-port=0"}, "", 0,
		},
		{
			"a flag that counts for nothing", []string{proxyOpen, proxyHealth},
			[]func(*harden.Facts){runs("--config=/var/lib/kube-proxy/config.conf", "--metrics-bind-address=127.0.0.1:10249"), metricsAt(t, "0.0.0.0:10249")}, harden.StatusFail,
			"set metricsBindAddress", []string{"process 4711 (kube-proxy): --metrics-bind-address=127.0.0.1:10249, which counts for nothing beside --config"}, "", 2,
		},
		{
			"a file of another's", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){runs("--config=/etc/kube-proxy.yaml"), metricsAt(t, "127.0.0.1:10249")}, harden.StatusFail,
			`set metricsBindAddress: "127.0.0.1:10249" in /etc/kube-proxy.yaml of kube-proxy`, []string{"process 4711 (kube-proxy): --config=/etc/kube-proxy.yaml"}, source, 0,
		},
		{
			"a service of the host", []string{proxyOpen, proxyHealth}, []func(*harden.Facts){runs("--metrics-bind-address=[::]:10249"), func(f *harden.Facts) { f.KubeProxies[0].Container = "" }}, harden.StatusFail,
			"set --metrics-bind-address=127.0.0.1:10249 where kube-proxy's service has its flags", nil, "", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := facts(t, "1.37", tt.listeners...)
			for _, change := range tt.facts {
				change(f)
			}
			got := finding(t, f, "ports-loopback")
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
			var seen []string
			for _, e := range got.Evidence {
				seen = append(seen, e.Source+": "+e.Value)
			}
			for _, want := range tt.evidence {
				if !slices.Contains(seen, want) {
					t.Errorf("no evidence %q", want)
				}
			}
			if tt.not != "" && strings.Contains(strings.Join(seen, "\n"), tt.not) {
				t.Errorf("evidence of %q", tt.not)
			}
			if len(got.Hints) != tt.hints || tt.hints > 0 && got.Hints[tt.hints-1] != restart {
				t.Errorf("hints %q", got.Hints)
			}
			if t.Failed() {
				t.Logf("evidence\n%s", strings.Join(seen, "\n"))
			}
		})
	}
}

// Load balancers ask kube-proxy for its health: nothing is to bind that to the node.
func TestKubeProxysHealthIsNotAskedToBeLocal(t *testing.T) {
	f := facts(t, "1.37", proxyMetrics, proxyHealth)
	asKubeadm(f)
	configured(t, `healthzBindAddress: ""`, "healthzBindAddress: 0.0.0.0:10256")(f)
	for _, found := range harden.Assess(f, []harden.Area{ports.Area()}) {
		if found.Control == "ports-loopback" && found.Status != harden.StatusPass || strings.Contains(found.Message.String(), "healthzBindAddress") {
			t.Errorf("%s: %s: %s", found.Control, found.Status, found.Message)
		}
	}
}

// The command that is proposed changes one line of what kubeadm has uploaded, and makes a configuration that is right.
func TestTheProposedCommandBindsTheMetrics(t *testing.T) {
	if _, err := exec.LookPath("sed"); err != nil {
		t.Skip("no sed")
	}
	before, err := os.ReadFile(filepath.Join(filepath.Dir(hardentest.Root(t, "1.37")), "cluster", "kube-proxy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opened := strings.Replace(string(before), `metricsBindAddress: ""`, "metricsBindAddress: '[::]:10249'", 1)
	f := facts(t, "1.37", proxyOpen, proxyHealth)
	asKubeadm(f)
	configured(t, "bindAddress: 0.0.0.0", "bindAddress: '::'", `metricsBindAddress: ""`, "metricsBindAddress: '[::]:10249'")(f)
	got := finding(t, f, "ports-loopback")
	if len(got.Hints) != 2 {
		t.Fatalf("hints %q", got.Hints)
	}
	command, ok := strings.CutPrefix(got.Hints[0], "kubectl -n kube-system get configmap kube-proxy -o yaml | ")
	command, replaces := strings.CutSuffix(command, " | kubectl replace -f -")
	if !ok || !replaces {
		t.Fatal(got.Hints[0])
	}
	sed := exec.Command("sh", "-c", command)
	sed.Stdin = strings.NewReader(opened)
	after, err := sed.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(before), `metricsBindAddress: ""`, `metricsBindAddress: "[::1]:10249"`, 1); string(after) != want {
		t.Errorf("%s\nmakes\n%s", command, after)
	}
	k, err := harden.ParseKubeProxy(hardentest.DataOf(t, after, harden.KubeProxyKey))
	if err != nil || k.MetricsBindAddress != "[::1]:10249" {
		t.Errorf("%+v, %v", k, err)
	}
}
