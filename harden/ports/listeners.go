package ports

import (
	"net/url"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

var readOnly = harden.Control{
	ID: "ports-kubelet-read-only", Title: "Nothing listens on the kubelet's read-only port", Severity: harden.High,
	Why: harden.Msg("On port 10255 a kubelet tells everybody about its pods, environment variables included, without TLS and without asking who it is. " +
		"The setting may say that it is off; what counts is whether something listens."),
	Refs:  harden.Refs{CIS: []string{"4.2.4"}, STIG: []string{"V-242387"}, NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsPorts}},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		found := on(f, 10255)
		if kubelets := at(of(f, "kubelet"), kubeletPorts(f, "readOnlyPort", 10255)); len(kubelets) > 0 {
			return harden.Failed(harden.Msg("the kubelet serves its read-only port: set readOnlyPort to 0 (control kubelet-read-only-port)"), evidence(kubelets)...)
		}
		if len(found) > 0 {
			return harden.NeedsPerson(harden.Msg("something else than the kubelet listens on port 10255: %s", list(found)), evidence(found)...)
		}
		return harden.Passed(harden.Msg("nothing listens on port 10255"), nothing(f, 10255))
	},
}

var cadvisor = harden.Control{
	ID: "ports-cadvisor", Title: "Nothing listens on cAdvisor's port", Severity: harden.Medium,
	Why: harden.Msg("Port 4194 was cAdvisor's in kubelets up to 1.11: names, images and load of all containers for everybody who asks. " +
		"No kubelet opens it any more. Where something listens there, somebody runs cAdvisor alone, without authentication."),
	Refs:  harden.Refs{NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsPorts}},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		switch found := on(f, 4194); {
		case len(found) == 0:
			return harden.Passed(harden.Msg("nothing listens on port 4194"), nothing(f, 4194))
		case len(outside(found)) == 0:
			return harden.Passed(harden.Msg("port 4194 answers this node only"), evidence(found)...)
		default:
			return harden.Failed(harden.Msg("port 4194 answers everybody who reaches this node: find out who runs %s; the kubelet serves the same under /metrics/cadvisor to those who may have it", list(outside(found))), evidence(found)...)
		}
	},
}

// local are sockets that only the node itself needs, with what binds them there.
var local = []struct {
	sockets func(*harden.Facts) []harden.ListenerFact
	how     string // kube-proxy's is where it is told
}{
	{etcdMetrics, "--listen-metrics-urls=http://127.0.0.1:2381 in etcd.yaml"},
	{usual("calico-node", 9099), "FELIX_HEALTHHOST=localhost in the DaemonSet calico-node"},
	{kubeletHealth, "healthzBindAddress: 127.0.0.1 (control kubelet-healthz-bind-address)"},
	{sockets: proxyMetrics},
	{whole("kube-controller-manager"), "--bind-address=127.0.0.1 in kube-controller-manager.yaml"},
	{usual("cloud-controller-manager", 10258), "--bind-address=127.0.0.1 of the cloud controller manager"},
	{whole("kube-scheduler"), "--bind-address=127.0.0.1 in kube-scheduler.yaml"},
}

var loopback = harden.Control{
	ID: "ports-loopback", Title: "What only the node needs answers the node only", Severity: harden.Medium,
	Why: harden.Msg("The controller manager, the scheduler, kube-proxy and etcd have ports for health and metrics. Some of these ask for no credentials, " +
		"and what they say helps whoever plans an attack. Monitoring that needs them should come by way of the node, or with certificates."),
	Refs: harden.Refs{
		CIS: []string{"1.3.7", "1.4.2", "4.3.1"}, STIG: []string{"V-242384", "V-242385"}, NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsPorts},
	},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen, wrong []harden.ListenerFact
		p := proxyOf(f)
		metrics, _, either := proxySockets(f)
		told := p.evidence(metrics)
		how := ""
		for _, row := range local {
			found := row.sockets(f)
			seen = append(seen, found...)
			if far := outside(found); len(far) > 0 {
				wrong = append(wrong, far...)
				if how == "" {
					how = row.how
				}
				if how == "" {
					how = p.setting()
				}
			}
		}
		proxys := outside(metrics)
		switch {
		case len(wrong) > 0 && len(wrong) == len(proxys) && p.told == proxyByConfigMap && p.metrics.IsValid() && !p.opens():
			return harden.Failed(harden.Msg("others can reach %s, which %s binds to %s: restart kube-proxy's pods, which have not read that, and first find out whether monitoring asks there",
				list(wrong), harden.KubeProxyConfig, p.metrics), append(evidence(wrong), told...)...).ByHand(p.byHand()...)
		case len(proxys) > 0:
			return harden.Failed(toLoopback(wrong, how), append(evidence(wrong), told...)...).ByHand(p.byHand()...)
		case len(wrong) > 0:
			return harden.Failed(toLoopback(wrong, how), evidence(wrong)...)
		case p.opens():
			return harden.Failed(harden.Msg("others reach kube-proxy's metrics once it starts next, as it is told to serve them at %s; set %s, and first find out whether monitoring asks there", p.metrics, p.setting()),
				append(evidence(seen), told...)...).ByHand(p.byHand()...)
		case len(outside(either)) > 0:
			return harden.NeedsPerson(harden.Msg("others can reach %s, and whether that is for health, which load balancers ask for, or for metrics, which are for the node alone, is not to be seen: look at healthzBindAddress and metricsBindAddress in ConfigMap kube-system/kube-proxy",
				list(outside(either))), append(evidence(append(seen, either...)), told...)...)
		case len(seen) == 0:
			return harden.NotFor(harden.Msg("none of these components listens on this node"))
		}
		return harden.Passed(harden.Msg("%d ports answer this node only", len(seen)), append(evidence(seen), told...)...)
	},
}

func toLoopback(wrong []harden.ListenerFact, how string) harden.Message {
	return harden.Msg("others can reach %s; set %s, and first find out whether monitoring asks there", list(wrong), how)
}

var etcdAddresses = harden.Control{
	ID: "ports-etcd", Title: "The database listens on its own addresses only", Severity: harden.High,
	Why: harden.Msg("Ports 2379 and 2380 lead to everything that the cluster knows. Only API servers and other members of etcd need them, " +
		"on the addresses that they were told. On all addresses they also answer on networks that nobody thought of."),
	Refs:  harden.Refs{NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsPorts}},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		found := etcdServes(f)
		wild := slices.DeleteFunc(slices.Clone(found), func(l harden.ListenerFact) bool { return !l.Address.IsUnspecified() })
		switch {
		case len(found) == 0:
			return harden.NotFor(harden.Msg("etcd does not listen on this node"))
		case len(wild) > 0:
			return harden.Failed(harden.Msg("etcd listens on all addresses: give --listen-client-urls and --listen-peer-urls the addresses of this node in etcd.yaml"), evidence(found)...)
		}
		return harden.Passed(harden.Msg("etcd listens on addresses that it was told"), evidence(found)...)
	},
}

// plainURLs are settings of etcd whose URLs are listened on, with whether plain HTTP is right on the loopback address, and where etcd
// listens without them.
var plainURLs = []struct {
	name     string
	loopback bool
	preset   string
}{
	{"listen-client-urls", false, "http://localhost:2379"}, {"listen-client-http-urls", false, ""},
	{"listen-peer-urls", false, "http://localhost:2380"}, {"listen-metrics-urls", true, ""},
}

var tlsOnly = harden.Control{
	ID: "ports-tls", Title: "Sensitive ports speak TLS", Severity: harden.High,
	Why: harden.Msg("The API server, the kubelet, the controller manager and the scheduler have spoken nothing but TLS since their insecure ports were taken out. " +
		"The database speaks what its URLs say: one that begins with http:// sends Secrets in plain text, and asks for no certificate."),
	Refs:  harden.Refs{NSA: []string{nsaTLS}, Seed: []string{seedPorts, "TLS and certificates"}, Docs: []string{docsPorts}},
	Needs: []harden.Need{harden.NeedEtcd},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Component(harden.Etcd) != nil, harden.Msg("this node runs no etcd; the other components speak nothing but TLS")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		plain := ""
		for _, p := range plainURLs {
			s := f.EtcdSetting(p.name)
			switch {
			case !s.Unknown.IsZero():
				return harden.NeedsPerson(s.Unknown, s.Seen)
			case s.Value == "" && p.preset == "":
				continue
			case s.Value == "":
				s.Value = p.preset
				s.Seen.Value += "; its default is " + p.preset
			}
			seen = append(seen, s.Seen)
			for _, u := range s.List() {
				parsed, err := url.Parse(u)
				if err != nil || parsed.Scheme != "http" || p.loopback && (strings.HasPrefix(parsed.Hostname(), "127.") || parsed.Hostname() == "::1") {
					continue
				}
				plain = p.name
			}
		}
		if plain != "" {
			return harden.Failed(harden.Msg("etcd speaks plain HTTP: %s has a URL that begins with http://", plain), seen...)
		}
		return harden.Passed(harden.Msg("etcd speaks TLS; the other components speak nothing else"), seen...)
	},
	Component: harden.Etcd, Flags: []string{"listen-client-urls", "listen-peer-urls", "listen-metrics-urls"},
}
