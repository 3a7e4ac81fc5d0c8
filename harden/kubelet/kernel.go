package kubelet

import (
	"fmt"
	"path"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// SysctlFile keeps the kernel settings that the kubelet insists on.
const SysctlFile = "/etc/sysctl.d/90-kubelet.conf"

// kernelSettings are those that the kubelet compares at its start. Where the kernel starts with the same value, no file
// has to keep it.
var kernelSettings = []struct {
	key, value string
	byKernel   bool
}{
	{"vm.overcommit_memory", "1", false},
	{"vm.panic_on_oom", "0", true},
	{"kernel.panic", "10", false},
	{"kernel.panic_on_oops", "1", false},
	{"kernel.keys.root_maxkeys", "1000000", true},
	{"kernel.keys.root_maxbytes", "25000000", true},
}

var protectKernelField = setting{
	id: "kubelet-protect-kernel-defaults", title: "The kubelet refuses to change kernel settings", severity: harden.Medium,
	why: harden.Msg("The kubelet wants six kernel settings, and changes them silently where they differ. Told to protect them, it refuses to start instead, so that the node's own files stay in charge. " +
		"The trap: a kubelet that has run before has already set them, so everything looks right until the next boot. They must be kept by a file first."),
	refs: harden.Refs{STIG: []string{"V-242434"}, Docs: []string{docsConfig}},

	field: "protectKernelDefaults", flag: "protect-kernel-defaults", preset: false,
	judge: isBool(true,
		harden.Msg("the kubelet insists on the node's kernel settings, and files keep them"),
		harden.Msg("the kubelet changes kernel settings where they differ from what it wants")),
	want: always(true),
	remedy: harden.Remedy{
		ID: "protect", Title: harden.Msg("Keep the kernel settings in a file, then protect them"), Risk: harden.RiskNode,
		Impact: harden.Msg("six kernel settings are written to %s and loaded, then the kubelet restarts once", SysctlFile),
		Breaks: []harden.Message{
			harden.Msg("A file loaded later than %s that sets one of them otherwise: after the next boot the kubelet ends with \"invalid kernel flag\" and the node stays NotReady.", SysctlFile),
			harden.Msg("vm.overcommit_memory=1, kernel.panic=10 and kernel.panic_on_oops=1 hold for the whole machine: it reboots 10 seconds after a kernel panic. A running kubelet has set them already."),
		},
		// Other nodes have no such file: the field must not reach them through the cluster's kubelet-config.
		NodeOnly: true,
		Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
			return []harden.Precondition{noLaterFile(f)}
		},
	},
}

func protectKernelDefaults() harden.Control {
	c := protectKernelField.control()
	c.Needs = append(c.Needs, harden.NeedSysctls)
	field := c.Assess
	c.Assess = func(f *harden.Facts) harden.Verdict {
		v := field(f)
		missing, evidence := unkept(f)
		v.Evidence = append(v.Evidence, evidence...)
		if v.Status != harden.StatusPass {
			return v
		}
		switch live := differing(f); {
		case len(missing) > 0:
			return harden.Failed(harden.Msg("no file keeps %s: after the next boot the kubelet will not start", strings.Join(missing, ", ")), v.Evidence...)
		case len(live) > 0:
			return harden.Failed(harden.Msg("%s: not as the kubelet wants them now, though files keep them; it will not start again", strings.Join(live, ", ")), v.Evidence...)
		}
		return v
	}
	r := &c.Remedies[0]
	fieldIntents := r.Intents
	r.Intents = func(f *harden.Facts, values harden.Values) ([]harden.Intent, error) {
		fieldOK := field(f).Status == harden.StatusPass
		if missing, _ := unkept(f); fieldOK && len(missing) == 0 {
			return nil, fmt.Errorf("the files are right and only not loaded: run \"sysctl --system\"")
		}
		var out []harden.Intent
		for _, s := range kernelSettings {
			out = append(out, harden.Sysctl(SysctlFile, s.key, s.value))
		}
		if fieldOK {
			return out, nil
		}
		more, err := fieldIntents(f, values)
		return append(out, more...), err
	}
	return c
}

// unkept are the settings that will be otherwise after the next boot, with what was seen of all of them. SysctlConf keeps nothing, as
// nobody reads it then, and spoils what another file keeps, as "sysctl --system" reads it last.
func unkept(f *harden.Facts) (missing []string, evidence []harden.Evidence) {
	for _, want := range kernelSettings {
		kept, seen := want.byKernel, harden.Evidence{Source: "sysctl.d", Value: "no file sets " + want.key}
		for _, s := range f.SysctlFiles {
			if sysctlKey(s.Key) != want.key {
				continue
			}
			right := strings.TrimSpace(s.Value) == want.value
			if s.Path == harden.SysctlConf {
				if kept && right {
					continue
				}
				kept = false
				seen = harden.Evidence{Source: s.Path, Value: want.key + " = " + strings.TrimSpace(s.Value) + "; not read at boot"}
				continue
			}
			kept, seen = right, harden.Evidence{Source: s.Path, Value: want.key + " = " + strings.TrimSpace(s.Value)}
		}
		if !kept {
			missing = append(missing, want.key+"="+want.value)
		}
		if live, ok := f.Sysctls[want.key]; ok {
			seen.Value += "; now " + strings.TrimSpace(live)
		}
		evidence = append(evidence, seen)
	}
	return missing, evidence
}

// differing are the settings that are otherwise now.
func differing(f *harden.Facts) []string {
	var out []string
	for _, want := range kernelSettings {
		if live, ok := f.Sysctls[want.key]; ok && strings.TrimSpace(live) != want.value {
			out = append(out, want.key+"="+strings.TrimSpace(live))
		}
	}
	return out
}

func noLaterFile(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "no-later-sysctl-file", Title: harden.Msg("no file loaded after %s sets them otherwise", SysctlFile), State: harden.Met}
	for _, want := range kernelSettings {
		last := harden.Evidence{}
		for _, s := range f.SysctlFiles {
			if sysctlKey(s.Key) == want.key && loadedLater(s.Path) {
				last = harden.Evidence{}
				if strings.TrimSpace(s.Value) != want.value {
					last = harden.Evidence{Source: s.Path, Value: want.key + " = " + strings.TrimSpace(s.Value)}
				}
			}
		}
		if last.Source != "" {
			p.State = harden.Unmet
			p.Evidence = append(p.Evidence, last)
			p.Message = harden.Msg("%s sets %s; make it %s there, or take the line out", last.Source, last.Value, want.value)
		}
	}
	return p
}

// loadedLater: files of all sysctl.d directories are loaded by their base names, and /etc/sysctl.conf, whose name sorts
// so too, after them.
func loadedLater(file string) bool { return path.Base(file) > path.Base(SysctlFile) }

// sysctlKey is the dotted form of a key, without the dash that lets it fail.
func sysctlKey(key string) string {
	key = strings.TrimPrefix(strings.TrimSpace(key), "-")
	if strings.Contains(key, "/") && !strings.Contains(key, ".") {
		key = strings.ReplaceAll(key, "/", ".")
	}
	return key
}
