package ports_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

type row struct {
	name, control string
	listeners     []string
	change        func(*harden.Facts)
	want          harden.Status
	message       string
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.control+" "+r.name, func(t *testing.T) {
			f := facts(t, "1.37", r.listeners...)
			if r.change != nil {
				r.change(f)
			}
			got := finding(t, f, r.control)
			if got.Status != r.want || !strings.Contains(got.Message.String(), r.message) {
				t.Errorf("%s: %s\n%v", got.Status, got.Message, got.Evidence)
			}
		})
	}
}

func hooks(list ...string) func(*harden.Facts) {
	return func(f *harden.Facts) {
		for _, family := range list {
			f.Firewall.Hooks = append(f.Firewall.Hooks, harden.HookFact{Family: family, Table: "filter", Chain: "INPUT", Drops: true})
		}
	}
}

// TestADropOfOneFamilyDoesNotGuardTheOther: a chain of IPv6 alone passed with IPv4 wide open.
func TestADropOfOneFamilyDoesNotGuardTheOther(t *testing.T) {
	v4, v6, both := []string{"tcp 192.0.2.11:2379 etcd"}, []string{"tcp [2001:db8::11]:2379 etcd"}, []string{"tcp [::]:10250 kubelet"}
	check(t, []row{
		{"IPv6 dropped, IPv4 listened at", "ports-firewall", v4, hooks("ip6"), harden.StatusManual, "over IPv4 this node listens"},
		{"IPv6 dropped, all of IPv4 listened at", "ports-firewall", []string{"udp 0.0.0.0:8472"}, hooks("ip6"), harden.StatusManual, "over IPv4 this node listens"},
		{"IPv6 dropped, all addresses listened at", "ports-firewall", both, hooks("ip6"), harden.StatusManual, "over IPv4 this node listens"},
		{"IPv4 dropped, IPv6 listened at", "ports-firewall", v6, hooks("ip"), harden.StatusManual, "over IPv6 this node listens"},
		{"IPv4 dropped, all addresses listened at", "ports-firewall", both, hooks("ip"), harden.StatusManual, "over IPv6 this node listens"},
		{"a family that nothing at the input hook knows", "ports-firewall", both, hooks("bridge"), harden.StatusManual, "over IPv4 and IPv6"},
		{"IPv4 dropped, IPv4 listened at", "ports-firewall", v4, hooks("ip"), harden.StatusPass, "chain INPUT of table ip filter"},
		{"IPv6 of the node itself needs none", "ports-firewall", append([]string{"tcp [::1]:10248 kubelet"}, v4...), hooks("ip"), harden.StatusPass, ""},
		{"each dropped", "ports-firewall", both, hooks("ip", "ip6"), harden.StatusPass, "table ip filter and chain INPUT of table ip6"},
		{"both in one", "ports-firewall", both, hooks("inet"), harden.StatusPass, "table inet filter"},
		{"who guards a port", "ports-kubelet", both, hooks("ip6"), harden.StatusManual, "for IPv4 the network in front"},
		{"who guards a port of one family", "ports-kubelet", []string{"tcp 192.0.2.11:10250 kubelet"}, hooks("ip"), harden.StatusManual, "see that chain INPUT of table ip filter lets"},
	})
}

// TestWhatSystemdListensForIsNamed: with a socket of systemd's whatever program lay behind it was expected.
func TestWhatSystemdListensForIsNamed(t *testing.T) {
	check(t, []row{
		{"rpcbind's socket", "ports-unexpected", []string{"tcp 0.0.0.0:111 systemd"}, nil, harden.StatusManual, "tcp 0.0.0.0:111 (systemd)"},
		{"rpcbind's socket of UDP", "ports-unexpected", []string{"udp 0.0.0.0:111 systemd"}, nil, harden.StatusManual, "udp 0.0.0.0:111 (systemd)"},
		{"cockpit's socket", "ports-unexpected", []string{"tcp [::]:9090 systemd"}, nil, harden.StatusManual, "tcp [::]:9090 (systemd)"},
		{"the way in", "ports-unexpected", []string{"tcp [::]:22 systemd"}, nil, harden.StatusPass, "1 ports"},
		{"an SSH server elsewhere", "ports-unexpected", []string{"tcp [::]:2222 sshd"}, nil, harden.StatusPass, "1 ports"},
		{"a socket for the node alone", "ports-unexpected", []string{"tcp 127.0.0.1:9090 systemd"}, nil, harden.StatusPass, "0 ports"},
	})
}

// TestAProgramIsJudgedWhereverItListens: what was set to another port than the usual one was looked at by nobody.
func TestAProgramIsJudgedWhereverItListens(t *testing.T) {
	kubelet := func(field string, port float64) func(*harden.Facts) {
		return func(f *harden.Facts) {
			f.Kubelet.Layers = append(f.Kubelet.Layers, harden.KubeletLayer{Source: "x", Fields: map[string]any{field: port}})
		}
	}
	etcd := func(args ...string) func(*harden.Facts) {
		return func(f *harden.Facts) {
			c := f.Components[harden.Etcd]
			c.Args = append(c.Args, args...)
		}
	}
	const health, metrics = "tcp [::]:10256 kube-proxy", "tcp 127.0.0.1:10249 kube-proxy"
	check(t, []row{
		{"kubelet elsewhere", "ports-kubelet", []string{"tcp [::]:10350 kubelet"}, kubelet("port", 10350), harden.StatusManual, "10350 (kubelet)"},
		{"kubelet elsewhere than it is set to now", "ports-kubelet", []string{"tcp [::]:10250 kubelet"}, kubelet("port", 10350), harden.StatusManual, "10250 (kubelet)"},
		{"kubelet elsewhere, for the node", "ports-kubelet", []string{"tcp 127.0.0.1:10350 kubelet"}, kubelet("port", 10350), harden.StatusPass, "this node only"},
		{"kubelet's health alone", "ports-kubelet", []string{"tcp [::]:10248 kubelet"}, nil, harden.StatusNotApplicable, "no such port"},
		{"kubelet's health elsewhere", "ports-loopback", []string{"tcp [::]:10348 kubelet"}, kubelet("healthzPort", 10348), harden.StatusFail, "healthzBindAddress"},
		{"kubelet's health elsewhere, for the node", "ports-loopback", []string{"tcp 127.0.0.1:10348 kubelet"}, kubelet("healthzPort", 10348), harden.StatusPass, "1 ports"},
		{"the read-only port elsewhere", "ports-kubelet-read-only", []string{"tcp [::]:10355 kubelet"}, kubelet("readOnlyPort", 10355), harden.StatusFail, "readOnlyPort"},
		{"no read-only port", "ports-kubelet-read-only", []string{"tcp [::]:10250 kubelet"}, kubelet("readOnlyPort", 0), harden.StatusPass, "nothing"},
		{"API server elsewhere than it is set to now", "ports-api-server", []string{"tcp [::]:7443 kube-apiserver"}, nil, harden.StatusManual, "7443"},

		{"kube-proxy's metrics elsewhere", "ports-loopback", []string{"tcp 0.0.0.0:10300 kube-proxy", health}, nil, harden.StatusFail, "metricsBindAddress"},
		{"kube-proxy's metrics elsewhere, for the node", "ports-loopback", []string{"tcp 127.0.0.1:10300 kube-proxy", health}, nil, harden.StatusPass, "1 ports"},
		{"kube-proxy's health elsewhere", "ports-loopback", []string{metrics, "tcp [::]:10300 kube-proxy"}, nil, harden.StatusPass, "1 ports"},
		{"kube-proxy's health elsewhere", "ports-kube-proxy-health", []string{metrics, "tcp [::]:10300 kube-proxy"}, nil, harden.StatusManual, "10300"},
		{"one of kube-proxy's two", "ports-loopback", []string{"tcp [::]:10300 kube-proxy"}, nil, harden.StatusManual, "not to be seen"},
		{"one of kube-proxy's two, for the node", "ports-loopback", []string{"tcp 127.0.0.1:10300 kube-proxy"}, nil, harden.StatusNotApplicable, ""},
		{"health of a Service", "ports-loopback", []string{metrics, health, "tcp [::]:31234 kube-proxy"}, nil, harden.StatusPass, "1 ports"},
		{"health of a Service in another range", "ports-loopback", []string{metrics, health, "tcp [::]:20001 kube-proxy"}, func(f *harden.Facts) {
			c := f.Components[harden.APIServer]
			c.Args = append(c.Args, "--service-node-port-range=20000-22767")
		}, harden.StatusPass, "1 ports"},
		{"no Service's in another range", "ports-loopback", []string{metrics, health, "tcp [::]:20001 kube-proxy"}, nil, harden.StatusManual, "20001"},

		{"controller manager elsewhere", "ports-loopback", []string{"tcp [::]:11257 kube-controller-manager"}, nil, harden.StatusFail, "--bind-address=127.0.0.1 in kube-controller-manager.yaml"},
		{"scheduler elsewhere", "ports-loopback", []string{"tcp 0.0.0.0:11259 kube-scheduler"}, nil, harden.StatusFail, "kube-scheduler.yaml"},
		{"scheduler elsewhere, for the node", "ports-loopback", []string{"tcp 127.0.0.1:11259 kube-scheduler"}, nil, harden.StatusPass, "1 ports"},

		{"etcd elsewhere, on all addresses", "ports-etcd", []string{"tcp 0.0.0.0:12379 etcd"}, nil, harden.StatusFail, "all addresses"},
		{"etcd elsewhere, on one address", "ports-etcd", []string{"tcp 192.0.2.11:12379 etcd"}, nil, harden.StatusPass, "was told"},
		{"etcd's metrics are no data", "ports-etcd", []string{"tcp 192.0.2.11:2379 etcd", "tcp [::]:2381 etcd"}, nil, harden.StatusPass, "was told"},
		{"etcd's metrics elsewhere are no data", "ports-etcd", []string{"tcp 192.0.2.11:2379 etcd", "tcp [::]:12381 etcd"}, etcd("--listen-metrics-urls=http://0.0.0.0:12381"), harden.StatusPass, "was told"},
		{"etcd's metrics elsewhere", "ports-loopback", []string{"tcp [::]:12381 etcd"}, etcd("--listen-metrics-urls=http://0.0.0.0:12381"), harden.StatusFail, "listen-metrics-urls"},
		{"metrics that are said to be where the data is", "ports-etcd", []string{"tcp [::]:2381 etcd"}, etcd("--listen-client-urls=https://0.0.0.0:2381"), harden.StatusFail, "all addresses"},
	})
}
