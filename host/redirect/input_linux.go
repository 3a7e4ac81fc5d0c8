package redirect

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// kubeProxys are chains of iptables whose refusals are about Services and the loopback address, never about a port of the node.
var kubeProxys = []string{"KUBE-FIREWALL", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"}

// proxied says whether kube-proxy leads Services to their endpoints here, by rules of nftables or of iptables on top of it. No other
// way was tried. Its chains also see to it that the kernel knows all connections: one that it begins to know in the middle would
// be led as a new one is.
func proxied(family nftables.TableFamily) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("opening netlink: %w", err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		return false, fmt.Errorf("listing chains: %w", err)
	}
	hooks, known := map[nftables.ChainHook]bool{}, false
	for _, c := range chains {
		if c.Table.Family != family {
			continue
		}
		known = known || c.Table.Name == "kube-proxy" || c.Table.Name == "nat" && c.Name == "KUBE-SERVICES"
		if c.Type == nftables.ChainTypeNAT && c.Hooknum != nil {
			hooks[*c.Hooknum] = true
		}
	}
	return known && hooks[*nftables.ChainHookPrerouting] && hooks[*nftables.ChainHookOutput], nil
}

// refusals are the chains through which packets for this node go and in which a rule may refuse them: by what, in whichever
// language, is not understood here, so that what it does to another port than the one it was written for is not known.
func refusals() ([]string, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer conn.CloseLasting()
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("listing chains: %w", err)
	}
	var out []string
	for _, base := range chains {
		if !seesInput(base) {
			continue
		}
		bad, err := refusing(conn, chains, base)
		if err != nil {
			return nil, err
		}
		out = append(out, bad...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// seesInput is true of a base chain that can keep a packet from a process of this node. One of the bridge's sees no more than what
// goes over a bridge, and counts too.
func seesInput(c *nftables.Chain) bool {
	if c.Hooknum == nil || c.Type == nftables.ChainTypeNAT {
		return false
	}
	switch c.Table.Family {
	case nftables.TableFamilyARP:
		return false
	case nftables.TableFamilyNetdev:
		return true
	}
	return slices.Contains([]nftables.ChainHook{*nftables.ChainHookPrerouting, *nftables.ChainHookInput, *nftables.ChainHookOutput}, *c.Hooknum)
}

// refusing follows a base chain to wherever it leads.
func refusing(conn *nftables.Conn, chains []*nftables.Chain, base *nftables.Chain) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	for queue := []*nftables.Chain{base}; len(queue) > 0; queue = queue[1:] {
		c := queue[0]
		if seen[c.Name] || slices.Contains(kubeProxys, c.Name) || c.Table.Name == "kube-proxy" {
			continue
		}
		seen[c.Name] = true
		where := fmt.Sprintf("table %s, chain %s", c.Table.Name, c.Name)
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			out = append(out, where)
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, fmt.Errorf("listing the rules of %s: %w", where, err)
		}
		for _, r := range rules {
			refuses, next := read(r)
			if refuses {
				out = append(out, where)
			}
			for _, to := range chains {
				if to.Table.Name == c.Table.Name && to.Table.Family == c.Table.Family && slices.Contains(next, to.Name) {
					queue = append(queue, to)
				}
			}
		}
	}
	return out, nil
}

// harmless are targets of iptables that refuse nothing. Whatever else it has may.
var harmless = []string{"ACCEPT", "RETURN", "LOG", "NFLOG", "MARK", "CONNMARK", "COMMENT", "CT", "TCPMSS", "CHECKSUM", "DSCP", "TOS", "SET"}

// read says whether a rule may refuse a packet, and to which chains it leads.
func read(r *nftables.Rule) (refuses bool, next []string) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Verdict:
			switch e.Kind {
			case expr.VerdictDrop, expr.VerdictQueue, expr.VerdictStolen:
				refuses = true
			case expr.VerdictJump, expr.VerdictGoto:
				next = append(next, e.Chain)
			}
		case *expr.Reject, *expr.Queue, *expr.TProxy, *expr.SynProxy:
			refuses = true
		case *expr.Lookup:
			refuses = refuses || e.IsDestRegSet // a map of verdicts, which are not looked up
		case *expr.Target:
			refuses = refuses || !slices.Contains(harmless, e.Name)
		}
	}
	return refuses, next
}
