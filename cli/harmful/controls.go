package main

import (
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// dir holds the files that harmful controls write.
const dir = "/etc/kubernetes/harmful"

const (
	policyFile = dir + "/policy.yaml"
	logFile    = dir + "/audit.log"
)

const (
	policy      = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
	emptyPolicy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n"
)

// harm is a control that always fails and has one remedy.
type harm struct {
	id, title string
	risk      harden.Risk
	intents   []harden.Intent
}

var (
	setFlag = func(flag, value string) harden.Intent { return harden.SetFlag(harden.APIServer, flag, value) }
	mount   = harden.MountPath(harden.APIServer, patches.Mount{
		Name: "harmful", HostPath: dir, MountPath: dir, Type: "DirectoryOrCreate",
	})
	writePolicy = func(text string) harden.Intent {
		return harden.WriteFile(policyFile, []byte(text), 0o600, harden.APIServer)
	}
	setField = func(field string, value any) harden.Intent {
		return harden.SetField("/var/lib/kubelet/config.yaml", field, value, harden.Kubelet)
	}
)

// harms by what they are for.
var harms = []harm{
	// Harmless in themselves.
	{"harmful-every-component", "Something changes in every static pod but etcd", harden.RiskNode, []harden.Intent{
		setFlag("min-request-timeout", "1801"),
		harden.SetFlag(harden.ControllerManager, "profiling", "false"),
		harden.SetFlag(harden.Scheduler, "profiling", "false"),
	}},
	{"harmful-lock-out", "Something that could lock operators out", harden.RiskLockOut, []harden.Intent{
		setFlag("min-request-timeout", "1802"),
	}},

	// To be refused before anything is touched.
	{"harmful-unknown-flag", "A flag that no version knows", harden.RiskNode, []harden.Intent{
		setFlag("no-such-flag", "true"),
	}},
	{"harmful-empty-audit-policy", "An audit policy without rules", harden.RiskNode, []harden.Intent{
		writePolicy(emptyPolicy), mount, setFlag("audit-policy-file", policyFile), setFlag("audit-log-path", "-"),
	}},
	{"harmful-missing-mount", "A file that the container does not see", harden.RiskNode, []harden.Intent{
		writePolicy(policy), setFlag("audit-policy-file", policyFile), setFlag("audit-log-path", "-"),
	}},
	{"harmful-cipher-suites", "A cipher suite that does not exist", harden.RiskNode, []harden.Intent{
		setFlag("tls-cipher-suites", "TLS_AES_128_GCM_SHA257"),
	}},
	{"harmful-admission-plugin", "An admission plugin without its configuration", harden.RiskNode, []harden.Intent{
		harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"ImagePolicyWebhook"}, nil),
	}},
	{"harmful-probes-refused", "Anonymous requests refused, probes included", harden.RiskNode, []harden.Intent{
		setFlag("anonymous-auth", "false"),
	}},
	{"harmful-kubelet-field", "A field that the kubelet does not know", harden.RiskNode, []harden.Intent{
		setField("anonymousAuth", false),
	}},

	{"harmful-kubelet-limits", "Image collection that ends before it begins", harden.RiskNode, []harden.Intent{
		setField("imageGCHighThresholdPercent", 10), setField("imageGCLowThresholdPercent", 90),
	}},

	// Sound as far as can be rehearsed: a canary has a log file of its own, and a kubelet cannot be run twice.
	{"harmful-log-is-directory", "An audit log that is a directory", harden.RiskNode, []harden.Intent{
		writePolicy(policy), harden.MakeDir(logFile, 0o700), mount, setFlag("audit-policy-file", policyFile), setFlag("audit-log-path", logFile),
	}},
	{"harmful-kubelet-reserved", "More memory reserved than the node has", harden.RiskNode, []harden.Intent{
		setField("systemReserved", map[string]any{"memory": "100Ti"}),
	}},
}

func area() harden.Area {
	a := harden.Area{ID: "harmful", Title: "Harmful", About: harden.Msg("Controls that break things, for the lab's tests.")}
	for _, h := range harms {
		a.Controls = append(a.Controls, h.control())
	}
	return a
}

func (h harm) control() harden.Control {
	return harden.Control{
		ID: h.id, Title: h.title, Severity: harden.Low, Why: harden.Msg("It is harmful."),
		Assess: func(*harden.Facts) harden.Verdict { return harden.Failed(harden.Msg("no harm is done yet")) },
		Remedies: []harden.Remedy{{
			ID: "harm", Title: harden.Msg("Do harm"), Impact: harden.Msg("something breaks"), Risk: h.risk, NodeOnly: true,
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) { return h.intents, nil },
		}},
	}
}
