package kubelet

import (
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

var configFileMode = harden.Control{
	ID: "kubelet-config-file-mode", Title: "Only root reads and writes the kubelet's configuration file", Severity: harden.Medium,
	Why: harden.Msg("Who may write this file, or a drop-in over it, decides who is let into the node's containers, and reading it tells an attacker what is open. " +
		"kubeadm writes it readable for everyone; the mode that you set survives its rewrites."),
	Refs:    harden.Refs{CIS: []string{"4.1.9"}, STIG: []string{"V-242456"}, Docs: []string{docsConfig}},
	Needs:   []harden.Need{harden.NeedKubelet},
	Applies: hasConfigFile,
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		open := filterFiles(f.Kubelet, openToOthers)
		for _, c := range configFiles(f.Kubelet) {
			seen = append(seen, harden.Evidence{Source: c.Path, Value: fmt.Sprintf("mode %04o", c.State.Mode)})
		}
		if len(open) > 0 {
			return harden.Failed(harden.Msg("mode %04o lets others than root at %s; %04o is wanted", open[0].State.Mode, open[0].Path, ownerOnly), seen...)
		}
		return harden.Passed(harden.Msg("mode %04o", f.Kubelet.Config.State.Mode), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "owner-only", Title: harden.Msg("Let root alone read and write it"), Risk: harden.RiskNode, NodeOnly: true,
		Impact: harden.Msg("nothing restarts: the kubelet runs as root"),
		Breaks: []harden.Message{
			harden.Msg("Scanners and agents that read the file without being root: \"permission denied\"."),
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, c := range filterFiles(f.Kubelet, openToOthers) {
				out = append(out, harden.SetMode(c.Path, c.State.Mode&ownerOnly))
			}
			return out, nil
		},
	}},
}

const ownerOnly uint32 = 0o600

var configFileOwner = harden.Control{
	ID: "kubelet-config-file-owner", Title: "The kubelet's configuration file belongs to root", Severity: harden.Medium,
	Why: harden.Msg("The owner of a file can change its mode and its content, whatever the mode says now. " +
		"An owner other than root can open the kubelet to everyone."),
	Refs:    harden.Refs{CIS: []string{"4.1.10"}, STIG: []string{"V-242457"}, Docs: []string{docsConfig}},
	Needs:   []harden.Need{harden.NeedKubelet},
	Applies: hasConfigFile,
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		others := filterFiles(f.Kubelet, foreign)
		for _, c := range configFiles(f.Kubelet) {
			seen = append(seen, harden.Evidence{Source: c.Path, Value: fmt.Sprintf("owner %d:%d", c.State.UID, c.State.GID)})
		}
		if len(others) > 0 {
			return harden.Failed(harden.Msg("%s belongs to %d:%d; find out what wrote it", others[0].Path, others[0].State.UID, others[0].State.GID), seen...)
		}
		return harden.Passed(harden.Msg("it belongs to root"), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "to-root", Title: harden.Msg("Give it to root"), Risk: harden.RiskNode, NodeOnly: true,
		Impact: harden.Msg("nothing restarts: the kubelet runs as root"),
		Breaks: []harden.Message{
			harden.Msg("Whatever wrote the file under another user: it cannot change it any more, or gives it away again."),
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, c := range filterFiles(f.Kubelet, foreign) {
				out = append(out, harden.SetOwner(c.Path, 0, 0))
			}
			return out, nil
		},
	}},
}

// configFiles are the file and the drop-ins over it.
func configFiles(k *harden.KubeletFacts) []harden.FileFact {
	return append([]harden.FileFact{k.Config}, k.DropIns...)
}

func openToOthers(f harden.FileFact) bool { return f.State.Mode&^ownerOnly != 0 }

func foreign(f harden.FileFact) bool { return f.State.UID != 0 || f.State.GID != 0 }

func filterFiles(k *harden.KubeletFacts, keep func(harden.FileFact) bool) []harden.FileFact {
	return slices.DeleteFunc(configFiles(k), func(f harden.FileFact) bool { return !keep(f) })
}

func hasConfigFile(f *harden.Facts) (bool, harden.Message) {
	if ok, why := applies(f); !ok {
		return false, why
	}
	if !f.Kubelet.Config.State.Exists {
		return false, harden.Msg("the kubelet has no configuration file")
	}
	return true, harden.Message{}
}
