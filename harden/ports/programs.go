package ports

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// A program may be set to listen elsewhere than at its usual port. So its sockets are told apart by the program that has
// them, and ports decide only between those of one program.

// of are the TCP sockets of a program.
func of(f *harden.Facts, program string) []harden.ListenerFact {
	return some(f, func(l harden.ListenerFact) bool { return l.Protocol == "tcp" && l.Process == program })
}

// at are those of them at some ports, and but those at all others.
func at(ls []harden.ListenerFact, ports []int) []harden.ListenerFact {
	return slices.DeleteFunc(slices.Clone(ls), func(l harden.ListenerFact) bool { return !slices.Contains(ports, l.Port) })
}

func but(ls []harden.ListenerFact, ports []int) []harden.ListenerFact {
	return slices.DeleteFunc(slices.Clone(ls), func(l harden.ListenerFact) bool { return slices.Contains(ports, l.Port) })
}

func whole(program string) func(*harden.Facts) []harden.ListenerFact {
	return func(f *harden.Facts) []harden.ListenerFact { return of(f, program) }
}

func usual(program string, port int) func(*harden.Facts) []harden.ListenerFact {
	return func(f *harden.Facts) []harden.ListenerFact { return at(of(f, program), []int{port}) }
}

// kubeletPorts are a usual port of the kubelet's and the one that its configuration has instead.
func kubeletPorts(f *harden.Facts, field string, usual int) []int {
	out := []int{usual}
	if f.Kubelet != nil {
		if n, err := strconv.Atoi(fmt.Sprint(f.Kubelet.Field(field).Value)); err == nil && n > 0 && n != usual {
			out = append(out, n)
		}
	}
	return out
}

func kubeletHealth(f *harden.Facts) []harden.ListenerFact {
	return at(of(f, "kubelet"), kubeletPorts(f, "healthzPort", 10248))
}

// kubeletServes is what remains of the kubelet's sockets: where it runs commands in containers.
func kubeletServes(f *harden.Facts) []harden.ListenerFact {
	return but(of(f, "kubelet"), slices.Concat(kubeletPorts(f, "healthzPort", 10248), kubeletPorts(f, "readOnlyPort", 10255)))
}

// etcdMetrics are etcd's sockets for metrics alone; what answers others there is not its data.
func etcdMetrics(f *harden.Facts) []harden.ListenerFact {
	return at(of(f, "etcd"), etcdMetricsPorts(f))
}

// etcdServes are those that lead to what the cluster knows.
func etcdServes(f *harden.Facts) []harden.ListenerFact {
	return but(of(f, "etcd"), etcdMetricsPorts(f))
}

func etcdMetricsPorts(f *harden.Facts) []int {
	out := []int{2381}
	for _, u := range f.EtcdSetting("listen-metrics-urls").List() {
		if n, ok := portOf(u); ok {
			out = append(out, n)
		}
	}
	return slices.DeleteFunc(out, func(n int) bool {
		return slices.ContainsFunc([]string{"listen-client-urls", "listen-peer-urls", "listen-client-http-urls"}, func(name string) bool {
			return slices.ContainsFunc(f.EtcdSetting(name).List(), func(u string) bool { p, ok := portOf(u); return ok && p == n })
		})
	})
}

func portOf(text string) (int, bool) {
	u, err := url.Parse(text)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(u.Port())
	return n, err == nil
}

const (
	proxyMetricsPort = 10249
	proxyHealthPort  = 10256
)

// proxySockets tells those of kube-proxy's apart: it has one port for metrics and one for its own health, and for Services whose
// traffic stays on the node one each in the range of node ports, for load balancers. Where one of the two is at its usual port or at the
// one that it is told, the other one is what remains; where none is, they cannot be told apart.
func proxySockets(f *harden.Facts) (metrics, health, either []harden.ListenerFact) {
	low, high := nodePorts(f)
	p := proxyOf(f)
	forMetrics, forHealth := proxyPorts(proxyMetricsPort, p.metrics, p.health), proxyPorts(proxyHealthPort, p.health, p.metrics)
	all := slices.DeleteFunc(of(f, harden.KubeProxyProgram), func(l harden.ListenerFact) bool {
		return l.Port >= low && l.Port <= high && l.Port != int(p.metrics.Port()) && l.Port != int(p.health.Port())
	})
	metrics, health = at(all, forMetrics), at(all, forHealth)
	rest := but(all, slices.Concat(forMetrics, forHealth))
	switch {
	case len(metrics) == 0 && len(health) > 0:
		return rest, health, nil
	case len(metrics) > 0 && len(health) == 0:
		return metrics, rest, nil
	}
	return metrics, health, rest
}

// proxyPorts are the usual port of one of the two and the one that kube-proxy is told for it, but that of the other one.
func proxyPorts(usual int, told, other netip.AddrPort) []int {
	return slices.DeleteFunc([]int{usual, int(told.Port())}, func(port int) bool { return port == 0 || port == int(other.Port()) })
}

func proxyMetrics(f *harden.Facts) []harden.ListenerFact {
	metrics, _, _ := proxySockets(f)
	return metrics
}

func proxyHealth(f *harden.Facts) []harden.ListenerFact {
	_, health, _ := proxySockets(f)
	return health
}

// nodePorts is the range that Services have their node ports from; a worker does not know another one than the usual.
func nodePorts(f *harden.Facts) (low, high int) {
	low, high = 30000, 32767
	c := f.Component(harden.APIServer)
	if c == nil {
		return low, high
	}
	first, last, ok := strings.Cut(c.Flag("service-node-port-range").Last(), "-")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if ok && errA == nil && errB == nil {
		return a, b
	}
	return low, high
}
