package kubelet

import (
	"fmt"

	"kubectl-harden.io/kubectl-harden/harden"
)

var configFileMode = harden.Control{
	ID: "kubelet-config-file-mode", Title: "Only root reads and writes the kubelet's configuration file", Severity: harden.Medium,
	Why: harden.Msg("Who may write this file decides who is let into the node's containers, and reading it tells an attacker what is open. " +
		"kubeadm writes it readable for everyone; the mode that you set survives its rewrites."),
	Refs:    harden.Refs{CIS: []string{"4.1.9"}, STIG: []string{"V-242456"}, Docs: []string{docsConfig}},
	Needs:   []harden.Need{harden.NeedKubelet},
	Applies: hasConfigFile,
	Assess: func(f *harden.Facts) harden.Verdict {
		c := f.Kubelet.Config
		seen := harden.Evidence{Source: c.Path, Value: fmt.Sprintf("mode %04o", c.State.Mode)}
		if c.State.Mode&^ownerOnly != 0 {
			return harden.Failed(harden.Msg("mode %04o lets others than root at it; %04o is wanted", c.State.Mode, ownerOnly), seen)
		}
		return harden.Passed(harden.Msg("mode %04o", c.State.Mode), seen)
	},
	Remedies: []harden.Remedy{{
		ID: "owner-only", Title: harden.Msg("Let root alone read and write it"), Risk: harden.RiskNode, NodeOnly: true,
		Impact: harden.Msg("nothing restarts: the kubelet runs as root"),
		Breaks: []harden.Message{
			harden.Msg("Scanners and agents that read the file without being root: \"permission denied\"."),
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			return []harden.Intent{harden.SetMode(f.Kubelet.Config.Path, ownerOnly)}, nil
		},
	}},
}

const ownerOnly uint32 = 0o600

// configFileOwner has no remedy: a file of the kubelet's that root does not own was laid down by something else, and
// that would give it away again.
var configFileOwner = harden.Control{
	ID: "kubelet-config-file-owner", Title: "The kubelet's configuration file belongs to root", Severity: harden.Medium,
	Why: harden.Msg("The owner of a file can change its mode and its content, whatever the mode says now. " +
		"An owner other than root can open the kubelet to everyone."),
	Refs:    harden.Refs{CIS: []string{"4.1.10"}, STIG: []string{"V-242457"}, Docs: []string{docsConfig}},
	Needs:   []harden.Need{harden.NeedKubelet},
	Applies: hasConfigFile,
	Assess: func(f *harden.Facts) harden.Verdict {
		c := f.Kubelet.Config
		seen := harden.Evidence{Source: c.Path, Value: fmt.Sprintf("owner %d:%d", c.State.UID, c.State.GID)}
		if c.State.UID != 0 || c.State.GID != 0 {
			return harden.Failed(harden.Msg("it belongs to %d:%d; find out what wrote it, then: chown root:root %s", c.State.UID, c.State.GID, c.Path), seen)
		}
		return harden.Passed(harden.Msg("it belongs to root"), seen)
	},
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
