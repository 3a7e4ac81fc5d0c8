package networkpolicy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubectl-harden.io/kubectl-harden/harden"
)

var defaultDenyIngress = harden.Control{
	ID: "networkpolicy-default-deny-ingress", Title: "Namespaces accept only the traffic that is allowed", Severity: harden.Medium,
	Why: harden.Msg("In a namespace without a default deny, any pod of the cluster reaches any port of its pods: one taken-over container can talk to every database. " +
		"With a policy that selects all pods and allows nothing, each connection needs an allow. " +
		"The allows made here keep what works by design (pods of the same namespace, what Services expose, calls of the API server) and close the rest."),
	Refs:    harden.Refs{CIS: []string{"5.3.2"}, NSA: []string{nsaNetwork}, Seed: []string{seedNetwork}, Docs: []string{docsPolicies}},
	Needs:   []harden.Need{harden.NeedWorkloads},
	Applies: applies,
	Assess:  assessDeny,
	Remedies: []harden.Remedy{{
		ID: "deny-and-allow", Title: harden.Msg("Deny ingress by default, and allow what the namespace serves"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("each namespace gets %s, %s and one allow for each Service; other connections from outside the namespace time out", denyName, sameName),
		Breaks: []harden.Message{
			harden.Msg("Ports that no Service exposes, for clients in other namespaces: connections time out. Those that pods declare are listed in the preconditions; undeclared ones cannot be known."),
			harden.Msg("Monitoring that scrapes pods from another namespace: targets go down with \"context deadline exceeded\". Add a policy that allows the monitoring namespace."),
			harden.Msg("Clients on a node's address: pods of the host's network (some ingress controllers and agents), host ports, and kubectl get --raw through services/proxy. A ClusterIP Service is open to pods only. The kubelet's probes, logs, exec and port-forward go on."),
			harden.Msg("ClusterIP Services with external IPs, and Services made later: they are closed to other namespaces until this is applied again or a policy allows them."),
		},
		Options: []harden.Option{{
			Name: "namespaces", Title: harden.Msg("namespaces; empty: all that lack a default deny"), Kind: harden.OptionList, Check: namespaceNames,
		}},
		Preconditions: preconditions,
		Intents:       intents,
	}},
}

func assessDeny(f *harden.Facts) harden.Verdict {
	by := map[standing][]string{}
	var evidence, left []harden.Evidence
	judged := 0
	for _, n := range namespaces(f.Cluster) {
		by[n.standing] = append(by[n.standing], n.name)
		e := harden.Evidence{Source: "namespace " + n.name, Value: n.seen()}
		if n.standing == leftOut {
			left = append(left, e)
			continue
		}
		judged++
		evidence = append(evidence, e)
	}
	evidence = append(evidence, left...)
	switch {
	case len(by[lacking]) > 0:
		return harden.Failed(harden.Msg("%d of %d namespaces accept everything by default: %s; %d system namespaces are left out",
			len(by[lacking]), judged, some(by[lacking]), len(left)), evidence...)
	case len(by[outdated]) > 0:
		return harden.NeedsPerson(harden.Msg("all namespaces deny by default, but what these serve has changed since their allows were written: %s", some(by[outdated])), evidence...)
	case len(by[open]) > 0:
		return harden.NeedsPerson(harden.Msg("others' policies let everybody reach every pod of %s: a default deny changes nothing there", some(by[open])), evidence...)
	case judged == 0:
		return harden.Passed(harden.Msg("there are only system namespaces, and they are left out"), evidence...)
	}
	return harden.Passed(harden.Msg("all %d namespaces deny ingress by default; %d system namespaces are left out", judged, len(left)), evidence...)
}

// seen is what there is in a namespace, as evidence.
func (n *namespace) seen() string {
	if n.standing == leftOut {
		return "left out: " + n.why.String()
	}
	out := fmt.Sprintf("pods: %d, Services: %d, policies: %d", len(n.pods), len(n.services), len(n.policies))
	switch n.standing {
	case lacking:
		out = "no policy denies ingress by default; " + out
	case denying:
		out = "ingress is denied by default; " + out
	case outdated:
		out = "ingress is denied by default, and the allows are not what would be written now; " + out
	case open:
		out = n.why.String() + "; " + out
	}
	if host := hostWorkloads(n.pods); len(host) > 0 {
		out += "; on the host's network, out of reach of policies: " + strings.Join(host, ", ")
	}
	return out
}

func hostWorkloads(pods []harden.PodFact) []string {
	var out []string
	for _, p := range pods {
		if p.HostNetwork {
			out = append(out, workloadOf(p))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// some are the first names of a list that may be long; all of them are in the evidence.
func some(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}

// chosen are the namespaces to close. An error names one that cannot be.
func chosen(c *harden.ClusterFacts, v harden.Values) ([]*namespace, error) {
	all := namespaces(c)
	asked := list(v["namespaces"])
	var out []*namespace
	for _, n := range all {
		switch named := slices.Contains(asked, n.name); {
		case len(asked) == 0:
			if n.standing == lacking || n.standing == outdated {
				out = append(out, n)
			}
		case !named:
		case n.standing == leftOut:
			return nil, fmt.Errorf("%s is left out: %s", n.name, n.why)
		case n.standing == open:
			return nil, fmt.Errorf("%s: %s, and a default deny changes nothing there", n.name, n.why)
		case n.standing == denying && !slices.ContainsFunc(n.policies, func(p harden.PolicyFact) bool { return p.Ours && p.Name == denyName }):
			return nil, fmt.Errorf("%s denies by default already, by a policy of its own, and our allows would open it wider", n.name)
		default:
			out = append(out, n)
		}
	}
	for _, name := range asked {
		if !slices.ContainsFunc(all, func(n *namespace) bool { return n.name == name }) {
			return nil, fmt.Errorf("there is no namespace %s", name)
		}
	}
	return out, nil
}

func intents(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
	targets, err := chosen(f.Cluster, v)
	if err != nil {
		return nil, err
	}
	var out []harden.Intent
	for _, n := range targets {
		policies, err := n.desired(f.Cluster)
		if err != nil {
			return nil, err
		}
		for _, p := range policies {
			text, err := p.yaml()
			if err != nil {
				return nil, err
			}
			out = append(out, harden.PutObject(p.ref(), text))
		}
	}
	return out, nil
}

func namespaceNames(s string) error {
	for _, name := range list(s) {
		if len(validation.IsDNS1123Label(name)) > 0 {
			return fmt.Errorf("%q is not the name of a namespace", name)
		}
	}
	return nil
}

func list(s string) []string {
	var out []string
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
