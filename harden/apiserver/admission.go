package apiserver

import (
	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	enableFlag  = "enable-admission-plugins"
	disableFlag = "disable-admission-plugins"
	exactFlag   = "admission-control" // deprecated: the whole list, defaults and all
)

// plugin is an admission plugin that has to be on.
type plugin struct {
	name      string
	id, title string
	// byDefault are the versions in which it is on without a flag; nil: in none.
	byDefault *harden.VersionRange
	why       harden.Message
	refs      harden.Refs
	severity  harden.Severity
	breaks    []harden.Message
}

var always = &harden.VersionRange{}

// plugins by what asks for them: one row is one control.
var plugins = []plugin{
	{
		name: "NodeRestriction", id: "apiserver-admission-noderestriction", title: "Kubelets may change only their own node (NodeRestriction)",
		why: harden.Msg("A kubelet's credentials can write Node and Pod objects. " +
			"With NodeRestriction it can write only its own node and the pods bound to it, and cannot give itself labels that attract workloads. " +
			"Without it, whoever takes over one node can move on to the others. kubeadm turns it on; it is lost where an own list of plugins replaced kubeadm's."),
		refs:     harden.Refs{CIS: []string{"1.2.14"}},
		severity: harden.High,
		breaks: []harden.Message{
			harden.Msg("Scripts that use a kubelet's credentials (/etc/kubernetes/kubelet.conf) to label or change other nodes get 403 Forbidden; give them credentials of their own."),
		},
	},
	{
		name: "ResourceQuota", id: "apiserver-admission-resourcequota", title: "Resource quotas are enforced (ResourceQuota)", byDefault: always,
		why: harden.Msg("ResourceQuota objects limit what a namespace may use, so that one tenant cannot starve the others or the control plane. " +
			"They are only enforced while this plugin is on, which it is by default. " +
			"The plugin alone limits nothing: namespaces need ResourceQuota objects."),
		refs:     harden.Refs{NSA: []string{"Resource policies"}},
		severity: harden.Medium,
		breaks: []harden.Message{
			harden.Msg("Quotas that exist and were ignored until now count at once: what exceeds them keeps running, but new pods are refused with \"exceeded quota\", and pods without requests where the quota wants them."),
		},
	},
	{
		name: "LimitRanger", id: "apiserver-admission-limitranger", title: "Limit ranges are enforced (LimitRanger)", byDefault: always,
		why: harden.Msg("LimitRange objects give containers default requests and limits and set bounds for them, so that a pod without any cannot take a whole node. " +
			"They are only enforced while this plugin is on, which it is by default. " +
			"The plugin alone limits nothing: namespaces need LimitRange objects."),
		refs:     harden.Refs{NSA: []string{"Resource policies"}},
		severity: harden.Medium,
		breaks: []harden.Message{
			harden.Msg("Limit ranges that exist and were ignored until now count at once for new pods: containers get default limits, and pods outside the bounds are refused."),
		},
	},
}

func admissionControls() []harden.Control {
	var out []harden.Control
	for _, p := range plugins {
		out = append(out, p.control())
	}
	return out
}

func (p plugin) control() harden.Control {
	p.refs.Seed = []string{seed}
	p.refs.Docs = []string{"https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"}
	return harden.Control{
		ID: p.id, Title: p.title, Why: p.why, Refs: p.refs, Severity: p.severity,
		Needs: needs, Applies: applies, Assess: p.assess,
		Remedies: []harden.Remedy{{
			ID:      "enable",
			Title:   harden.Msg("Turn %s on; other admission plugins stay as they are", p.name),
			Impact:  restart,
			Breaks:  p.breaks,
			Risk:    harden.RiskWorkloads,
			Intents: p.intents,
		}},
	}
}

func (p plugin) isDefault(c *harden.ComponentFacts) bool {
	return p.byDefault != nil && p.byDefault.Contains(c.Version)
}

func (p plugin) assess(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	enabled, disabled, exact := c.Flag(enableFlag), c.Flag(disableFlag), c.Flag(exactFlag)
	switch {
	case exact.Set && exact.Has(p.name):
		return harden.Passed(harden.Msg("%s is on", p.name), exact.Evidence(exactFlag))
	case exact.Set:
		return harden.Failed(harden.Msg("--admission-control is the whole list of plugins, and %s is not in it", p.name), exact.Evidence(exactFlag))
	case disabled.Has(p.name):
		return harden.Failed(harden.Msg("%s is turned off", p.name), disabled.Evidence(disableFlag))
	case enabled.Has(p.name):
		return harden.Passed(harden.Msg("%s is on", p.name), enabled.Evidence(enableFlag))
	case p.isDefault(c):
		return harden.Passed(harden.Msg("%s is on by default in %s, and nothing turns it off", p.name, c.Version), disabled.Evidence(disableFlag))
	}
	return harden.Failed(harden.Msg("%s is not turned on, and it is off by default", p.name), enabled.Evidence(enableFlag))
}

func (p plugin) intents(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
	c := f.Component(harden.APIServer)
	this := []string{p.name}
	if c.Flag(exactFlag).Set {
		return []harden.Intent{harden.MergeList(harden.APIServer, exactFlag, this, nil)}, nil
	}
	var out []harden.Intent
	if c.Flag(disableFlag).Has(p.name) {
		out = append(out, harden.MergeList(harden.APIServer, disableFlag, nil, this))
	}
	if !p.isDefault(c) {
		out = append(out, harden.MergeList(harden.APIServer, enableFlag, this, nil))
	}
	return out, nil
}
