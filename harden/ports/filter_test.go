package ports_test

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/ports"
)

// open is a control-plane node that a table could guard: three nodes of both families, and who is connected.
func open(t *testing.T) *harden.Facts {
	t.Helper()
	f := facts(t, "1.37", kubeadm...)
	f.Identity.Offline = false
	f.Machine = &harden.MachineFact{Systemd: true}
	f.Firewall.NFT = "/usr/sbin/nft"
	f.Firewall.Peers = []harden.PeerFact{peer("192.0.2.21", 10250), peer("198.51.100.7", 22), peer("198.51.100.7", 6443)}
	for _, need := range []harden.Need{harden.NeedNodes, harden.NeedKubeadm} {
		delete(f.Missing, need)
	}
	f.Cluster = &harden.ClusterFacts{
		Nodes: []harden.NodeFact{
			{Name: "cp1", ControlPlane: true, Addresses: []string{"192.0.2.11", "cp1", "2001:db8::11"}, PodCIDRs: []string{"10.244.0.0/24"}},
			{Name: "cp2", ControlPlane: true, Addresses: []string{"192.0.2.12"}, PodCIDRs: []string{"10.244.1.0/24"}},
			{Name: "w1", Addresses: []string{"192.0.2.21", "w1.example"}, PodCIDRs: []string{"10.244.2.0/24"}},
		},
		Kubeadm: &harden.KubeadmFact{ClusterConfiguration: "networking:\n  podSubnet: 10.244.0.0/16,fd00:10:244::/56\n"},
	}
	return f
}

func peer(address string, port int) harden.PeerFact {
	return harden.PeerFact{Address: netip.MustParseAddr(address), Port: port}
}

func planned(t *testing.T, f *harden.Facts, set harden.Values, accept bool) harden.Plan {
	t.Helper()
	plans, err := harden.Build(harden.BuildInput{
		Facts: f, Areas: []harden.Area{ports.Area()}, Choices: []harden.Choice{{Control: "ports-firewall", Named: true, Options: set, Accept: accept}},
		Read: func(p string) (harden.State, error) {
			if p == harden.FilterRules && f.Firewall.Table != nil {
				return f.Firewall.Table.Rules.State, nil
			}
			dirs := []string{"/", "/etc", "/etc/systemd", "/etc/systemd/system"}
			return harden.State{Exists: slices.Contains(dirs, p), Dir: true}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return plans.Node
}

func rulesOf(t *testing.T, p harden.Plan) string {
	t.Helper()
	for _, s := range p.Steps() {
		if s.Path == harden.FilterRules {
			return string(s.After.Data)
		}
	}
	t.Fatalf("no rules are planned: %v", p.Skipped)
	return ""
}

const wantRules = `# Who reaches ports of Kubernetes on this node. Made by kubectl-harden (ports-firewall), loaded by kubectl-harden-firewall.service.
# When nodes have come or gone: kubectl-harden apply --control ports-firewall
# nodes: 192.0.2.11,192.0.2.12,192.0.2.21,2001:db8::11
# control-planes: 192.0.2.11,192.0.2.12,2001:db8::11
# pods: 10.244.0.0/16,fd00:10:244::/56
# joining: 
# admins: 
# load-balancers: 
# api-server: false
#
# A packet that is accepted here goes on to all other tables. Only what is named here is dropped, and nothing else is decided:
# node ports and host ports of pods are led elsewhere before they come by here.
add table inet kubectl_harden
delete table inet kubectl_harden
table inet kubectl_harden {
	# nodes, pods and administrators
	set kubelet4 {
		type ipv4_addr
		flags interval
		elements = {
			10.244.0.0/16,
			192.0.2.11,
			192.0.2.12,
			192.0.2.21
		}
	}
	set kubelet6 {
		type ipv6_addr
		flags interval
		elements = {
			2001:db8::11,
			fd00:10:244::/56
		}
	}
	# control planes
	set etcd4 {
		type ipv4_addr
		flags interval
		elements = {
			192.0.2.11,
			192.0.2.12
		}
	}
	set etcd6 {
		type ipv6_addr
		flags interval
		elements = {
			2001:db8::11
		}
	}
	chain input {
		type filter hook input priority -10; policy accept;
		ct state established,related accept
		iifname "lo" accept
		ip saddr @kubelet4 tcp dport 10250 accept
		ip6 saddr @kubelet6 tcp dport 10250 accept
		tcp dport 10250 tcp flags & (syn | ack) == syn counter drop
		ip saddr @etcd4 tcp dport 2379 accept
		ip6 saddr @etcd6 tcp dport 2379 accept
		tcp dport 2379 tcp flags & (syn | ack) == syn counter drop
		ip saddr @etcd4 tcp dport 2380 accept
		ip6 saddr @etcd6 tcp dport 2380 accept
		tcp dport 2380 tcp flags & (syn | ack) == syn counter drop
	}
}
`

func TestTheTableOfAControlPlane(t *testing.T) {
	p := planned(t, open(t), nil, false)
	if got := rulesOf(t, p); got != wantRules {
		t.Errorf("got\n%s", got)
	}
	if p.Switch == nil || !p.Switch.NewConnection || !p.Filters() || len(p.Blocking()) > 0 {
		t.Errorf("switch %+v, blocking %v", p.Switch, p.Blocking())
	}
	st := p.Stages[0]
	effect, _ := st.Effect(harden.PacketFilter)
	gate, _ := st.Gate(harden.PacketFilter)
	if len(st.Effects) != 1 || effect.Kind != harden.EffectTable || len(gate.Probes) < 5 {
		t.Errorf("%+v, gate %+v", st.Effects, gate)
	}
	if len(st.Rehearsals) != 1 || !st.Rehearsals[0].Apart {
		t.Errorf("%+v", st.Rehearsals)
	}
	var files []string
	for _, s := range st.Steps {
		if s.Kind == harden.StepFile {
			files = append(files, fmt.Sprintf("%s %o %s", s.Path, s.After.Mode, s.Component))
		}
		if s.Path == "/etc/systemd/system/kubectl-harden-firewall.service" && !strings.Contains(string(s.After.Data), "\nExecStart=/usr/sbin/nft -f /etc/kubectl-harden/firewall.nft\n") {
			t.Errorf("%s", s.After.Data)
		}
	}
	want := []string{
		"/etc/kubectl-harden/firewall.nft 600 packet-filter", "/etc/systemd/system/kubectl-harden-firewall.service 600 packet-filter",
		"/etc/systemd/system/kubelet.service.d/50-kubectl-harden-firewall.conf 600 packet-filter",
	}
	if !slices.Equal(files, want) {
		t.Errorf("%q", files)
	}
}

// Where etcd is told its addresses by its configuration file or its environment, the table left it unguarded without a word.
func TestEtcdIsGuardedWhateverTellsItsAddresses(t *testing.T) {
	quiet := func(f *harden.Facts, more ...string) *harden.ComponentFacts {
		c := f.Components[harden.Etcd]
		c.Args = slices.DeleteFunc(slices.Clone(c.Args), func(a string) bool { return strings.HasPrefix(a, "--listen-") })
		c.Args = append(c.Args, more...)
		return c
	}
	for name, edit := range map[string]func(*harden.Facts){
		"a configuration file that is not known": func(f *harden.Facts) { quiet(f, "--config-file=/etc/etcd.yaml") },
		"the environment": func(f *harden.Facts) {
			harden.ContainerOf(quiet(f).Pod, harden.Etcd).Env = []corev1.EnvVar{
				{Name: "ETCD_LISTEN_CLIENT_URLS", Value: "https://192.0.2.11:2379"}, {Name: "ETCD_LISTEN_PEER_URLS", Value: "https://192.0.2.11:2380"},
			}
		},
	} {
		f := open(t)
		edit(f)
		if got := rulesOf(t, planned(t, f, nil, false)); got != wantRules {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	f := open(t)
	quiet(f)
	if got := rulesOf(t, planned(t, f, nil, false)); strings.Contains(got, "etcd4") {
		t.Errorf("on the loopback address only:\n%s", got)
	}
}

// A plan is applied where the cluster was not asked: what was found is in its choice, and gives the same there.
func TestWhatWasFoundIsInThePlan(t *testing.T) {
	f := open(t)
	p := planned(t, f, nil, false)
	alone := *f
	alone.Cluster = nil
	alone.Missing = maps.Clone(f.Missing)
	alone.Missing[harden.NeedNodes] = harden.Msg("not asked")
	unmet, err := harden.Recheck(p, &alone, []harden.Area{ports.Area()})
	if err != nil || len(unmet) > 0 {
		t.Errorf("%v %v", unmet, err)
	}
	if err := harden.CheckPlan(p, &alone); err != nil {
		t.Error(err)
	}
}

func TestOptionsOfTheTable(t *testing.T) {
	for name, tt := range map[string]struct {
		set       harden.Values
		change    func(*harden.Facts)
		has, lack []string
	}{
		"administrators": {harden.Values{"admins": "198.51.100.0/24"}, nil, []string{"\t\t\t198.51.100.0/24"}, nil},
		"the API server": {harden.Values{"admins": "198.51.100.0/24", "api-server": "true"}, nil, []string{"ip saddr @api_server4 tcp dport 6443 accept", "tcp dport 6443 tcp flags & (syn | ack) == syn counter drop"}, nil},
		"load balancers": {harden.Values{"load-balancers": "203.0.113.5"}, nil, []string{"ip saddr @kube_proxy4 tcp dport 10256 accept"}, []string{"api_server"}},
		"nodes to come":  {harden.Values{"joining": "192.0.2.0/24"}, nil, []string{"# joining: 192.0.2.0/24", "etcd4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {\n\t\t\t192.0.2.0/24\n"}, []string{"\t\t\t192.0.2.11"}},
		"a worker":       {nil, func(f *harden.Facts) { f.Components = nil }, []string{"dport 10250"}, []string{"2379"}},
		"another port": {nil, func(f *harden.Facts) {
			f.Kubelet.Layers = append(f.Kubelet.Layers, harden.KubeletLayer{Fields: map[string]any{"port": 10350}})
		}, []string{"dport 10350"}, []string{"dport 10250"}},
		"another kubelet port, by a flag that wins": {nil, func(f *harden.Facts) { f.Kubelet.Args = append(f.Kubelet.Args, "--port=10450") }, []string{"dport 10450"}, []string{"dport 10250"}},
		"etcd for the node alone": {nil, func(f *harden.Facts) {
			c := f.Components[harden.Etcd]
			c.Args = []string{"etcd", "--listen-client-urls=https://127.0.0.1:2379", "--listen-peer-urls=https://[::1]:2380"}
		}, nil, []string{"2379", "2380"}},
	} {
		f := open(t)
		if tt.change != nil {
			tt.change(f)
		}
		got := rulesOf(t, planned(t, f, tt.set, true))
		for _, text := range tt.has {
			if !strings.Contains(got, text) {
				t.Errorf("%s: %q is not in\n%s", name, text, got)
			}
		}
		for _, text := range tt.lack {
			if strings.Contains(got, text) {
				t.Errorf("%s: %q is in\n%s", name, text, got)
			}
		}
	}
}

// TestRulesAreWhatNftTakes: whatever the options, the program parses them. The kernel is asked in host/filter.
func TestRulesAreWhatNftTakes(t *testing.T) {
	const nft = "/usr/sbin/nft"
	if _, err := os.Stat(nft); err != nil || os.Geteuid() != 0 {
		t.Skip("it needs root and nft")
	}
	all := harden.Values{"admins": "198.51.100.0/24, 198.51.100.7,2001:db8:1::/48", "api-server": "true", "load-balancers": "203.0.113.5,203.0.113.4", "joining": "192.0.2.0/25"}
	for _, set := range []harden.Values{nil, all, {"pods": "10.0.0.0/8,10.244.0.0/16,10.0.0.0/9"}} {
		text := rulesOf(t, planned(t, open(t), set, true))
		// Checking asks the kernel too, and changes nothing; in a network of its own all the same.
		cmd := exec.Command("unshare", "--net", nft, "-c", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", set, err, out)
		}
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"192.0.2.0/33": "neither an address nor a network", "everybody": "neither an address nor a network", "0.0.0.0/0": "is everybody", "::/0": "is everybody",
		"fe80::1%eth0": "neither an address nor a network", "192.0.2.1; flush ruleset": "neither an address nor a network", "192.0.2.1,}\nflush": "neither an address nor a network",
	} {
		_, err := harden.Build(harden.BuildInput{
			Facts: open(t), Areas: []harden.Area{ports.Area()}, Choices: []harden.Choice{{Control: "ports-firewall", Options: harden.Values{"admins": text}}},
			Read: func(string) (harden.State, error) { return harden.State{}, nil },
		})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTableIsHeldBack(t *testing.T) {
	for name, tt := range map[string]struct {
		set    harden.Values
		change func(*harden.Facts)
		says   string
		way    harden.Way
	}{
		"firewalld":             {nil, func(f *harden.Facts) { f.Firewall.Managers = []string{"firewalld"} }, "firewalld is in charge of it; let it do this: a zone", ""},
		"ufw":                   {nil, func(f *harden.Facts) { f.Firewall.Managers = []string{"ufw"} }, "ufw allow from NETWORK", ""},
		"nftables.service":      {nil, func(f *harden.Facts) { f.Firewall.Managers = []string{"nftables.service"} }, "put such a table into /etc/nftables.conf", ""},
		"Cilium":                {nil, func(f *harden.Facts) { f.Firewall.EBPF = []string{"Cilium"} }, "CiliumClusterwideNetworkPolicy", ""},
		"chains are not known":  {nil, func(f *harden.Facts) { f.Firewall.Unread = harden.Msg("operation not permitted") }, "operation not permitted", harden.ByAccept},
		"no nft":                {nil, func(f *harden.Facts) { f.Firewall.NFT = "" }, "install the package nftables", ""},
		"no systemd":            {nil, func(f *harden.Facts) { f.Machine.Systemd = false }, "systemd does not run this machine", ""},
		"nodes are not known":   {nil, func(f *harden.Facts) { f.Cluster = nil }, "--set ports-firewall.control-planes=ADDRESSES", ""},
		"a node is left out":    {harden.Values{"nodes": "192.0.2.11,192.0.2.12,2001:db8::11"}, nil, "192.0.2.21 is a node's address, and not among nodes", harden.ByAccept},
		"pods are not known":    {harden.Values{"pods": ""}, nil, "metrics-server", harden.ByAccept},
		"somebody is connected": {nil, func(f *harden.Facts) { f.Firewall.Peers = append(f.Firewall.Peers, peer("203.0.113.9", 2379)) }, "203.0.113.9 is connected to port 2379", harden.ByAccept},
		"peers are not known":   {nil, func(f *harden.Facts) { f.Firewall.PeersUnread = harden.Msg("no such file") }, "no such file", harden.ByAccept},
		"SSH at such a port":    {nil, func(f *harden.Facts) { f.Listeners = append(f.Listeners, listen(t, "tcp 0.0.0.0:2380 sshd")) }, "sshd listens on port 2380", ""},
		"no administrators":     {harden.Values{"api-server": "true"}, func(f *harden.Facts) { f.Firewall.Peers = f.Firewall.Peers[:1] }, "nobody could run kubectl from elsewhere", ""},
		"logged in from elsewhere": {harden.Values{"api-server": "true", "admins": "203.0.113.0/24"}, func(f *harden.Facts) { f.Firewall.Peers = f.Firewall.Peers[:2] },
			"somebody is logged in from 198.51.100.7", harden.ByAccept},
	} {
		f := open(t)
		if tt.change != nil {
			tt.change(f)
		}
		p := planned(t, f, tt.set, false)
		if !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), tt.says) || p.Skipped[0].Way != tt.way {
			t.Errorf("%s: %v", name, p.Skipped)
		}
	}
}

// enforced is the node with the table of a plan in force.
func enforced(t *testing.T, f *harden.Facts, set harden.Values) *harden.Facts {
	t.Helper()
	rules := rulesOf(t, planned(t, f, set, true))
	f.Firewall.Table = &harden.TableFact{Rules: harden.FileFact{Path: harden.FilterRules, State: harden.State{Exists: true, Data: []byte(rules), Mode: 0o600}}}
	f.Firewall.Hooks = append(f.Firewall.Hooks, harden.HookFact{Family: "inet", Table: harden.FilterTable, Chain: "input", Priority: -10})
	return f
}

func TestVerdictsOnTheTable(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*harden.Facts)
		want   harden.Status
		says   string
	}{
		"in force":          {nil, harden.StatusPass, "only those whom it names reach ports 10250, 2379, 2380; node ports"},
		"without a cluster": {func(f *harden.Facts) { f.Cluster = nil }, harden.StatusPass, "renewed"},
		"gone":              {func(f *harden.Facts) { f.Firewall.Table.Differs = harden.Msg("table inet kubectl_harden is not there") }, harden.StatusFail, "is not there: run \"systemctl restart kubectl-harden-firewall.service\""},
		"without its rules": {func(f *harden.Facts) { f.Firewall.Table.Rules.State = harden.State{} }, harden.StatusFail, "after the next boot it is not there"},
		"a node has come": {func(f *harden.Facts) {
			f.Cluster.Nodes = append(f.Cluster.Nodes, harden.NodeFact{Name: "w2", Addresses: []string{"192.0.2.22"}})
		}, harden.StatusFail, "nodes of the cluster have changed, and 192.0.2.22 is refused"},
		"a node has gone":     {func(f *harden.Facts) { f.Cluster.Nodes = f.Cluster.Nodes[:2] }, harden.StatusManual, "192.0.2.21 are let through as nodes"},
		"it became another's": {func(f *harden.Facts) { f.Cluster.Nodes[2].ControlPlane = true }, harden.StatusFail, "control-planes of the cluster have changed"},
		"beside a manager":    {func(f *harden.Facts) { f.Firewall.Managers = []string{"firewalld", "ufw"} }, harden.StatusFail, "firewalld and ufw"},
	} {
		f := enforced(t, open(t), nil)
		if tt.change != nil {
			tt.change(f)
		}
		if got := finding(t, f, "ports-firewall"); got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
	f := enforced(t, open(t), nil)
	for id, want := range map[string]harden.Status{"ports-kubelet": harden.StatusPass, "ports-api-server": harden.StatusManual} {
		if got := finding(t, f, id); got.Status != want {
			t.Errorf("%s: %s: %s", id, got.Status, got.Message)
		}
	}
}

// A renewal takes the nodes anew and keeps what was said by hand.
func TestRenewalKeepsWhatWasSaid(t *testing.T) {
	f := enforced(t, open(t), harden.Values{"admins": "198.51.100.0/24", "load-balancers": "203.0.113.5"})
	if again := planned(t, f, nil, true); !again.Empty() {
		t.Errorf("without a change there is something to do: %v", again.Steps())
	}
	f.Cluster.Nodes = append(f.Cluster.Nodes, harden.NodeFact{Name: "w2", Addresses: []string{"192.0.2.22"}})
	got := rulesOf(t, planned(t, f, nil, true))
	for _, text := range []string{"# nodes: 192.0.2.11,192.0.2.12,192.0.2.21,192.0.2.22,2001:db8::11\n", "# admins: 198.51.100.0/24\n", "# load-balancers: 203.0.113.5\n", "\t\t\t192.0.2.22"} {
		if !strings.Contains(got, text) {
			t.Errorf("%q is not in\n%s", text, got)
		}
	}
	f.Firewall.Table.Differs = harden.Msg("table inet kubectl_harden is not there")
	f.Cluster.Nodes = f.Cluster.Nodes[:3]
	p := planned(t, f, nil, true)
	if len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), "only not in force: run \"systemctl restart kubectl-harden-firewall.service\"") {
		t.Errorf("files that are right: %v", p.Skipped)
	}
}

func TestNoTableWithoutItsFacts(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	if p := planned(t, f, nil, true); !p.Empty() {
		t.Errorf("an offline root gets one: %v", p.Steps())
	}
}
