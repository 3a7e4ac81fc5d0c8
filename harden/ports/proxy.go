package ports

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
)

// proxy is where kube-proxy is told to listen on this node. With a configuration file it goes by no flag for that
// (k8s.io/kubernetes: cmd/kube-proxy/app/options.go), and kubeadm's goes by one that lies in a ConfigMap.
type proxy struct {
	// process is the one that listens here; nil where none does.
	process *harden.ProcessFact
	// told is what says it; proxyUntold where that is not known.
	told proxyTold
	// metrics and health are not valid where it is not known, or where nothing is to listen.
	metrics, health netip.AddrPort
	// file is the configuration that is not looked at.
	file string
	// bind is its bindAddress, which says of which family the node is.
	bind string
	seen []harden.Evidence
}

type proxyTold int

const (
	proxyUntold proxyTold = iota
	proxyByFlags
	proxyByConfigMap
)

func proxyOf(f *harden.Facts) proxy {
	p := proxy{process: listeningProxy(f)}
	switch {
	case p.process == nil && !awaitsProxy(f):
	case p.process == nil:
		p.byConfigMap(f)
	case !p.process.Flag(harden.KubeProxyProgram, "config").Set:
		p.byFlags()
	default:
		config := p.process.Flag(harden.KubeProxyProgram, "config")
		p.seen = append(p.seen, config.Evidence("config"))
		for _, name := range []string{"metrics-bind-address", "metrics-port"} {
			if flag := p.process.Flag(harden.KubeProxyProgram, name); flag.Set {
				e := flag.Evidence(name)
				e.Value += ", which counts for nothing beside --config"
				p.seen = append(p.seen, e)
			}
		}
		if p.process.Container != "" && config.Last() == harden.KubeProxyFile {
			p.byConfigMap(f)
		} else {
			p.file = config.Last()
		}
	}
	return p
}

// listeningProxy is told from a kube-proxy of a cluster in containers, and from what is called so, by what listens in the host's
// network.
func listeningProxy(f *harden.Facts) *harden.ProcessFact {
	for _, l := range of(f, harden.KubeProxyProgram) {
		if i := slices.IndexFunc(f.KubeProxies, func(p harden.ProcessFact) bool { return p.PID == l.PID }); i >= 0 {
			return &f.KubeProxies[i]
		}
	}
	return nil
}

// awaitsProxy says that a pod of kubeadm's DaemonSet belongs on this node. Where kube-proxy was replaced, its ConfigMap often stays
// behind, and the DaemonSet without a node too.
func awaitsProxy(f *harden.Facts) bool {
	return f.Cluster != nil && slices.ContainsFunc(f.Cluster.Pods, func(p harden.PodFact) bool {
		return p.Namespace == "kube-system" && p.Owner == "DaemonSet/kube-proxy" && p.Node == f.Identity.Node
	})
}

func (p *proxy) byFlags() {
	flag := func(name string) harden.FlagFact { return p.process.Flag(harden.KubeProxyProgram, name) }
	p.told, p.bind = proxyByFlags, flag("bind-address").Last()
	bind := func(name, port, preset string, usual int) netip.AddrPort {
		address, off := flag(name), flag(port)
		e := address.Evidence(name)
		if n, err := strconv.Atoi(off.Last()); err == nil && n == 0 {
			p.seen = append(p.seen, off.Evidence(port))
			return netip.AddrPort{}
		} else if err == nil {
			usual = n
		}
		if address.Last() == "" {
			e.Value += "; its default is " + preset
			p.seen = append(p.seen, e)
			return bindAddress(preset, usual)
		}
		p.seen = append(p.seen, e)
		return bindAddress(address.Last(), usual)
	}
	p.metrics = bind("metrics-bind-address", "metrics-port", presetMetrics(""), proxyMetricsPort)
	seen := p.seen
	p.health = bind("healthz-bind-address", "healthz-port", presetHealth(""), proxyHealthPort)
	p.seen = seen // of the metrics alone
}

func (p *proxy) byConfigMap(f *harden.Facts) {
	e := harden.Evidence{Source: harden.KubeProxyConfig.String()}
	switch why, missing := f.Missing[harden.NeedKubeProxy]; {
	case f.Cluster == nil:
		return // nothing of the cluster was asked for
	case missing:
		e.Value = "not read: " + why.String()
	case f.Cluster.KubeProxy == nil:
		e.Value = "there is none"
	default:
		k := f.Cluster.KubeProxy
		p.told, p.bind = proxyByConfigMap, k.BindAddress
		e.Value = "metricsBindAddress: " + k.MetricsBindAddress
		metrics, health := k.MetricsBindAddress, k.HealthzBindAddress
		if metrics == "" {
			metrics = presetMetrics(k.BindAddress)
			e.Value = "metricsBindAddress is not set; its default is " + metrics
		}
		if health == "" {
			health = presetHealth(k.BindAddress)
		}
		p.metrics, p.health = bindAddress(metrics, proxyMetricsPort), bindAddress(health, proxyHealthPort)
		if !p.metrics.IsValid() {
			e.Value += ", which is no address: kube-proxy does not start with it"
		}
	}
	p.seen = append(p.seen, e)
}

// presetMetrics and presetHealth are kube-proxy's, by its bindAddress (pkg/proxy/apis/config/v1alpha1/defaults.go).
func presetMetrics(bind string) string { return preset(bind, "127.0.0.1", "::1", proxyMetricsPort) }
func presetHealth(bind string) string  { return preset(bind, "0.0.0.0", "::", proxyHealthPort) }

func preset(bind, v4, v6 string, port int) string {
	host := v4
	if at, err := netip.ParseAddr(bind); bind != "" && (err != nil || !at.Unmap().Is4()) {
		host = v6
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// bindAddress reads an address with a port or without one.
func bindAddress(text string, usual int) netip.AddrPort {
	if at, err := netip.ParseAddrPort(text); err == nil && at.Port() > 0 {
		return at
	}
	at, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at, uint16(usual))
}

// opens says that others reach the metrics once kube-proxy goes by what it is told.
func (p proxy) opens() bool { return p.metrics.IsValid() && !p.metrics.Addr().Unmap().IsLoopback() }

// unread are sockets for metrics that kube-proxy would not have by what it is told now. All addresses are one in both families, as the
// kernel shows them.
func (p proxy) unread(metrics []harden.ListenerFact) []harden.ListenerFact {
	if p.told != proxyByConfigMap || !p.metrics.IsValid() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(metrics), func(l harden.ListenerFact) bool {
		at := p.metrics.Addr().Unmap()
		return l.Port == int(p.metrics.Port()) && (l.Address.Unmap() == at || l.Address.IsUnspecified() && at.IsUnspecified())
	})
}

// evidence is what tells kube-proxy where to listen, and that it does not listen there where it is so.
func (p proxy) evidence(metrics []harden.ListenerFact) []harden.Evidence {
	out := slices.Clone(p.seen)
	if old := p.unread(metrics); len(old) > 0 {
		last := &out[len(out)-1]
		last.Value += fmt.Sprintf(", where process %d listens on %s: it has not read that", old[0].PID, old[0])
	}
	return out
}

// wanted is the node's loopback address, at the port that the metrics have.
func (p proxy) wanted() string {
	port := proxyMetricsPort
	if p.metrics.IsValid() {
		port = int(p.metrics.Port())
	}
	return preset(p.bind, "127.0.0.1", "::1", port)
}

// setting is what binds the metrics to the node, and where it belongs.
func (p proxy) setting() string {
	switch {
	case p.told == proxyByFlags && p.process.Container == "":
		return fmt.Sprintf("--metrics-bind-address=%s where kube-proxy's service has its flags", p.wanted())
	case p.told == proxyByFlags:
		return fmt.Sprintf("--metrics-bind-address=%s in the DaemonSet of kube-proxy", p.wanted())
	case p.file != "":
		return fmt.Sprintf("metricsBindAddress: %q in %s of kube-proxy, then restart it", p.wanted(), p.file)
	}
	return fmt.Sprintf("metricsBindAddress: %q in %s, then restart its pods", p.wanted(), harden.KubeProxyConfig)
}

// restartProxies lets them read their ConfigMap.
const restartProxies = "kubectl -n kube-system rollout restart daemonset kube-proxy"

// byHand are the commands that bind the metrics to the node, where the ConfigMap counts.
func (p proxy) byHand() []string {
	switch {
	case p.told != proxyByConfigMap || !p.metrics.IsValid():
		return nil
	case !p.opens():
		return []string{restartProxies}
	}
	return []string{
		"kubectl -n kube-system get configmap kube-proxy -o yaml | sed '/^ *metricsBindAddress:/s/:.*/: \"" + p.wanted() + "\"/' | kubectl replace -f -",
		restartProxies,
	}
}
