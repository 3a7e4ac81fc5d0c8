package runtime

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// No control here has a remedy: a runtime takes its configuration when it starts, and what it would do then to the containers of this
// node is not tried by anything here. What to change is said, by the names that each runtime has for it.
const byHand = "then restart the runtime, node after node: running containers go on, and what begins in that moment begins late"

// container runtimes for whom a sentence is written, with where they are configured.
func configFile(r *harden.RuntimeFact) string {
	if r.Name == harden.CRIO {
		return "/etc/crio/crio.conf.d"
	}
	return "/etc/containerd/config.toml"
}

// seccomp says what a pod that names no profile runs with. A kubelet names one for each container, "Unconfined" where its
// seccompDefault is off (kuberuntime/helpers.go, getSeccompProfile, 1.29 to 1.37), so that the runtime's own default for what is
// unset is for other clients only.
var seccomp = harden.Control{
	ID: "runtime-seccomp-default", Title: "A container whose pod names no seccomp profile gets the runtime's", Severity: harden.Medium,
	Why: harden.Msg("What a pod leaves open the kubelet decides: it asks the runtime for no confinement, or for the runtime's default profile where its seccompDefault is on. " +
		"containerd has a setting for profiles that are unset, unset_seccomp_profile, which confines no pod: a kubelet leaves nothing unset. " +
		"Where CRI-O is given a file for its default profile, what that file allows is what every pod may do."),
	Refs:    harden.Refs{CIS: []string{"4.2.14", "5.6.2"}, NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsSeccomp}},
	Needs:   []harden.Need{harden.NeedRuntimeConfig, harden.NeedKubelet},
	Applies: hasKubelet,
	Assess: func(f *harden.Facts) harden.Verdict {
		r := f.Runtime
		on, kubelet := seccompDefault(f.Kubelet)
		profile := r.Evidence("unset_seccomp_profile", r.UnsetSeccomp)
		if r.Name == harden.CRIO {
			profile = r.Evidence("seccomp_profile", r.SeccompFile)
		}
		switch {
		case !on && r.UnsetSeccomp != "":
			return harden.Failed(harden.Msg("unset_seccomp_profile is set and confines no pod: the kubelet asks for no confinement where a pod names no profile; turn its seccompDefault on (control kubelet-seccomp-default)"), kubelet, profile)
		case !on:
			return harden.Failed(harden.Msg("nothing confines it: the kubelet asks the runtime for no confinement; turn its seccompDefault on (control kubelet-seccomp-default)"), kubelet, profile)
		case r.SeccompFile != "":
			return harden.NeedsPerson(harden.Msg("it gets what %s allows: see that this is no more than the profile that is built in", r.SeccompFile), kubelet, profile)
		}
		return harden.Passed(harden.Msg("it gets the profile that is built into %s", r), kubelet, profile)
	},
}

func hasKubelet(f *harden.Facts) (bool, harden.Message) {
	return f.Kubelet != nil, harden.Msg("no kubelet is set up on this node")
}

// seccompDefault is the kubelet's setting; what makes it a finding of its own is in the kubelet's area.
func seccompDefault(k *harden.KubeletFacts) (bool, harden.Evidence) {
	if flag := k.Flag("seccomp-default"); flag.Set {
		on, err := strconv.ParseBool(flag.Last())
		return on && err == nil, flag.Evidence("seccomp-default")
	}
	field := k.Field("seccompDefault")
	source := k.Config.Path
	if source == "" {
		source = "kubelet"
	}
	if !field.Set {
		return false, harden.Evidence{Source: source, Value: "seccompDefault is not set; the kubelet takes false"}
	}
	return field.Value == true, harden.Evidence{Source: source, Value: fmt.Sprintf("seccompDefault: %v", field.Value)}
}

var modules = harden.Control{
	ID: "runtime-apparmor-selinux", Title: "The runtime uses AppArmor or SELinux where the kernel has it", Severity: harden.Medium,
	Why: harden.Msg("AppArmor and SELinux hold even root in a container back from files and settings of the node, whatever a hole in the runtime lets through. " +
		"A runtime that was told not to use them confines no container by them, and pods that ask for a profile do not start. " +
		"containerd does not use AppArmor either where it does not find apparmor_parser, and says nothing of it."),
	Refs:  harden.Refs{NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsAppArmor}},
	Needs: []harden.Need{harden.NeedRuntimeConfig},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		m := f.Modules
		return m != nil && (m.AppArmor || m.SELinux), harden.Msg("this kernel confines by neither AppArmor nor an enforcing SELinux")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		r, m := f.Runtime, f.Modules
		var seen []harden.Evidence
		if m.AppArmor {
			told := r.Evidence("disable_apparmor", !r.AppArmor)
			if r.Name == harden.CRIO && !r.AppArmor {
				told = r.Evidence("apparmor_profile", "unconfined")
			}
			seen = append(seen, harden.Evidence{Source: "/sys/module/apparmor/parameters/enabled", Value: "Y"}, told)
		}
		if m.SELinux {
			name := "enable_selinux"
			if r.Name == harden.CRIO {
				name = "selinux"
			}
			seen = append(seen, harden.Evidence{Source: "/sys/fs/selinux/enforce", Value: "1"}, r.Evidence(name, r.SELinux))
		}
		switch {
		case m.AppArmor && !r.AppArmor:
			return harden.Failed(harden.Msg("AppArmor is on in the kernel and off in %s: take that out of %s, %s", r, configFile(r), byHand), seen...)
		case m.AppArmor && r.Name == harden.Containerd && !m.Parser:
			seen = append(seen, harden.Evidence{Source: "/sbin/apparmor_parser", Value: "it does not exist"})
			return harden.Failed(harden.Msg("AppArmor is on in the kernel, and containerd goes without it, as there is no /sbin/apparmor_parser: install it (package apparmor), %s", byHand), seen...)
		case m.SELinux && !r.SELinux:
			return harden.Failed(harden.Msg("SELinux enforces and %s does not use it: turn it on in %s, %s", r, configFile(r), byHand), seen...)
		}
		return harden.Passed(harden.Msg("%s uses what the kernel has", r), seen...)
	},
}

// streams: the kubelet hands a client the address of a stream by the runtime, which holds for one use and one minute
// (k8s.io/kubelet/pkg/cri/streaming), and passes the stream on itself: nobody but the kubelet of this node needs that port.
var streams = harden.Control{
	ID: "runtime-streams", Title: "The runtime's ports answer this node only", Severity: harden.Medium,
	Why: harden.Msg("Exec, attach and port-forward go through a server of the runtime's own, which knows no users: whoever has the address of a stream has the stream. " +
		"An address holds for one use and for one minute. The kubelet of this node alone asks there. " +
		"Off the loopback address and without TLS, what is typed in containers, and each address, can be read on the network."),
	Refs:  harden.Refs{NSA: []string{"Network separation and hardening"}, Seed: []string{seedRuntime}, Docs: []string{docsRuntimes}},
	Needs: []harden.Need{harden.NeedRuntimeConfig, harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		r := f.Runtime
		var seen []harden.Evidence
		var far []string
		for _, l := range f.Listeners {
			if name := path.Base(l.Process); l.PID == 0 || name != harden.Containerd && name != "crio" {
				continue
			}
			seen = append(seen, l.Evidence())
			if !l.Local() {
				far = append(far, l.String())
			}
		}
		if s := r.Streams; s != nil {
			seen = append([]harden.Evidence{r.Evidence("stream_server_address", s.Address), r.Evidence("enable_tls_streaming", s.TLS)}, seen...)
			switch {
			case local(s.Address):
			case s.TLS:
				return harden.NeedsPerson(harden.Msg("others reach the streams of %s, over TLS: the kubelet of this node alone needs them, so set stream_server_address to 127.0.0.1 in %s, %s", r, configFile(r), byHand), seen...)
			default:
				return harden.Failed(harden.Msg("others reach the streams of %s, which are not encrypted: set stream_server_address to 127.0.0.1 in %s, %s", r, configFile(r), byHand), seen...)
			}
		} else {
			seen = append(seen, harden.Evidence{Source: r.String(), Value: "does not tell over CRI where its streams are served; what it listens on was looked at"})
		}
		switch {
		case len(far) > 0:
			return harden.NeedsPerson(harden.Msg("%s listens for others at %s: its streams, its metrics or its own API; bind what need not be there to 127.0.0.1 in %s, %s", r, strings.Join(slices.Compact(far), ", "), configFile(r), byHand), seen...)
		case r.Streams == nil && len(seen) == 1:
			return harden.NeedsPerson(harden.Msg("nothing was seen to listen for %s, although streams are served somewhere: find out where, with \"ss -ltnp\"", r), seen...)
		}
		return harden.Passed(harden.Msg("%s listens on the loopback address only", r), seen...)
	},
}

// local says that an address, or a name, is the loopback's. None at all is the node's own address.
func local(address string) bool {
	a, err := netip.ParseAddr(address)
	return address == "localhost" || err == nil && a.IsLoopback()
}

var registries = harden.Control{
	ID: "runtime-registries", Title: "Every registry proves itself to the runtime", Severity: harden.High,
	Why: harden.Msg("Whoever can put himself between a node and a registry that is asked over plain HTTP, or whose certificate is not checked, decides what runs in its containers. " +
		"An image that is named by a tag is then what he says it is. A registry of one's own can be given a certificate of one's own CA."),
	Refs:  harden.Refs{NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsRuntimes}},
	Needs: []harden.Need{harden.NeedRegistries},
	Assess: func(f *harden.Facts) harden.Verdict {
		found := f.Registries
		switch {
		case len(found.Unverified) > 0:
			return harden.Failed(harden.Msg("%d registries or mirrors need not prove themselves: give them certificates, name their CA by \"ca\" in the registry's hosts.toml, and take these settings out", len(found.Unverified)), found.Unverified...)
		case found.Changed:
			return harden.NeedsPerson(harden.Msg("its files trust no registry without proof, but it has not read them since they were changed: restart it, and look again"), found.Looked...)
		}
		return harden.Passed(harden.Msg("no registry is trusted without proof"), found.Looked...)
	},
}

var cgroups = harden.Control{
	ID: "runtime-writable-cgroups", Title: "Containers cannot change their own control groups", Severity: harden.Medium,
	Why: harden.Msg("With cgroup_writable, containers that are not privileged write below /sys/fs/cgroup: they can divide what they were given, and freeze or starve what shares it. " +
		"Programs that manage containers or services of their own need it, in a handler that RuntimeClass gives to them alone."),
	Refs:  harden.Refs{NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsRuntimes}},
	Needs: []harden.Need{harden.NeedRuntimeConfig},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Runtime.Name == harden.Containerd, harden.Msg("containerd alone has such a setting")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		for _, name := range f.Runtime.WritableCgroups {
			seen = append(seen, f.Runtime.Evidence("runtimes."+name+".cgroup_writable", true))
		}
		if len(seen) > 0 {
			return harden.NeedsPerson(harden.Msg("handlers whose containers can: %s; see that only those pods get them that need it", strings.Join(f.Runtime.WritableCgroups, ", ")), seen...)
		}
		return harden.Passed(harden.Msg("no handler lets them"), harden.Evidence{Source: f.Runtime.String() + ", as it runs", Value: "no handler has cgroup_writable"})
	},
}
