package apiserver

import (
	"strings"

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
	// before says what must hold; nil for nothing.
	before func(*harden.Facts) harden.Precondition
	// optional: whether it is wanted is for a person to decide.
	optional bool
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
		name: "ServiceAccount", id: "apiserver-admission-serviceaccount", title: "Pods get service accounts (ServiceAccount)", byDefault: always,
		why: harden.Msg("With this plugin a pod without a service account gets the default one of its namespace, and one that does not exist is refused. " +
			"Without it pods run without an identity that can be limited or audited. It is on by default."),
		refs:     harden.Refs{CIS: []string{"1.2.12"}},
		severity: harden.Medium,
		breaks:   []harden.Message{harden.Msg("Pods that name a service account that does not exist are refused from now on.")},
	},
	{
		name: "NamespaceLifecycle", id: "apiserver-admission-namespacelifecycle", title: "Nothing is made in namespaces that end (NamespaceLifecycle)", byDefault: always,
		why: harden.Msg("With this plugin nothing can be made in a namespace that does not exist or is being deleted, and the system's namespaces cannot be deleted. " +
			"Without it what was deleted comes back piece by piece, past everybody's notice. It is on by default."),
		refs:     harden.Refs{CIS: []string{"1.2.13"}},
		severity: harden.Medium,
		breaks:   []harden.Message{harden.Msg("Objects for namespaces that do not exist are refused from now on: make the namespace first.")},
	},
	{
		name: "ValidatingAdmissionWebhook", id: "apiserver-admission-validatingadmissionwebhook", title: "Validating webhooks are asked (ValidatingAdmissionWebhook)", byDefault: always,
		why: harden.Msg("Policy engines and operators refuse bad objects through webhooks. " +
			"With this plugin turned off none of them is asked, and nothing says so. It is on by default."),
		refs:     harden.Refs{STIG: []string{"V-242436"}},
		severity: harden.High,
		breaks:   []harden.Message{harden.Msg("Webhooks that were registered and ignored until now are asked at once: those that do not answer and fail closed stop what they are about.")},
	},
	{
		name: "PodSecurity", id: "apiserver-admission-podsecurity", title: "The Pod Security Standards are enforced where asked for (PodSecurity)", byDefault: always,
		why: harden.Msg("Labels of a namespace say which Pod Security Standard its pods have to keep. " +
			"They are only enforced while this plugin is on, which it is by default. " +
			"The plugin alone enforces nothing: namespaces need the labels, or the cluster defaults."),
		refs:     harden.Refs{STIG: []string{"V-254800"}, NSA: []string{"Pod Security"}},
		severity: harden.High,
		breaks:   []harden.Message{harden.Msg("Labels that exist and were ignored until now count at once for new pods: what runs goes on, and what violates them is refused when it is made again.")},
	},
	{
		name: "DenyServiceExternalIPs", id: "apiserver-admission-denyserviceexternalips", title: "Services cannot take addresses from outside (DenyServiceExternalIPs)",
		why: harden.Msg("Whoever may make a Service can name any address as its external one, and traffic of the cluster to that address then goes to their pods (CVE-2020-8554). " +
			"This plugin refuses new external addresses. Load balancers do not use the field; some installations without one do."),
		refs:     harden.Refs{CIS: []string{"1.2.3"}},
		severity: harden.Medium,
		breaks:   []harden.Message{harden.Msg("Services with spec.externalIPs cannot be made or given further addresses any more; those that exist stay as they are.")},
		before:   noExternalIPs,
	},
	{
		name: "AlwaysPullImages", id: "apiserver-admission-alwayspullimages", title: "Images are checked with the registry at each start (AlwaysPullImages)", optional: true,
		why: harden.Msg("On a node that several teams share, a pod can use another team's private image once it was pulled there. " +
			"With this plugin each start asks the registry, with the pod's own credentials. " +
			"The price is that no pod starts while the registry is away, and that images which were only put on the node stop working."),
		refs:     harden.Refs{CIS: []string{"1.2.11"}},
		severity: harden.Low,
		breaks: []harden.Message{
			harden.Msg("Pods with images that no registry has, loaded on the node or built there, fail with ErrImagePull at their next start; so do all pods while the registry cannot be reached."),
			harden.Msg("The pull policy Never and IfNotPresent of pods are changed to Always when they are made."),
		},
		before: imagesCanBePulled,
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
	return append(out, podSecurityDefaults, eventRateControl(), alwaysAdmit, removedPlugins)
}

func (p plugin) control() harden.Control {
	p.refs.Seed = []string{seed}
	p.refs.Docs = []string{"https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"}
	return harden.Control{
		ID: p.id, Title: p.title, Why: p.why, Refs: p.refs, Severity: p.severity,
		Needs: needs, Applies: applies, Assess: p.assess,
		Component: harden.APIServer, Flags: []string{enableFlag, disableFlag},
		Remedies: []harden.Remedy{{
			ID:      "enable",
			Title:   harden.Msg("Turn %s on; other admission plugins stay as they are", p.name),
			Impact:  restart,
			Breaks:  p.breaks,
			Risk:    harden.RiskWorkloads,
			Intents: p.intents,

			Preconditions: p.preconditions(),
			Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
				return []harden.Proof{{Control: p.id, Kind: harden.ProofAdmission, Path: p.name}}
			},
		}},
	}
}

func (p plugin) preconditions() func(*harden.Facts, harden.Values) []harden.Precondition {
	if p.before == nil {
		return nil
	}
	return func(f *harden.Facts, _ harden.Values) []harden.Precondition {
		return []harden.Precondition{p.before(f)}
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
	if p.optional {
		return harden.NeedsPerson(harden.Msg("%s is off, as it is by default; decide whether its protection is worth its price here", p.name), enabled.Evidence(enableFlag))
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

// alwaysAdmit is the plugin that must not be on.
var alwaysAdmit = harden.Control{
	ID:    "apiserver-admission-alwaysadmit",
	Title: "Requests are not admitted unseen (AlwaysAdmit is off)",
	Why: harden.Msg("AlwaysAdmit lets every request pass and has been deprecated for years. " +
		"It takes nothing away from the other plugins, but whoever turned it on expected to be rid of them, and it will be removed."),
	Refs:     harden.Refs{CIS: []string{"1.2.10"}, Docs: []string{"https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"}},
	Severity: harden.Low, Component: harden.APIServer, Flags: []string{enableFlag},
	Needs: needs, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		c := f.Component(harden.APIServer)
		for _, name := range []string{enableFlag, exactFlag} {
			if flag := c.Flag(name); flag.Has("AlwaysAdmit") {
				return harden.Failed(harden.Msg("AlwaysAdmit is on"), flag.Evidence(name))
			}
		}
		return harden.Passed(harden.Msg("AlwaysAdmit is off"), c.Flag(enableFlag).Evidence(enableFlag))
	},
	Remedies: []harden.Remedy{{
		ID: "off", Title: harden.Msg("Turn AlwaysAdmit off; other admission plugins stay as they are"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{harden.Msg("Nothing: the plugin does nothing.")},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			c := f.Component(harden.APIServer)
			var out []harden.Intent
			for _, name := range []string{enableFlag, exactFlag} {
				switch flag := c.FileFlag(name); {
				case !flag.Has("AlwaysAdmit"):
				case len(flag.List()) == 1:
					out = append(out, harden.RemoveFlag(harden.APIServer, name))
				default:
					out = append(out, harden.MergeList(harden.APIServer, name, nil, []string{"AlwaysAdmit"}))
				}
			}
			return out, nil
		},
	}},
}

// workloads are known, or the precondition says that they are not.
func workloads(f *harden.Facts, id string, title harden.Message) (harden.Precondition, bool) {
	pre := harden.Precondition{ID: id, Title: title, State: harden.PreconditionUnknown, Message: harden.Msg("the cluster's objects were not read")}
	_, missing := f.Missing[harden.NeedWorkloads]
	return pre, f.Cluster != nil && !missing
}

func noExternalIPs(f *harden.Facts) harden.Precondition {
	pre, known := workloads(f, "no-external-addresses", harden.Msg("no Service uses external addresses"))
	if !known {
		return pre
	}
	for _, s := range f.Cluster.Services {
		if len(s.ExternalIPs) > 0 {
			pre.Evidence = append(pre.Evidence, harden.Evidence{Source: "Service " + s.Namespace + "/" + s.Name, Value: "externalIPs " + strings.Join(s.ExternalIPs, ", ")})
		}
	}
	if len(pre.Evidence) > 0 {
		pre.Message = harden.Msg("%d Services have some; they keep them, and whoever makes them again, as GitOps and upgrades do, is refused", len(pre.Evidence))
		return pre
	}
	pre.State, pre.Message = harden.Met, harden.Msg("none does")
	return pre
}

func imagesCanBePulled(f *harden.Facts) harden.Precondition {
	pre, known := workloads(f, "images-can-be-pulled", harden.Msg("every image can be pulled from its registry"))
	if !known {
		return pre
	}
	never := func(owner string, images []harden.ImageFact) {
		for _, i := range images {
			if i.PullPolicy == "Never" {
				pre.Evidence = append(pre.Evidence, harden.Evidence{Source: owner, Value: i.Image + " is never pulled"})
			}
		}
	}
	for _, p := range f.Cluster.Pods {
		never("Pod "+p.Namespace+"/"+p.Name, p.Images)
	}
	for _, t := range f.Cluster.Templates {
		never(t.Owner+" in "+t.Namespace, t.Images)
	}
	if len(pre.Evidence) > 0 {
		pre.State, pre.Message = harden.Unmet, harden.Msg("some are never pulled, and would not start again")
		return pre
	}
	pre.Message = harden.Msg("no image is marked as never pulled; whether each registry is reached from every node cannot be seen from here")
	return pre
}
