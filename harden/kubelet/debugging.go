package kubelet

import (
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
)

var profilingHandler = setting{
	id: "kubelet-profiling-handler", title: "The kubelet serves no profiles", severity: harden.Low,
	why: harden.Msg("Under /debug/pprof on port 10250 the kubelet hands out profiles of itself: command lines, memory contents and goroutines. " +
		"Whoever may read nodes/proxy can ask for them, and asking costs the kubelet time. Nothing in a cluster needs them."),
	refs: harden.Refs{NSA: []string{nsaAuth}, Docs: []string{docsConfig}},

	field: "enableProfilingHandler", preset: true,
	judge: isBool(false,
		harden.Msg("no profiles are served under /debug/pprof"),
		harden.Msg("profiles are served under /debug/pprof")),
	want: always(false),
	remedy: harden.Remedy{
		ID: "off", Title: harden.Msg("Serve no profiles"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{harden.Msg("Developers who profile the kubelet: https://NODE:10250/debug/pprof/ answers 405 or 404.")},
	},
}

var debugFlagsHandler = setting{
	id: "kubelet-debug-flags-handler", title: "The kubelet's log level cannot be changed over the network", severity: harden.Low,
	why: harden.Msg("Under /debug/flags/v on port 10250 the kubelet lets its log level be set while it runs. " +
		"At the highest levels it logs requests and responses, and fills the disk. The level belongs in its configuration."),
	refs: harden.Refs{NSA: []string{nsaAuth}, Docs: []string{docsConfig}},

	field: "enableDebugFlagsHandler", preset: true,
	judge: isBool(false,
		harden.Msg("the log level is set by the configuration alone"),
		harden.Msg("the log level can be set under /debug/flags/v")),
	want: always(false),
	remedy: harden.Remedy{
		ID: "off", Title: harden.Msg("Set the log level by the configuration alone"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{harden.Msg("Scripts that raise the log level of a running kubelet with a PUT to /debug/flags/v: use logging.verbosity in its configuration.")},
	},
}

var healthzBindAddress = setting{
	id: "kubelet-healthz-bind-address", title: "The kubelet's health port answers this node only", severity: harden.Low,
	why: harden.Msg("The health port (10248) answers over plain HTTP whoever reaches it. What it says is little, but it tells that a kubelet runs and whether it is ill. " +
		"Only the node itself asks it: systemd's or kubeadm's checks."),
	refs: harden.Refs{Seed: []string{seedPorts}, Docs: []string{docsConfig}},

	field: "healthzBindAddress", flag: "healthz-bind-address", preset: "127.0.0.1", zeroIsUnset: true,
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if address := r.value.(string); !strings.HasPrefix(address, "127.") && address != "::1" {
			return harden.StatusFail, harden.Msg("the health port listens on %s", address)
		}
		return harden.StatusPass, harden.Msg("the health port listens on %s", r.value)
	},
	want: always("127.0.0.1"),
	remedy: harden.Remedy{
		ID: "loopback", Title: harden.Msg("Listen on the loopback address"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; port 10248 answers this node only"),
		Breaks: []harden.Message{
			harden.Msg("Load balancers or monitoring that ask port 10248 from outside: connection refused. Let them ask the API for the node's conditions."),
		},
	},
}

var alphaFeatures = setting{
	id: "kubelet-alpha-features", title: "Alpha features are not turned on wholesale", severity: harden.Medium,
	why:  harden.Msg(gates.WhyAlpha),
	refs: harden.Refs{STIG: []string{"V-242400"}, Docs: []string{docsConfig}},

	field: gatesField + "." + gates.AllAlpha, preset: false,
	judge: isBool(false,
		harden.Msg("nothing turns on everything that is alpha"),
		harden.Msg("everything that is alpha is turned on")),
	want: always(false),
	remedy: harden.Remedy{
		ID: "off", Title: harden.Msg("Turn AllAlpha off"), Risk: harden.RiskWorkloads, Impact: restart,
		Breaks: []harden.Message{harden.Msg("Pods that count on an alpha feature of the kubelet go without it: turn on by its own name what is needed.")},
	},
}

var rotateServerCertificateGate = setting{
	id: "kubelet-rotate-server-certificates", title: "The kubelet can renew its serving certificate", severity: harden.Medium,
	why: harden.Msg("With the feature gate RotateKubeletServerCertificate off, a kubelet that has its serving certificate from the cluster does not renew it. " +
		"A year later logs, exec and metrics of the node fail. The gate is on unless somebody turned it off."),
	refs: harden.Refs{CIS: []string{"4.2.11"}, Seed: []string{seedTLS}, Docs: []string{docsBootstrap}},

	field: gatesField + "." + gates.RotateKubeletServerCertificate, gate: gates.RotateKubeletServerCertificate, preset: true,
	judge: func(k *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if r.value == false && r.from == fromDefault {
			return harden.StatusFail, harden.Msg("the feature gate is off, with all others that are beta and not set by name: a serving certificate from the cluster would not be renewed")
		}
		return isBool(true,
			harden.Msg("the feature gate is on"),
			harden.Msg("the feature gate is off: a serving certificate from the cluster would not be renewed"))(k, r)
	},
	want: always(true),
	remedy: harden.Remedy{
		ID: "gate-on", Title: harden.Msg("Turn the feature gate on"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{harden.Msg("Nothing while serverTLSBootstrap is off. Where it is on, requests for new certificates wait for approval: kubectl get csr.")},
	},
}
