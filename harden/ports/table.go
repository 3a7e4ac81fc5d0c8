package ports

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Options of the table. Those that are lists hold addresses and networks.
const (
	optNodes         = "nodes"
	optControlPlanes = "control-planes"
	optPods          = "pods"
	optJoining       = "joining"
	optAdmins        = "admins"
	optBalancers     = "load-balancers"
	optAPIServer     = "api-server"
)

var tableOptions = []string{optNodes, optControlPlanes, optPods, optJoining, optAdmins, optBalancers, optAPIServer}

// guard is a group of ports that only some may reach: a row from which rules are made.
type guard struct {
	set   string // the sets' name, without the family
	who   string // for whom they are open, for people
	from  []string
	ports func(*harden.Facts, harden.Values) []int
}

// The kubelet's port is open to all nodes, not to control planes alone: a network plugin may give packets of pods the address of the
// node that they leave, and metrics-server runs wherever it is put.
var guards = []guard{
	{"kubelet", "nodes, pods and administrators", []string{optNodes, optControlPlanes, optPods, optJoining, optAdmins}, kubeletPort},
	{"etcd", "control planes", []string{optControlPlanes, optJoining}, etcdPorts},
	{"kube_proxy", "nodes, load balancers and administrators", []string{optNodes, optControlPlanes, optJoining, optBalancers, optAdmins}, healthPort},
	{"api_server", "nodes, pods, load balancers and administrators", []string{optNodes, optControlPlanes, optPods, optJoining, optBalancers, optAdmins}, apiPort},
}

func kubeletPort(f *harden.Facts, _ harden.Values) []int {
	if f.Kubelet != nil {
		_, port := f.Kubelet.ServesAt()
		if n, err := strconv.Atoi(port); err == nil && n > 0 {
			return []int{n}
		}
	}
	return []int{10250}
}

// etcdPorts are those at which other control planes ask this node's etcd; its usual ones where it cannot be told.
func etcdPorts(f *harden.Facts, _ harden.Values) []int {
	if f.Component(harden.Etcd) == nil {
		return nil
	}
	var out []int
	for name, usual := range map[string]int{"listen-client-urls": 2379, "listen-peer-urls": 2380} {
		s := f.EtcdSetting(name)
		if !s.Unknown.IsZero() {
			out = append(out, usual)
		}
		for _, u := range s.List() {
			parsed, err := url.Parse(u)
			if err != nil {
				continue
			}
			if a, err := netip.ParseAddr(parsed.Hostname()); err == nil && a.IsLoopback() {
				continue
			}
			if n, err := strconv.Atoi(parsed.Port()); err == nil && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// healthPort is guarded only where it is said who asks there: a load balancer that is refused takes the node for broken.
func healthPort(_ *harden.Facts, v harden.Values) []int {
	if v[optBalancers] == "" {
		return nil
	}
	return []int{proxyHealthPort}
}

func apiPort(f *harden.Facts, v harden.Values) []int {
	if v[optAPIServer] != "true" || f.Component(harden.APIServer) == nil {
		return nil
	}
	return []int{securePort(f)}
}

// networks reads addresses and networks, separated by commas, and leaves out what lies within another one.
func networks(text string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, errAddr := netip.ParseAddr(word)
			if errAddr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", word)
			}
			a = a.Unmap()
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("%s is everybody", word)
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("%s: write the IPv4 network", word)
		}
		all = append(all, p.Masked())
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()), cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	var out []netip.Prefix
	for _, p := range all { // wider ones are there before what they hold
		if !slices.ContainsFunc(out, func(o netip.Prefix) bool { return o.Overlaps(p) }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()), a.Addr().Compare(b.Addr()))
	})
	return out, nil
}

func checkNetworks(text string) error {
	_, err := networks(text)
	return err
}

// joined writes networks as an option has them.
func joined(list []netip.Prefix) string {
	var out []string
	for _, p := range list {
		out = append(out, word(p))
	}
	return strings.Join(out, ",")
}

func word(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// let are the networks that a guard lets through.
func (g guard) let(v harden.Values) ([]netip.Prefix, error) {
	var texts []string
	for _, option := range g.from {
		texts = append(texts, v[option])
	}
	return networks(strings.Join(texts, ","))
}

// guarded are the guards that have a port on this node, each with its ports.
func guarded(f *harden.Facts, v harden.Values) (out []guard, ports [][]int) {
	for _, g := range guards {
		if p := g.ports(f, v); len(p) > 0 {
			out, ports = append(out, g), append(ports, p)
		}
	}
	return out, ports
}

// TableRules are the rules of our table for these options, as a script of nft that replaces the table before in one step.
func TableRules(f *harden.Facts, v harden.Values) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Who reaches ports of Kubernetes on this node. Made by kubectl-harden (ports-firewall), loaded by %s.\n"+
		"# When nodes have come or gone: kubectl-harden apply --control ports-firewall\n", harden.FilterUnit)
	for _, option := range tableOptions {
		fmt.Fprintf(&b, "# %s: %s\n", option, v[option])
	}
	b.WriteString("#\n# A packet that is accepted here goes on to all other tables. Only what is named here is dropped, and nothing else is decided:\n" +
		"# node ports and host ports of pods are led elsewhere before they come by here.\n")
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", harden.FilterTable)
	active, ports := guarded(f, v)
	var chain strings.Builder
	for i, g := range active {
		all, err := g.let(v)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\t# %s\n", g.who)
		for _, family := range []struct{ digit, kind string }{{"4", "ipv4_addr"}, {"6", "ipv6_addr"}} {
			fmt.Fprintf(&b, "\tset %s%s {\n\t\ttype %s\n\t\tflags interval\n", g.set, family.digit, family.kind)
			var words []string
			for _, p := range all {
				if p.Addr().Is4() == (family.digit == "4") {
					words = append(words, word(p))
				}
			}
			if len(words) > 0 {
				fmt.Fprintf(&b, "\t\telements = {\n\t\t\t%s\n\t\t}\n", strings.Join(words, ",\n\t\t\t"))
			}
			b.WriteString("\t}\n")
		}
		for _, port := range ports[i] {
			fmt.Fprintf(&chain, "\t\tip saddr @%[1]s4 tcp dport %[2]d accept\n\t\tip6 saddr @%[1]s6 tcp dport %[2]d accept\n\t\t"+drops, g.set, port)
		}
	}
	if chain.Len() == 0 {
		return nil, errors.New("there is no port on this node that it would guard")
	}
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority -10; policy accept;\n\t\tct state established,related accept\n\t\tiifname \"lo\" accept\n")
	b.WriteString(chain.String() + "\t}\n}\n")
	return []byte(b.String()), nil
}

// drops is the rule that ends what is said of a port. It is of the packet that begins a connection only: where nothing has followed
// connections so far, the kernel takes the next packet of an old one for a new one.
const drops = "tcp dport %[2]d tcp flags & (syn | ack) == syn counter drop\n"

// portsIn are the ports that rules of ours guard.
func portsIn(rules []byte) []int {
	var out []int
	for line := range strings.Lines(string(rules)) {
		var port int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "tcp dport %d tcp flags & (syn | ack) == syn counter drop", &port); n == 1 {
			out = append(out, port)
		}
	}
	return out
}

// optionsIn are the options that rules were made with, by their first lines.
func optionsIn(rules []byte) harden.Values {
	out := harden.Values{}
	for line := range strings.Lines(string(rules)) {
		text, comment := strings.CutPrefix(line, "# ")
		if !comment {
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if _, twice := out[name]; ok && !twice && slices.Contains(tableOptions, name) {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// keptOption is what the rules that lie on the node were made with.
func keptOption(name, otherwise string) func(*harden.Facts, harden.Values) string {
	return func(f *harden.Facts, v harden.Values) string {
		if f.Firewall != nil && f.Firewall.Table != nil {
			if v, ok := optionsIn(f.Firewall.Table.Rules.State.Data)[name]; ok {
				return v
			}
		}
		return otherwise
	}
}

// foundNodes are the addresses of the cluster's nodes; where these are not known, those of the rules that are there.
func foundNodes(name string, take func(harden.NodeFact) bool) func(*harden.Facts, harden.Values) string {
	return func(f *harden.Facts, v harden.Values) string {
		if _, missing := f.Missing[harden.NeedNodes]; missing || f.Cluster == nil {
			return keptOption(name, "")(f, v)
		}
		var all []netip.Prefix
		for _, n := range f.Cluster.Nodes {
			for _, text := range n.Addresses {
				// A Node also has names.
				if a, err := netip.ParseAddr(text); err == nil && take(n) && a.Zone() == "" {
					all = append(all, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
				}
			}
		}
		list, err := networks(joined(all))
		if err != nil {
			return ""
		}
		return joined(list)
	}
}

// foundPods are the networks that pods have their addresses from: by kubeadm's configuration, the controller manager that gives
// them to nodes, or the nodes themselves.
func foundPods(f *harden.Facts, v harden.Values) string {
	var texts []string
	if c := f.Component(harden.ControllerManager); c != nil {
		texts = append(texts, c.Flag("cluster-cidr").List()...)
	}
	if f.Cluster != nil && f.Cluster.Kubeadm != nil {
		var config struct {
			Networking struct {
				PodSubnet string `json:"podSubnet"`
			} `json:"networking"`
		}
		if yaml.Unmarshal([]byte(f.Cluster.Kubeadm.ClusterConfiguration), &config) == nil {
			texts = append(texts, config.Networking.PodSubnet)
		}
	}
	if _, missing := f.Missing[harden.NeedNodes]; !missing && f.Cluster != nil {
		for _, n := range f.Cluster.Nodes {
			texts = append(texts, n.PodCIDRs...)
		}
	}
	list, err := networks(strings.Join(texts, ","))
	if err != nil || len(list) == 0 {
		return keptOption(optPods, "")(f, v)
	}
	return joined(list)
}
