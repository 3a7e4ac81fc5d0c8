package kubelet

import (
	"fmt"
	"path"
	"strconv"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// streamingUnused is the first minor whose kubelet reads streamingConnectionIdleTimeout and does nothing with it.
const streamingUnused = 36

var streamingConnectionIdleTimeout = setting{
	id: "kubelet-streaming-connection-idle-timeout", title: "A time limit for idle exec and port-forward connections is written down", severity: harden.Low,
	why: harden.Msg("An exec or port-forward that nobody uses any more holds a connection and a shell open. Benchmarks ask for a limit that is not 0. " +
		"kubeadm writes 0s, which the kubelet reads as its default of 4 hours but scanners read as no limit. " +
		"From 1.36 on the kubelet does nothing with the field: setting it is compliance only."),
	refs: harden.Refs{CIS: []string{"4.2.5"}, STIG: []string{"V-245541"}, Docs: []string{docsConfig}},

	field: "streamingConnectionIdleTimeout", flag: "streaming-connection-idle-timeout", preset: 4 * time.Hour, zeroIsUnset: true,
	judge: func(k *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		unused := k.Version.AtLeast(1, streamingUnused)
		d := r.value.(time.Duration)
		switch written := r.from != fromDefault && d > 0; {
		case k.Version.IsZero() && written:
			return harden.StatusPass, harden.Msg("idle connections end after %s; a kubelet from 1.36 on does nothing with it", d)
		case k.Version.IsZero() && r.from != fromFlag:
			return harden.StatusFail, harden.Msg("no limit is written down, and scanners report it; the kubelet's default is %s, and from 1.36 on it does nothing with the field", d)
		case written && unused:
			return harden.StatusPass, harden.Msg("the limit is %s (compliance only: kubelet %s does nothing with it)", d, k.Version)
		case written:
			return harden.StatusPass, harden.Msg("idle connections end after %s", d)
		case unused:
			return harden.StatusFail, harden.Msg("no limit is written down (compliance only: kubelet %s does nothing with it)", k.Version)
		case r.from == fromFlag:
			return harden.StatusFail, harden.Msg("idle connections never end")
		}
		return harden.StatusFail, harden.Msg("no limit is written down; the kubelet takes its default of %s, and scanners report it", d)
	},
	// As kubeadm writes it, so that its next upgrade leaves the line as it is.
	want: func(v harden.Values) any {
		d, _ := time.ParseDuration(v["timeout"])
		return d.String()
	},
	remedy: harden.Remedy{
		ID: "limit", Title: harden.Msg("Write a limit down"), Risk: harden.RiskNode,
		Impact: harden.Msg("the kubelet restarts once; from 1.36 on the field has no effect and this is compliance only"),
		Breaks: []harden.Message{
			harden.Msg("Up to 1.35, long exec and port-forward sessions without traffic end after the limit; the client sees its connection closed."),
		},
		Options: []harden.Option{{
			Name: "timeout", Title: harden.Msg("limit, such as 5m or 1h"), Kind: harden.OptionText, Default: "5m", Check: positiveDuration,
		}},
	},
}

var makeIPTablesUtilChains = setting{
	id: "kubelet-make-iptables-util-chains", title: "The kubelet keeps its iptables chains in order", severity: harden.Medium,
	why: harden.Msg("The kubelet makes a few iptables chains (KUBE-FIREWALL among them, which drops traffic that should not reach local services) that the rest of the node's rules rely on. " +
		"Without them, rules made by hand decide alone, and they seldom follow when the pod network changes."),
	refs: harden.Refs{CIS: []string{"4.2.6"}, Docs: []string{docsConfig}},

	field: "makeIPTablesUtilChains", flag: "make-iptables-util-chains", preset: true,
	judge: isBool(true,
		harden.Msg("the kubelet makes its iptables chains"),
		harden.Msg("the kubelet does not make its iptables chains")),
	want: always(true),
	remedy: harden.Remedy{
		ID: "make-chains", Title: harden.Msg("Let the kubelet make its chains"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Rules made by hand in chains named KUBE-FIREWALL or KUBE-KUBELET-CANARY. Network plugins that replace kube-proxy work with the chains present."),
		},
	},
}

var eventRecordQPS = setting{
	id: "kubelet-event-record-qps", title: "Events of the kubelet are neither lost nor unlimited", severity: harden.Low,
	why: harden.Msg("Events say what happened on the node, an attack's traces among it. Too low a rate drops them when it matters. 0 is worse: until 1.36 it meant the client's low default, " +
		"from 1.37 on it means no limit, so that one failing pod can flood the API server. The default of 50 a second is right for most nodes."),
	refs: harden.Refs{CIS: []string{"4.2.8"}, Docs: []string{docsConfig}},

	field: "eventRecordQPS", flag: "event-qps", preset: int64(50),
	judge: func(k *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		switch n := r.value.(int64); {
		case n == 0 && k.Version.AtLeast(1, 37):
			return harden.StatusFail, harden.Msg("0 means no limit for kubelet %s: one failing pod can flood the API server", k.Version)
		case n == 0 && k.Version.IsZero():
			return harden.StatusFail, harden.Msg("0 means the client's low default up to 1.36, and no limit from 1.37 on: one failing pod can flood the API server")
		case n == 0:
			return harden.StatusFail, harden.Msg("0 means the client's low default now, and no limit from 1.37 on")
		case n < 0:
			return harden.StatusFail, harden.Msg("%d is negative; the kubelet will not start with it", n)
		case n < fewEvents:
			return harden.StatusManual, harden.Msg("%d events a second may drop events when much happens; the default is 50", n)
		default:
			return harden.StatusPass, harden.Msg("up to %d events a second are recorded", n)
		}
	},
	want: number("qps"),
	remedy: harden.Remedy{
		ID: "limit", Title: harden.Msg("Record up to a sensible number of events a second"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Nothing on most nodes. A node with many failing pods sends more events to the API server and etcd than before."),
		},
		Options: []harden.Option{{
			Name: "qps", Title: harden.Msg("events a second; 0 is never written"), Kind: harden.OptionNumber, Default: "50", Unit: "events/s", Check: atLeast(1),
		}},
	},
}

// fewEvents was the kubelet's default until 1.26; a lower rate is a person's choice, and theirs to confirm.
const fewEvents = 5

var podPidsLimit = setting{
	id: "kubelet-pod-pids-limit", title: "The number of processes of a pod is limited", severity: harden.Medium,
	why: harden.Msg("A fork bomb in one container takes process ids from the whole node, until the kubelet and sshd cannot start a process either. " +
		"A limit for each pod keeps the damage in the pod that causes it."),
	refs: harden.Refs{CIS: []string{"4.2.13"}, Docs: []string{"https://kubernetes.io/docs/concepts/policy/pid-limiting/"}},

	field: "podPidsLimit", flag: "pod-max-pids", preset: int64(-1),
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if n := r.value.(int64); n > 0 {
			return harden.StatusPass, harden.Msg("a pod may have %d processes and threads", n)
		}
		return harden.StatusFail, harden.Msg("a pod may use up the process ids of the whole node")
	},
	want: number("limit"),
	remedy: harden.Remedy{
		ID: "limit", Title: harden.Msg("Limit the processes of a pod"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; pods that start from then on are limited, running ones are not"),
		Breaks: []harden.Message{
			harden.Msg("Pods with very many threads (large JVMs, databases, build runners): \"fork: Resource temporarily unavailable\" or \"unable to create native thread\", from their next start on."),
		},
		Options: []harden.Option{{
			Name: "limit", Title: harden.Msg("processes and threads in one pod"), Kind: harden.OptionNumber, Default: "4096", Unit: "processes", Check: atLeast(64),
		}},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{roomForPids(f.Kubelet, v["limit"])}
		},
	},
}

// roomForPids wants a limit of twice what the largest pod uses: what was seen is one moment, not the peak.
func roomForPids(k *harden.KubeletFacts, limit string) harden.Precondition {
	p := harden.Precondition{ID: "room-for-pids", Title: harden.Msg("the limit is twice what the largest pod of this node uses"), State: harden.Met}
	if k.PeakPids < 0 {
		p.State, p.Message = harden.PreconditionUnknown, harden.Msg("the number of processes in pods could not be read; look at pids.current below /sys/fs/cgroup/kubepods*")
		return p
	}
	p.Evidence = []harden.Evidence{{Source: "/sys/fs/cgroup/kubepods*", Value: fmt.Sprintf("%d processes in the largest pod", k.PeakPids)}}
	if n, err := strconv.Atoi(limit); err != nil || 2*k.PeakPids > n {
		p.State, p.Message = harden.Unmet, harden.Msg("a pod uses %d; take a limit of %d or more with --set kubelet-pod-pids-limit.limit=%d", k.PeakPids, 2*k.PeakPids, 2*k.PeakPids)
	}
	return p
}

var seccompDefault = setting{
	id: "kubelet-seccomp-default", title: "Containers get the runtime's seccomp profile by default", severity: harden.Medium,
	why: harden.Msg("The container runtime's seccomp profile blocks some dozens of system calls that containers hardly ever need and that kernel exploits like to use. " +
		"A pod that names no profile runs without one unless the kubelet makes RuntimeDefault the default. Pod Security's restricted level still wants the field in the pod."),
	refs: harden.Refs{CIS: []string{"4.2.14"}, NSA: []string{"Kubernetes Pod security"}, Docs: []string{"https://kubernetes.io/docs/tutorials/security/seccomp/"}},

	field: "seccompDefault", flag: "seccomp-default", preset: false,
	judge: isBool(true,
		harden.Msg("containers without a profile of their own run with RuntimeDefault"),
		harden.Msg("containers without a profile of their own run unconfined")),
	want: always(true),
	remedy: harden.Remedy{
		ID: "runtime-default", Title: harden.Msg("Make RuntimeDefault the default"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; containers made from then on are confined, running ones are not"),
		Breaks: []harden.Message{
			harden.Msg("Workloads that need blocked system calls (perf, userfaultfd, nested containers, some debuggers): \"Operation not permitted\", from their next start on. Give such pods seccompProfile Unconfined or a profile of their own."),
		},
	},
}

// number is a remedy's value that an option of kind number decides; the option was checked before.
func number(option string) func(harden.Values) any {
	return func(v harden.Values) any {
		n, _ := strconv.Atoi(v[option])
		return n
	}
}

func atLeast(least int) func(string) error {
	return func(s string) error {
		if n, err := strconv.Atoi(s); err != nil || n < least {
			return fmt.Errorf("%s is less than %d", s, least)
		}
		return nil
	}
}

func positiveDuration(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration above 0, such as 5m", s)
	}
	return nil
}

func absolute(s string) error {
	if !path.IsAbs(s) || path.Clean(s) != s {
		return fmt.Errorf("%q is not a clean absolute path", s)
	}
	return nil
}
