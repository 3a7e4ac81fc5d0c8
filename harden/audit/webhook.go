package audit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	webhookFlag     = "audit-webhook-config-file"
	webhookModeFlag = "audit-webhook-mode"
)

var webhookControl = harden.Control{
	ID: "audit-webhook", Title: "What is sent away of the audit log arrives, and cannot stop the API", Severity: harden.Medium,
	Why: harden.Msg("A log on the node is in the hands of whoever takes the node over; a copy that the API server sends elsewhere is not. " +
		"Unless its mode is batch, every request waits for the receiver. " +
		"The API server is in the host's network, where names of Services mean nothing. " +
		"To have the copy sent, put a kubeconfig of the receiver, with the files that it names, into " + harden.AuditWebhookDir + "."),
	Refs:      harden.Refs{NSA: []string{nsaTopic}, Docs: []string{docsPage}},
	Component: harden.APIServer, Flags: []string{webhookFlag, webhookModeFlag},
	Needs: needs, Applies: applies, Assess: assessWebhook,
	Remedies: []harden.Remedy{batchMode, send},
}

// batchMode takes away what makes requests wait.
var batchMode = harden.Remedy{
	ID: "batch", Title: harden.Msg("Take the mode away, so that events are sent in batches and no request waits"), Risk: harden.RiskNode,
	Impact: harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute."),
	Breaks: []harden.Message{harden.Msg("Events that wait are lost when the API server ends, and so are those that the receiver does not take in time: the log on the node has them all.")},
	Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
		if mode := f.Component(harden.APIServer).Flag(webhookModeFlag); !mode.Set || mode.Last() == batch {
			return nil, fmt.Errorf("no request waits for the receiver; to have events sent to another one, take --remedy audit-webhook=%s", sendID)
		}
		return []harden.Intent{harden.RemoveFlag(harden.APIServer, webhookModeFlag)}, nil
	},
}

const sendID = "send"

// send has events sent to a receiver that the operator names. Batches are the only way in which that is offered: a receiver that is
// away costs its copy then, and nothing else.
var send = harden.Remedy{
	ID: sendID, Title: harden.Msg("Send a copy of every recorded event to a receiver, in batches"), Risk: harden.RiskWorkloads,
	Impact: harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute. From then on what the policy records is sent to the receiver as well."),
	Breaks: []harden.Message{
		harden.Msg("The events name people and what they did, and hold bodies of requests where the policy records these: whoever runs the receiver reads them."),
		harden.Msg("Events that the receiver does not take are lost to it; the API server counts them in apiserver_audit_error_total with plugin=\"webhook\". The log on the node has them all."),
		harden.Msg("Credentials in the kubeconfig have to be renewed by hand, and the API server reads it only when it starts."),
		harden.Msg("Every control-plane node needs the kubeconfig before kubeadm's own configuration may name it: a missing one keeps the API server from starting there."),
	},
	Options: []harden.Option{{
		Name: "config", Title: harden.Msg("Kubeconfig of the receiver; its directory is mounted into the API server"), Kind: harden.OptionText,
		Default: harden.AuditWebhookDir + "/config.yaml", Check: checkWebhookPath,
	}},
	Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
		return append([]harden.Precondition{readsRootFiles(f)}, receiver(f, v["config"])...)
	},
	Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
		c, at := f.Component(harden.APIServer), v["config"]
		policy, err := policyIntents(f, false, false)
		if err != nil {
			return nil, err
		}
		out := []harden.Intent{harden.SetFlag(harden.APIServer, webhookFlag, at)}
		if c.Flag(webhookModeFlag).Set || c.FileFlag(webhookModeFlag).Set {
			out = append(out, harden.RemoveFlag(harden.APIServer, webhookModeFlag))
		}
		if host, mounted := c.HostPath(at); !mounted || host != at {
			out = append(out, harden.MountPath(harden.APIServer, harden.MountDir("audit-webhook", path.Dir(at), "Directory", true)))
		}
		return append(out, harden.Along(policy)...), nil
	},
}

// checkWebhookPath accepts a file directly in the directory that is looked into: what lies elsewhere is not known, and the directory is
// mounted whole.
func checkWebhookPath(p string) error {
	if path.Clean(p) != p || path.Dir(p) != harden.AuditWebhookDir || strings.HasPrefix(path.Base(p), ".") {
		return fmt.Errorf("%q is no file directly in %s", p, harden.AuditWebhookDir)
	}
	return nil
}

// receiver is what must hold of the kubeconfig and of the one that it leads to.
func receiver(f *harden.Facts, at string) []harden.Precondition {
	config := harden.Precondition{ID: "receiver-config", Title: harden.Msg("the API server can load the kubeconfig of the receiver"), State: harden.Unmet}
	answers := harden.Precondition{ID: "receiver-answers", Title: harden.Msg("the receiver answers this node, and may read the events"), State: harden.PreconditionUnknown}
	i := slices.IndexFunc(f.AuditReceivers, func(w harden.AuditWebhookFact) bool { return w.Path == at })
	if i < 0 {
		config.Message = harden.Msg("there is no %s; write the receiver's address and credentials there, readable by root alone", at)
		answers.Message = harden.Msg("no receiver is known")
		return []harden.Precondition{config, answers}
	}
	w := f.AuditReceivers[i]
	config.State, config.Message = loadable(f, w)
	if host := w.Host(); serviceName(host) {
		answers.State, answers.Message = harden.Unmet, harden.Msg("the API server is in the host's network and does not find %s: write the Service's address", host)
	} else if w.Server != "" {
		// What is no address of this cluster's is not asked from here.
		answers.Message = harden.Msg("it is not asked from here; try \"curl -sS -o /dev/null %s\" on this node", w.Server)
		if w.Plain() {
			answers.Message = harden.Msg("%s, and events go there unencrypted", answers.Message)
		}
	}
	return []harden.Precondition{config, answers}
}

func loadable(f *harden.Facts, w harden.AuditWebhookFact) (harden.PreconditionState, harden.Message) {
	switch {
	case !w.Unread.IsZero():
		return harden.Unmet, w.Unread
	case w.Runs:
		return harden.Unmet, harden.Msg("its credentials come from a program, and the API server's image has none; use a certificate or a token file")
	case w.Host() == "":
		return harden.Unmet, harden.Msg("%q is no address of a server", w.Server)
	}
	for _, p := range w.Files {
		if path.Dir(p) != path.Dir(w.Path) {
			return harden.Unmet, harden.Msg("it names %s, which is not in %s and so not mounted", p, path.Dir(w.Path))
		}
		if s, there := f.Stat(p); !there || s.Kind != harden.StatFile {
			return harden.Unmet, harden.Msg("it names %s, which is not there", p)
		}
	}
	return harden.Met, harden.Msg("it leads to %s", w.Server)
}

func serviceName(host string) bool {
	return strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.")
}

func assessWebhook(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, mode := c.Flag(webhookFlag), c.Flag(webhookModeFlag)
	seen := []harden.Evidence{flag.Evidence(webhookFlag), mode.Evidence(webhookModeFlag)}
	if mode.Set && !slices.Contains(modes, mode.Last()) {
		return harden.Failed(harden.Msg("there is no mode %q; the API server does not start with it", mode.Last()), seen...)
	}
	if flag.Last() == "" {
		if len(f.AuditReceivers) > 0 {
			return harden.NeedsPerson(harden.Msg("nothing is sent, and %s is there: decide whether --remedy audit-webhook=%s is wanted", f.AuditReceivers[0].Path, sendID), seen...)
		}
		return harden.NotFor(harden.Msg("the API server sends nothing away; what else ships the log cannot be seen here"), seen...)
	}
	w := f.AuditWebhook
	switch {
	case w == nil:
		return harden.NeedsPerson(harden.Msg("where it is sent is not known"), seen...)
	case !w.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("where it is sent is not known: %s", w.Unread), seen...)
	}
	seen = append(seen, harden.Evidence{Source: w.Path, Value: "server " + w.Server})
	if mode.Last() == blocking || mode.Last() == strict {
		return harden.Failed(harden.Msg("every request waits for the receiver: the API is slow when that is, and with blocking-strict away"), seen...)
	}
	switch {
	case w.Host() == "":
		return harden.Failed(harden.Msg("%s names no server", w.Path), seen...)
	case serviceName(w.Host()):
		return harden.Failed(harden.Msg("the API server is in the host's network and does not find %s: use the Service's address", w.Host()), seen...)
	case w.Plain():
		return harden.NeedsPerson(harden.Msg("events go to %s unencrypted; decide who may read along", w.HostPort()), seen...)
	}
	return harden.Passed(harden.Msg("events are sent to %s, and no request waits for it", w.Host()), seen...)
}
