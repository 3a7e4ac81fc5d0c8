package apiserver

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	kubeletCAFlag = "kubelet-certificate-authority"
	preferredFlag = "kubelet-preferred-address-types"
	clusterCA     = pki + "ca.crt"
)

var kubeletCA = harden.Control{
	ID:    "apiserver-kubelet-certificate-authority",
	Title: "The API server checks the certificates of kubelets",
	Why: harden.Msg("The API server opens shells in pods and fetches logs through kubelets. Without a CA to check them with it takes whoever answers at a node's address for the kubelet, " +
		"and hands over what passes through: commands, output, logs. " +
		"With the CA every kubelet needs a serving certificate of it; one that has signed its own, as all do unless told otherwise, is refused."),
	Refs: harden.Refs{
		CIS: []string{"1.2.5"}, NSA: []string{nsaTLS}, Seed: []string{seedTLS},
		Docs: []string{flagsPage, "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/#kubelet-serving-certs"},
	},
	Severity: harden.Medium, Component: harden.APIServer, Flags: []string{kubeletCAFlag},
	Needs: needs, Applies: applies, Assess: assessKubeletCA,
	Remedies: []harden.Remedy{{
		ID: "cluster-ca", Title: harden.Msg("Check them with the cluster's CA"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("The API server of this node restarts once. From then on it talks only to kubelets whose certificate is of the cluster's CA and names their address."),
		Breaks: []harden.Message{
			harden.Msg("Logs, exec, attach, port-forward and top fail for nodes whose kubelet has another certificate, or gets none at a renewal: \"x509: certificate signed by unknown authority\". Who approves the kubelets' requests has to stay."),
			harden.Msg("The same for a node that joins later, until its request is approved; and it asks to be looked at again when nodes get other addresses."),
		},
		Preconditions: kubeletsProveThemselves,
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			if _, mounted := f.Component(harden.APIServer).HostPath(clusterCA); !mounted {
				return nil, fmt.Errorf("%s is not mounted into the API server; mount it in the manifest by hand first", clusterCA)
			}
			return []harden.Intent{harden.SetFlag(harden.APIServer, kubeletCAFlag, clusterCA)}, nil
		},
		Proofs: kubeletProofs,
	}},
}

func assessKubeletCA(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.APIServer).Flag(kubeletCAFlag)
	seen := flag.Evidence(kubeletCAFlag)
	if flag.Last() == "" {
		return harden.Failed(harden.Msg("whoever answers at a node's address is taken for its kubelet"), seen)
	}
	file, v, ok := configFile(f, flag, seen)
	if !ok {
		return v
	}
	// Of another CA nothing is known here: the kubelets were looked at with the cluster's.
	if refused := unproven(f, false); file.Path == clusterCA && len(refused) > 0 {
		return harden.NeedsPerson(harden.Msg("kubelets are checked, and %d of them do not pass: logs and exec fail there", len(refused)), append([]harden.Evidence{seen}, refused...)...)
	}
	return harden.Passed(harden.Msg("kubelets are checked with %s", file.Path), seen)
}

// unproven are the kubelets that the API server would refuse with the cluster's CA, and, where wanted, those that could not be
// looked at.
func unproven(f *harden.Facts, unread bool) []harden.Evidence {
	if f.Cluster == nil {
		return nil
	}
	prefer := f.Component(harden.APIServer).Flag(preferredFlag).List()
	if len(prefer) == 0 {
		prefer = []string{"Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"}
	}
	var out []harden.Evidence
	for _, k := range f.Cluster.KubeletServing {
		why := refusal(k, prefer)
		if !k.Unread.IsZero() {
			if !unread {
				continue
			}
			why = harden.Msg("it could not be looked at: %s", k.Unread)
		}
		if !why.IsZero() {
			out = append(out, harden.Evidence{Source: "kubelet of " + k.Node, Value: why.String()})
		}
	}
	return out
}

// refusal is why the API server would refuse a kubelet's certificate; zero: it would not.
func refusal(k harden.KubeletServingFact, prefer []string) harden.Message {
	if !k.Problem.IsZero() {
		return k.Problem
	}
	for _, kind := range prefer {
		i := slices.IndexFunc(k.NodeAddresses, func(a harden.NodeAddress) bool { return a.Type == kind })
		if i < 0 {
			continue
		}
		at := k.NodeAddresses[i].Address
		if k.For(at) {
			return harden.Message{}
		}
		return harden.Msg("it is asked at %s, and its certificate is for %s", at, strings.Join(slices.Concat(k.DNSNames, k.Addresses), ", "))
	}
	return harden.Msg("its Node has no address of the types %s", strings.Join(prefer, ", "))
}

func kubeletsProveThemselves(f *harden.Facts, _ harden.Values) []harden.Precondition {
	pre := harden.Precondition{
		ID: "kubelets-prove-themselves", Title: harden.Msg("every kubelet has a certificate of the cluster's CA for its address"),
		State: harden.PreconditionUnknown, Message: harden.Msg("the kubelets were not looked at"),
	}
	if why, missing := f.Missing[harden.NeedKubelets]; missing || f.Cluster == nil {
		if !why.IsZero() {
			pre.Message = why
		}
		return []harden.Precondition{pre}
	}
	if pre.Evidence = unproven(f, true); len(pre.Evidence) > 0 {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("%d of %d have not: let them ask the cluster for one (control kubelet-serving-certificate), and delete Nodes that are gone", len(pre.Evidence), len(f.Cluster.KubeletServing))
		return []harden.Precondition{pre}
	}
	if len(f.Cluster.KubeletServing) > 0 {
		pre.State, pre.Message = harden.Met, harden.Msg("all %d have", len(f.Cluster.KubeletServing))
	}
	return []harden.Precondition{pre}
}

// kubeletProofs ask every kubelet through the API server: that fails where it refuses the certificate.
func kubeletProofs(f *harden.Facts, _ harden.Values) []harden.Proof {
	if f.Cluster == nil {
		return nil
	}
	var out []harden.Proof
	for _, k := range f.Cluster.KubeletServing {
		out = append(out, harden.Proof{Control: "apiserver-kubelet-certificate-authority", Kind: harden.ProofAdmin, Path: "/api/v1/nodes/" + k.Node + "/proxy/healthz", Status: 200})
	}
	return out
}
