package kubelet

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// running says whether what is written is what runs. While it is not, verdicts on the files say little.
var running = harden.Control{
	ID: "kubelet-running-configuration", Title: "The kubelet runs what its files say", Severity: harden.High,
	Why: harden.Msg("The kubelet reads its configuration and its flags when it starts. What was changed since waits for the next restart, and surprises whoever causes it. " +
		"Restart the kubelet when that is convenient; running containers go on."),
	Refs:  harden.Refs{Docs: []string{docsConfig}},
	Needs: []harden.Need{harden.NeedKubelet, harden.NeedFiles},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		switch {
		case f.Kubelet == nil:
			return applies(f)
		case f.Identity.Offline:
			return false, harden.Msg("nothing runs from this root")
		}
		return true, harden.Message{}
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		k := f.Kubelet
		if k.Process == nil {
			return harden.NeedsPerson(harden.Msg("no live kubelet was seen; find out whether it runs: systemctl status kubelet"), harden.Evidence{Source: k.Config.Path, Value: "configures the kubelet"})
		}
		process := harden.Evidence{Source: processName(k), Value: "started " + k.Process.Started.UTC().Format(time.RFC3339)}
		seen := append([]harden.Evidence{process}, otherFlags(k)...)
		newer := f.UnreadByKubelet()
		for _, s := range newer {
			seen = append(seen, harden.Evidence{Source: s.Path, Value: "written " + s.Modified.UTC().Format(time.RFC3339)})
		}
		switch {
		case len(seen) > 1+len(newer):
			return harden.Failed(harden.Msg("the running kubelet has other flags than its unit and environment files: it was started before they were changed, or by hand"), seen...)
		case len(newer) > 0:
			return harden.Failed(harden.Msg("%s was changed after the kubelet started: it has not read what is there now", newer[0].Path), seen...)
		}
		return harden.Passed(harden.Msg("process %d started after its files were written, with their flags", k.Process.PID), seen...)
	},
}

func processName(k *harden.KubeletFacts) string {
	return fmt.Sprintf("process %d (kubelet)", k.Process.PID)
}

// otherFlags are those on which the process and the unit with its environment files differ.
func otherFlags(k *harden.KubeletFacts) []harden.Evidence {
	if !k.OtherFlags() {
		return nil
	}
	var names []string
	for _, args := range [][]string{k.Process.Args, k.Args} {
		for _, flag := range patches.ParseArgs(args) {
			if !slices.Contains(names, flag.Name) {
				names = append(names, flag.Name)
			}
		}
	}
	slices.Sort(names)
	var out []harden.Evidence
	unit := *k
	unit.Process = nil
	for _, name := range names {
		live, file := k.Flag(name), unit.Flag(name)
		if !slices.Equal(live.Values, file.Values) {
			out = append(out, live.Evidence(name), file.Evidence(name))
		}
	}
	return out
}

var hostnameOverride = harden.Control{
	ID: "kubelet-hostname-override", Title: "The node is known by its own host name", Severity: harden.Low,
	Why: harden.Msg("A kubelet that calls itself otherwise than its machine makes certificates and logs harder to follow, and benchmarks ask for the flag to be absent. " +
		"It must not simply be taken away: the node's name would change, its certificate would not fit, and its pods would be lost with the old name."),
	Refs:  harden.Refs{CIS: []string{"4.2.7"}, STIG: []string{"V-242404"}, Docs: []string{docsConfig}},
	Needs: []harden.Need{harden.NeedKubelet}, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		flag, seen := f.Kubelet.Flag("hostname-override"), flagSeen(f.Kubelet, "hostname-override")
		if !flag.Set {
			return harden.Passed(harden.Msg("the node's name is its host name"), seen...)
		}
		return harden.NeedsPerson(harden.Msg("the node is called %s by a flag; leave it, and accept the deviation: without it the node would come back under another name. To be rid of it, drain the node, reset it and join it again", flag.Last()), seen...)
	},
}

var staticPods = harden.Control{
	ID: "kubelet-static-pods", Title: "Worker nodes run no static pods", Severity: harden.Medium,
	Fields: []string{staticPodPath.field},
	Why: harden.Msg("Whoever can write into the static pod directory of a node runs what they like there, past every admission plugin. " +
		"A control plane of kubeadm's lives by static pods; a worker does not need them."),
	Refs: harden.Refs{STIG: []string{"V-242397"}, Docs: []string{"https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"}},
	Needs: []harden.Need{
		harden.NeedKubelet, harden.NeedFiles, harden.NeedAPIServer, harden.NeedControllerManager, harden.NeedScheduler, harden.NeedEtcd,
	},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		if f.Kubelet != nil && len(f.Components) > 0 {
			return false, harden.Msg("this node's control plane is made of static pods")
		}
		return applies(f)
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		r := staticPodPath.read(f.Kubelet)
		dir, _ := r.value.(string)
		if dir == "" {
			return harden.Passed(harden.Msg("no static pod directory is set"), r.evidence...)
		}
		var pods []harden.Evidence
		for p, s := range f.Stats {
			if path.Dir(p) == dir && s.Kind != harden.StatDir && !strings.HasPrefix(path.Base(p), ".") {
				pods = append(pods, harden.Evidence{Source: p, Value: "is run as a pod"})
			}
		}
		slices.SortFunc(pods, func(a, b harden.Evidence) int { return strings.Compare(a.Source, b.Source) })
		if len(pods) > 0 {
			return harden.NeedsPerson(harden.Msg("%d files in %s are run as pods on this worker: run them as DaemonSets, or accept them", len(pods), dir), append(r.evidence, pods...)...)
		}
		return harden.NeedsPerson(harden.Msg("%s is set and holds nothing; kubeadm writes the setting on every node. To take it away, remove staticPodPath from %s after each \"kubeadm upgrade node\", and restart the kubelet", dir, f.Kubelet.Config.Path), r.evidence...)
	},
}

var staticPodPath = setting{field: "staticPodPath", flag: "pod-manifest-path", preset: "", zeroIsUnset: true}

var unsafeSysctls = harden.Control{
	ID: "kubelet-unsafe-sysctls", Title: "Pods may set no unsafe kernel settings", Severity: harden.Medium,
	Fields: []string{allowedUnsafeSysctls.field},
	Why: harden.Msg("Kernel settings that are not on the kubelet's safe list reach beyond a pod's namespaces, or let one pod starve the others. " +
		"The kubelet refuses pods that ask for them unless its configuration allows it by name."),
	Refs:  harden.Refs{NSA: []string{"Kubernetes Pod security"}, Docs: []string{"https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/"}},
	Needs: []harden.Need{harden.NeedKubelet}, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		r := allowedUnsafeSysctls.read(f.Kubelet)
		if !r.valid {
			return harden.Failed(harden.Msg("the kubelet does not accept this value for %s and will not start with it", allowedUnsafeSysctls.field), r.evidence...)
		}
		if list := r.value.([]string); len(list) > 0 {
			return harden.NeedsPerson(harden.Msg("pods may set %s: find out which ones do, and allow no more than they need", show(list)), r.evidence...)
		}
		return harden.Passed(harden.Msg("none is allowed"), r.evidence...)
	},
}

var allowedUnsafeSysctls = setting{field: "allowedUnsafeSysctls", flag: "allowed-unsafe-sysctls", preset: []string(nil), zeroIsUnset: true}

// cgroupV1Ends is the first minor whose kubelet refuses to start on cgroup v1 unless it is told otherwise.
const cgroupV1Ends = 35

var cgroupVersion = harden.Control{
	ID: "kubelet-cgroup-version", Title: "The node's control groups are ones that the next kubelet accepts", Severity: harden.Medium,
	Fields: []string{"failCgroupV1"},
	Why: harden.Msg("From 1.35 on the kubelet does not start on a machine with cgroup v1 unless failCgroupV1 is false. " +
		"Several limits that keep workloads apart work on cgroup v2 only. An upgrade is a bad moment to find out."),
	Refs:  harden.Refs{Docs: []string{"https://kubernetes.io/docs/concepts/architecture/cgroups/"}},
	Needs: []harden.Need{harden.NeedKubelet},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		switch {
		case f.Kubelet == nil:
			return applies(f)
		case f.Kubelet.CgroupVersion == 0:
			return false, harden.Msg("which control groups the machine has shows only where it runs")
		}
		return true, harden.Message{}
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		k := f.Kubelet
		seen := harden.Evidence{Source: "/sys/fs/cgroup", Value: fmt.Sprintf("cgroup v%d", k.CgroupVersion)}
		if k.CgroupVersion == 2 {
			return harden.Passed(harden.Msg("the machine has cgroup v2"), seen)
		}
		r := failCgroupV1.read(k)
		evidence := append([]harden.Evidence{seen}, r.evidence...)
		switch tolerated := r.from != fromDefault && r.value == false; {
		case tolerated:
			return harden.NeedsPerson(harden.Msg("the machine has cgroup v1, which the kubelet is told to accept for now: move to cgroup v2 (systemd.unified_cgroup_hierarchy=1 on the kernel's command line, and a reboot)"), evidence...)
		case k.Version.AtLeast(1, cgroupV1Ends):
			return harden.Failed(harden.Msg("the machine has cgroup v1, and kubelet %s does not start there", k.Version), evidence...)
		}
		return harden.NeedsPerson(harden.Msg("the machine has cgroup v1: the kubelet of 1.35 and newer will not start unless failCgroupV1 is false; move to cgroup v2 before the upgrade"), evidence...)
	},
}

var failCgroupV1 = setting{field: "failCgroupV1", flag: "fail-cgroupv1", preset: false}
