package ports_test

import (
	"net/netip"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/ports"
)

func TestAreaIsWellFormed(t *testing.T) { hardentest.CheckArea(t, ports.Area()) }

// listen makes a listener of "tcp 0.0.0.0:10250 kubelet"; without a program it is the kernel's.
func listen(t *testing.T, text string) harden.ListenerFact {
	t.Helper()
	fields := strings.Fields(text)
	at, err := netip.ParseAddrPort(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	l := harden.ListenerFact{Protocol: fields[0], Address: at.Addr(), Port: int(at.Port())}
	if len(fields) > 2 {
		l.PID, l.Process = 4711, fields[2]
	}
	return l
}

// kubeadm is what listens on a control-plane node as kubeadm sets it up (seen in the lab, and by the documentation).
var kubeadm = []string{
	"tcp 0.0.0.0:22 sshd", "tcp 127.0.0.1:2379 etcd", "tcp 192.0.2.11:2379 etcd", "tcp 192.0.2.11:2380 etcd", "tcp 127.0.0.1:2381 etcd",
	"tcp [::]:6443 kube-apiserver", "tcp 127.0.0.1:10248 kubelet", "tcp 127.0.0.1:10249 kube-proxy", "tcp [::]:10250 kubelet", "tcp [::]:10256 kube-proxy",
	"tcp 127.0.0.1:10257 kube-controller-manager", "tcp 127.0.0.1:10259 kube-scheduler", "tcp 127.0.0.1:34567 containerd", "udp 0.0.0.0:8472",
}

func facts(t *testing.T, minor string, listeners ...string) *harden.Facts {
	t.Helper()
	f := hardentest.Fixture(t, minor).Facts(t)
	delete(f.Missing, harden.NeedListeners)
	for _, l := range listeners {
		f.Listeners = append(f.Listeners, listen(t, l))
	}
	f.Firewall = &harden.FirewallFact{}
	return f
}

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{ports.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

// What kubeadm sets up is bound as it should be; who may reach the rest is for a person to say.
func TestNodesAsKubeadmSetsThemUp(t *testing.T) {
	want := map[string]harden.Status{
		"ports-api-server": harden.StatusManual, "ports-kubelet": harden.StatusManual, "ports-kube-proxy-health": harden.StatusManual,
		"ports-firewall": harden.StatusManual, "ports-host-ports": harden.StatusUnknown,
	}
	for _, minor := range hardentest.Minors {
		for _, got := range harden.Assess(facts(t, minor, kubeadm...), []harden.Area{ports.Area()}) {
			expected := harden.StatusPass
			if s, ok := want[got.Control]; ok {
				expected = s
			}
			if got.Status != expected || got.Status != harden.StatusUnknown && len(got.Evidence) == 0 {
				t.Errorf("%s %s: %s: %s %v", minor, got.Control, got.Status, got.Message, got.Evidence)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	drop := harden.HookFact{Family: "inet", Table: "filter", Chain: "input", Drops: true}
	accept := harden.HookFact{Family: "ip", Table: "filter", Chain: "INPUT"}
	tests := []struct {
		name, control string
		listeners     []string
		change        func(*harden.Facts)
		want          harden.Status
		message       string
	}{
		{"served by the kubelet", "ports-kubelet-read-only", []string{"tcp [::]:10255 kubelet"}, nil, harden.StatusFail, "readOnlyPort"},
		{"served by another", "ports-kubelet-read-only", []string{"tcp [::]:10255 nc"}, nil, harden.StatusManual, "(nc)"},
		{"UDP is another port", "ports-kubelet-read-only", []string{"udp [::]:10255 nc"}, nil, harden.StatusPass, "nothing"},
		{"cAdvisor for all", "ports-cadvisor", []string{"tcp 0.0.0.0:4194 cadvisor"}, nil, harden.StatusFail, "cadvisor"},
		{"cAdvisor for the node", "ports-cadvisor", []string{"tcp 127.0.0.1:4194 cadvisor"}, nil, harden.StatusPass, "this node only"},
		{"scheduler for all", "ports-loopback", []string{"tcp [::]:10259 kube-scheduler"}, nil, harden.StatusFail, "--bind-address=127.0.0.1 in kube-scheduler.yaml"},
		{"etcd's metrics for all", "ports-loopback", []string{"tcp 192.0.2.11:2381 etcd"}, nil, harden.StatusFail, "listen-metrics-urls"},
		{"kube-proxy's metrics for all", "ports-loopback", []string{"tcp 0.0.0.0:10249 kube-proxy"}, nil, harden.StatusFail, "metricsBindAddress"},
		{"felix for all", "ports-loopback", []string{"tcp [::]:9099 calico-node"}, nil, harden.StatusFail, "FELIX_HEALTHHOST"},
		{"felix for the node, by IPv6", "ports-loopback", []string{"tcp [::1]:9099 calico-node"}, nil, harden.StatusPass, "1 ports"},
		{"another program there", "ports-loopback", []string{"tcp [::]:9099 java"}, nil, harden.StatusNotApplicable, "none of these"},
		{"etcd on all addresses", "ports-etcd", []string{"tcp [::]:2379 etcd"}, nil, harden.StatusFail, "all addresses"},
		{"etcd's peers on all addresses", "ports-etcd", []string{"tcp 127.0.0.1:2379 etcd", "tcp 0.0.0.0:2380 etcd"}, nil, harden.StatusFail, "all addresses"},
		{"no etcd", "ports-etcd", nil, nil, harden.StatusNotApplicable, "does not listen"},
		{"API server at another port", "ports-api-server", []string{"tcp [::]:443 kube-apiserver"}, func(f *harden.Facts) {
			c := f.Components[harden.APIServer]
			c.Args = append(c.Args, "--secure-port=443")
		}, harden.StatusManual, "443"},
		{"kubelet for the node", "ports-kubelet", []string{"tcp 127.0.0.1:10250 kubelet"}, nil, harden.StatusPass, "this node only"},
		{"kubelet behind firewalld", "ports-kubelet", []string{"tcp [::]:10250 kubelet"}, func(f *harden.Facts) { f.Firewall.Managers = []string{"firewalld"} }, harden.StatusManual, "see that firewalld lets"},
		{"kubelet behind Cilium", "ports-kubelet", []string{"tcp [::]:10250 kubelet"}, func(f *harden.Facts) { f.Firewall.EBPF = []string{"Cilium"} }, harden.StatusManual, "host policy of Cilium"},
		{"no kube-proxy", "ports-kube-proxy-health", nil, nil, harden.StatusNotApplicable, ""},

		{"nothing filters", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Hooks = []harden.HookFact{accept} }, harden.StatusManual, "nothing on this host filters"},
		{"a chain drops", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Hooks = []harden.HookFact{accept, drop} }, harden.StatusPass, "chain input of table inet filter"},
		{"two managers", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Managers = []string{"firewalld", "ufw"} }, harden.StatusFail, "firewalld and ufw"},
		{"a manager that accepts", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Managers = []string{"ufw"} }, harden.StatusManual, "ufw manages"},
		{"the older iptables", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Legacy = []string{"filter", "nat"} }, harden.StatusManual, "iptables-legacy"},
		{"an eBPF datapath", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.EBPF = []string{"Calico"} }, harden.StatusManual, "HostEndpoint"},
		{"chains that could not be listed", "ports-firewall", nil, func(f *harden.Facts) { f.Firewall.Unread = harden.Msg("operation not permitted") }, harden.StatusManual, "not permitted"},

		{"rpcbind", "ports-unexpected", []string{"tcp 0.0.0.0:111 rpcbind"}, nil, harden.StatusManual, "tcp 0.0.0.0:111 (rpcbind)"},
		{"rpcbind for the node", "ports-unexpected", []string{"tcp 127.0.0.1:111 rpcbind"}, nil, harden.StatusPass, "0 ports"},
		{"a port of the kernel's", "ports-unexpected", []string{"tcp 0.0.0.0:2049"}, nil, harden.StatusManual, "the kernel"},
		{"a tunnel", "ports-unexpected", []string{"udp 0.0.0.0:4789"}, nil, harden.StatusPass, "1 ports"},

		{"no etcd, no plain HTTP", "ports-tls", nil, func(f *harden.Facts) { delete(f.Components, harden.Etcd) }, harden.StatusNotApplicable, ""},
		{"plain HTTP for clients", "ports-tls", nil, func(f *harden.Facts) {
			c := f.Components[harden.Etcd]
			c.Args = append(c.Args, "--listen-client-urls=http://192.0.2.11:2379")
		}, harden.StatusFail, "listen-client-urls"},
		{"plain metrics outside", "ports-tls", nil, func(f *harden.Facts) {
			c := f.Components[harden.Etcd]
			c.Args = append(c.Args, "--listen-metrics-urls=http://0.0.0.0:2381")
		}, harden.StatusFail, "listen-metrics-urls"},
	}
	for _, tt := range tests {
		t.Run(tt.control+" "+tt.name, func(t *testing.T) {
			f := facts(t, "1.37", tt.listeners...)
			if tt.change != nil {
				tt.change(f)
			}
			got := finding(t, f, tt.control)
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.message) {
				t.Errorf("%s: %s\n%v", got.Status, got.Message, got.Evidence)
			}
		})
	}
}

func TestPrivilegedHostPorts(t *testing.T) {
	pod := func(namespace, node string, port int32) harden.PodFact {
		return harden.PodFact{Namespace: namespace, Name: "p", Node: node, Ports: []harden.PortFact{{Port: 80, HostPort: port}}}
	}
	for name, tt := range map[string]struct {
		pod  harden.PodFact
		want harden.Status
	}{
		"of a user":        {pod("shop", "cp1", 80), harden.StatusManual},
		"not privileged":   {pod("shop", "cp1", 8080), harden.StatusPass},
		"none":             {pod("shop", "cp1", 0), harden.StatusPass},
		"on another node":  {pod("shop", "cp2", 80), harden.StatusPass},
		"of the cluster's": {pod("kube-system", "cp1", 53), harden.StatusPass},
	} {
		f := facts(t, "1.37")
		delete(f.Missing, harden.NeedWorkloads)
		f.Cluster = &harden.ClusterFacts{Pods: []harden.PodFact{tt.pod}}
		if got := finding(t, f, "ports-host-ports"); got.Status != tt.want {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
}

func TestOfflineListenersAreUnknown(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	if got := finding(t, f, "ports-kubelet"); got.Status != harden.StatusUnknown {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}
