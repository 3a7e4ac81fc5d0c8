package collect

import (
	"context"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Network is a Live that can say what listens and what filters. Without it both are unknown.
type Network interface {
	Listeners() ([]harden.ListenerFact, error)
	// InputHooks are the chains at the input hook of the host's network, and the tables of the older iptables.
	InputHooks() (hooks []harden.HookFact, legacy []string, err error)
}

func collectNetwork(n Node, live Live, f *harden.Facts) {
	network, ok := live.(Network)
	if !ok {
		f.Missing[harden.NeedListeners] = harden.Msg("what listens on a machine shows only where it runs")
		return
	}
	var err error
	if f.Listeners, err = network.Listeners(); err != nil {
		f.Missing[harden.NeedListeners] = harden.Msg("%s", err.Error())
		return
	}
	fw := &harden.FirewallFact{Managers: firewallManagers(n), EBPF: ebpf(n)}
	if fw.Hooks, fw.Legacy, err = network.InputHooks(); err != nil {
		fw.Unread = harden.Msg("%s", err.Error())
	}
	collectTable(n, live, fw)
	f.Firewall = fw
}

// PacketFilter is a Live that knows our own table, and who is connected to the machine.
type PacketFilter interface {
	// NFT is where the program nft is; "" where it is not.
	NFT() string
	// TableDiffers says in what our table in force is not the one that the rules make; without rules, that there is one.
	TableDiffers(ctx context.Context, rules []byte) (string, error)
	Peers() ([]harden.PeerFact, error)
}

// collectTable tries the rules only where there are some.
func collectTable(n Node, live Live, fw *harden.FirewallFact) {
	filter, ok := live.(PacketFilter)
	if !ok {
		fw.PeersUnread = harden.Msg("who is connected to a machine shows only where it runs")
		return
	}
	fw.NFT = filter.NFT()
	var err error
	if fw.Peers, err = filter.Peers(); err != nil {
		fw.PeersUnread = harden.Msg("%s", err.Error())
	}
	rules := readFile(n, harden.FilterRules)
	var text []byte
	if rules.State.Exists {
		text = append([]byte{}, rules.State.Data...)
	}
	differs, err := filter.TableDiffers(context.Background(), text)
	if err != nil {
		differs = err.Error()
	}
	if !rules.State.Exists && rules.Unread.IsZero() && (differs == "" || err != nil) {
		return
	}
	fw.Table = &harden.TableFact{Rules: rules}
	if differs != "" {
		fw.Table.Differs = harden.Msg("%s", differs)
	}
}

// firewallManagers are recognised by the control group of a running service, and by what enables them at boot.
func firewallManagers(n Node) []string {
	var out []string
	there := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(p string) bool {
			names, err := n.List(p)
			return err == nil && len(names) > 0
		})
	}
	if there("/sys/fs/cgroup/system.slice/firewalld.service", "/sys/fs/cgroup/systemd/system.slice/firewalld.service") {
		out = append(out, "firewalld")
	}
	for line := range strings.Lines(string(readFile(n, "/etc/ufw/ufw.conf").State.Data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key == "ENABLED" && strings.EqualFold(strings.Trim(value, `"'`), "yes") {
			out = append(out, "ufw")
		}
	}
	for _, target := range []string{"sysinit", "multi-user"} {
		if s := readFile(n, "/etc/systemd/system/"+target+".target.wants/nftables.service"); s.State.Exists {
			out = append(out, "nftables.service")
			break
		}
	}
	return out
}

// ebpf are the network plugins that have programs of their own in the kernel, by what they pin there.
func ebpf(n Node) []string {
	var out []string
	for _, dir := range []string{"/sys/fs/bpf", "/sys/fs/bpf/tc/globals"} {
		names, err := n.List(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			switch {
			case strings.HasPrefix(name, "cilium"):
				out = append(out, "Cilium")
			case strings.HasPrefix(name, "cali"):
				out = append(out, "Calico")
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Workloads is a Live that can ask the container runtime. Without it what runs is unknown.
type Workloads interface {
	Workloads() ([]harden.WorkloadFact, error)
}

func collectWorkloads(live Live, f *harden.Facts) {
	runtime, ok := live.(Workloads)
	if !ok {
		f.Missing[harden.NeedRuntime] = harden.Msg("what containers run on a machine shows only where it runs")
		return
	}
	var err error
	if f.Workloads, err = runtime.Workloads(); err != nil {
		f.Missing[harden.NeedRuntime] = harden.Msg("%s", err.Error())
	}
}
