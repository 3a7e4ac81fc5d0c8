package kubelet

import (
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// removedFlags are flags of older kubelets, with the first minor that refuses to start with them (flag sets of 1.29 to 1.37
// compared).
var removedFlags = map[string]int{
	"container-runtime": 27, "dynamic-config-dir": 24, "network-plugin": 24, "cni-conf-dir": 24, "cni-bin-dir": 24, "cni-cache-dir": 24,
	"azure-container-registry-config": 30,
	"iptables-drop-bit":               31, "iptables-masquerade-bit": 31, "keep-terminated-pod-volumes": 31,
	"cloud-config": 34, "register-schedulable": 34,
	sandboxImage:                      35,
	"application-metrics-count-limit": 37, "boot-id-file": 37, "container-hints": 37, "containerd": 37, "containerd-namespace": 37,
	"enable-load-reader": 37, "event-storage-age-limit": 37, "event-storage-event-limit": 37, "global-housekeeping-interval": 37,
	"log-cadvisor-usage": 37, "machine-id-file": 37, "storage-driver-user": 37, "storage-driver-password": 37, "storage-driver-host": 37,
	"storage-driver-db": 37, "storage-driver-table": 37, "storage-driver-secure": 37, "storage-driver-buffer-duration": 37,
}

// sandboxImage is written by kubeadm up to 1.34 into its own environment file, and taken out of it when it upgrades the node to 1.35.
// Anywhere else it stays.
const (
	sandboxImage = "pod-infra-container-image"
	kubeadmFlags = "/var/lib/kubelet/kubeadm-flags.env"
)

// kubeadmsOwn are the files in which a flag is kubeadm's to remove.
func kubeadmsOwn(k *harden.KubeletFacts, name string) []string {
	if name != sandboxImage || k.Version.AtLeast(1, 35) {
		return nil
	}
	return []string{kubeadmFlags}
}

// elsewhere says that a flag stands in other places than those.
func elsewhere(k *harden.KubeletFacts, name string, own []string) bool {
	n := setting{flag: name}.count(patches.ParseArgs(k.Args))
	for _, e := range k.EnvFiles {
		if !slices.Contains(own, e.File.Path) {
			continue
		}
		if flags, err := patches.EnvFlags(e.File.State.Data, e.Variable); err == nil {
			n -= setting{flag: name}.count(flags)
		}
	}
	return n > 0
}

// removedLater are the flags of the unit or of the process that the newest kubelet here refuses.
func removedLater(k *harden.KubeletFacts) []string {
	var out []string
	for _, args := range [][]string{k.Args, processArgs(k)} {
		for _, flag := range patches.ParseArgs(args) {
			minor, ok := removedFlags[flag.Name]
			if !ok || minor > harden.NewestSupported.Minor || slices.Contains(out, flag.Name) {
				continue
			}
			if own := kubeadmsOwn(k, flag.Name); len(own) > 0 && !elsewhere(k, flag.Name, own) {
				continue
			}
			out = append(out, flag.Name)
		}
	}
	slices.Sort(out)
	return out
}

func processArgs(k *harden.KubeletFacts) []string {
	if k.Process == nil {
		return nil
	}
	return k.Process.Args
}

var removed = harden.Control{
	ID: "kubelet-removed-flags", Title: "No flag is left behind that newer kubelets refuse", Severity: harden.Medium,
	Why: harden.Msg("A kubelet that is started with a flag it does not know ends at once, and systemd starts it again every ten seconds. " +
		"Flags that an older version accepted show up so in the middle of an upgrade, node by node."),
	Refs:  harden.Refs{STIG: []string{"V-242399"}, Docs: []string{"https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/"}},
	Needs: []harden.Need{harden.NeedKubelet}, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		k := f.Kubelet
		found := removedLater(k)
		if len(found) == 0 {
			return harden.Passed(harden.Msg("no flag is in the way of an upgrade up to %s", harden.NewestSupported), harden.Evidence{
				Source: "command line of the kubelet", Value: fmt.Sprintf("%d flags looked at", len(patches.ParseArgs(k.Args))),
			})
		}
		var seen []harden.Evidence
		first := found[0]
		for _, name := range found {
			seen = append(seen, flagSeen(k, name)...)
			if removedFlags[name] < removedFlags[first] {
				first = name
			}
		}
		return harden.Failed(harden.Msg("kubelet 1.%d and newer will not start with --%s", removedFlags[first], first), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "remove", Title: harden.Msg("Take the flags out of the environment files"), Risk: harden.RiskWorkloads, NodeOnly: true,
		Impact: harden.Msg("the kubelet restarts once, without flags that tune what newer versions do not have any more"),
		Breaks: []harden.Message{
			harden.Msg("What a flag still did in this version: cloud-config configures an in-tree cloud provider, iptables bits and storage-driver flags tune packet marks and cAdvisor's export, and pod-infra-container-image keeps an image from being cleaned away that the container runtime has to be told of instead. Look each one up first."),
		},
		Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
			return []harden.Precondition{decodes(f.Kubelet)}
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, name := range removedLater(f.Kubelet) {
				intents, err := setting{flag: name}.envRemovals(f.Kubelet, kubeadmsOwn(f.Kubelet, name)...)
				if err != nil {
					return nil, err
				}
				out = append(out, intents...)
			}
			return out, nil
		},
	}},
}
