package ports

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// families are those of the addresses that others reach sockets at, as nftables calls them. A socket at :: takes IPv4 too, unless
// its program has forbidden that, which is not seen here and which none of Kubernetes' own does.
func families(ls []harden.ListenerFact) []string {
	var out []string
	for _, l := range outside(ls) {
		if (l.Address.Is4() || l.Address.IsUnspecified()) && !slices.Contains(out, "ip") {
			out = append(out, "ip")
		}
		if l.Address.Is6() && !slices.Contains(out, "ip6") {
			out = append(out, "ip6")
		}
	}
	slices.Sort(out)
	return out
}

// openFamilies are those at which others reach sockets by no chain that drops what no rule of it lets through.
func openFamilies(f *harden.Facts, ls []harden.ListenerFact) []string {
	return slices.DeleteFunc(families(ls), func(family string) bool {
		return slices.ContainsFunc(dropping(f), func(h harden.HookFact) bool { return h.Family == family || h.Family == "inet" })
	})
}

// called are families by the names that people have for them.
func called(families []string) string {
	var out []string
	for _, f := range families {
		out = append(out, map[string]string{"ip": "IPv4", "ip6": "IPv6"}[f])
	}
	return strings.Join(out, " and ")
}

// chains names the chains that drop, as far as they see packets of the node's addresses.
func chains(hooks []harden.HookFact) string {
	var out []string
	for _, h := range hooks {
		out = append(out, fmt.Sprintf("chain %s of table %s %s", h.Chain, h.Family, h.Table))
	}
	return strings.Join(out, " and ")
}
