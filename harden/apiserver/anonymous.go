package apiserver

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	anonymousFlag = "anonymous-auth"
	authnFlag     = "authentication-config"
	authnDir      = "/etc/kubernetes/authn"
	authnFile     = authnDir + "/config.yaml"
	clusterInfo   = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
)

// healthPaths are what kubelets and load balancers ask without credentials.
var healthPaths = []string{"/livez", "/readyz", "/healthz"}

var anonymousAuth = harden.Control{
	ID:    "apiserver-anonymous-auth",
	Title: "Anonymous requests reach health checks only",
	Why: harden.Msg("A request without credentials is served as system:anonymous, and one careless role binding then opens the API to everybody who reaches the port. " +
		"Bugs in the paths that need no login have been used the same way. " +
		"The kubelet, however, asks the API server's own health without credentials, so turning anonymous access off altogether makes it kill the API server again and again."),
	Refs: harden.Refs{
		CIS:  []string{"1.2.1"},
		STIG: []string{"V-242390"},
		NSA:  []string{nsaAccess},
		Seed: []string{seed},
		Docs: []string{
			"https://kubernetes.io/docs/reference/access-authn-authz/authentication/#anonymous-authenticator-configuration",
			"https://github.com/kubernetes/enhancements/tree/master/keps/sig-auth/4633-anonymous-auth-configurable-endpoints",
		},
	},
	Severity:  harden.High,
	Component: harden.APIServer, Flags: []string{anonymousFlag, authnFlag},
	Needs:    needs,
	Applies:  applies,
	Assess:   assessAnonymous,
	Remedies: []harden.Remedy{healthEndpointsOnly, anonymousFlagFalse},
}

var anonymousProofs = []harden.Proof{{Control: "apiserver-anonymous-auth", Kind: harden.ProofAnonymous, Path: "/api", Status: 401}}

var healthEndpointsOnly = harden.Remedy{
	ID:     "health-endpoints-only",
	Title:  harden.Msg("Serve anonymous requests only for the health checks, by an authentication configuration"),
	Impact: harden.Msg("The API server of this node restarts once. Anonymous requests other than for /livez, /readyz, /healthz and, if it stays open, cluster-info are answered with 401."),
	Breaks: []harden.Message{
		harden.Msg("Health checks that ask other paths without credentials get 401 Unauthorized: /version, /livez/ping, /readyz/etcd. Paths match exactly; parameters behind a question mark do not matter."),
		harden.Msg("With token-joins=false, kubeadm join with a token cannot read cluster-info and fails; nodes then join with --discovery-file."),
		harden.Msg("The scanner kube-bench knows only the flag, and goes on warning about 1.2.1."),
		harden.Msg("Every control-plane node needs the file before kubeadm's own configuration may name it."),
	},
	Risk:     harden.RiskNode,
	Versions: harden.Since(32),
	Options: []harden.Option{{
		Name:    "token-joins",
		Title:   harden.Msg("Keep kube-public/cluster-info readable, as kubeadm join needs it to join a node by token"),
		Kind:    harden.OptionSwitch,
		Default: "true",
	}},
	Preconditions: healthOnlyPreconditions,
	Intents:       healthOnlyIntents,
	Proofs:        func(*harden.Facts, harden.Values) []harden.Proof { return anonymousProofs },
}

var anonymousFlagFalse = harden.Remedy{
	ID:     "flag-false",
	Title:  harden.Msg("Set --anonymous-auth=false to the letter, and let the kubelet check the port only"),
	Impact: harden.Msg("The API server of this node restarts once. No request without credentials is served, health checks included."),
	Breaks: []harden.Message{
		harden.Msg("The kubelet's health checks over HTTPS would get 401, and after about four minutes it would kill the API server, for ever. So the same change makes them TCP checks: an API server that hangs while its port is open is no longer restarted, and one that is not ready is not noticed."),
		harden.Msg("Every kubeadm upgrade writes HTTPS checks again. The flag is therefore never written to kubeadm's configuration, and an upgrade undoes this remedy."),
		harden.Msg("Load balancers that ask /readyz, /livez or /healthz get 401 and take this API server out of service. With all control-plane nodes so, nobody reaches the API."),
		harden.Msg("A kubeadm join with a token cannot read cluster-info and fails; nodes then join with --discovery-file. Before 1.33, kubeadm init and upgrade wait for health without credentials and fail too."),
		harden.Msg("Monitoring that asks /healthz or /version without credentials gets 401."),
	},
	Risk:          harden.RiskLockOut,
	NodeOnly:      true,
	Literal:       true,
	Preconditions: flagFalsePreconditions,
	Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
		return []harden.Intent{harden.SetFlag(harden.APIServer, anonymousFlag, "false"), harden.TCPProbes(harden.APIServer)}, nil
	},
	// An open port is not health: with TCP probes the server has to say of itself that it is ready.
	Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
		return append([]harden.Proof{{Control: "apiserver-anonymous-auth", Kind: harden.ProofAdmin, Path: "/readyz", Status: 200}}, anonymousProofs...)
	},
}

func assessAnonymous(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, file := c.Flag(anonymousFlag), c.Flag(authnFlag)
	switch {
	case flagIs(flag, false, true):
		if v, ok := unanswered(c, nil, flag.Evidence(anonymousFlag)); ok {
			return v
		}
		return harden.Passed(harden.Msg("anonymous access is off"), flag.Evidence(anonymousFlag))
	case file.Set:
		return assessAuthnConfig(f, file)
	}
	return harden.Failed(harden.Msg("anonymous requests are accepted on every path"), flag.Evidence(anonymousFlag), file.Evidence(authnFlag))
}

func assessAuthnConfig(f *harden.Facts, flag harden.FlagFact) harden.Verdict {
	file, v, ok := configFile(f, flag, flag.Evidence(authnFlag))
	if !ok {
		return v
	}
	config, err := parseAuthn(file.State.Data)
	if err != nil {
		return harden.NeedsPerson(harden.Msg("%s cannot be judged here: %s", file.Path, err), flag.Evidence(authnFlag))
	}
	open, all := config.open()
	seen := harden.Evidence{Source: file.Path, Value: config.String()}
	if all {
		return harden.Failed(harden.Msg("anonymous requests are accepted on every path"), seen)
	}
	if v, ok := unanswered(f.Component(harden.APIServer), open, seen); ok {
		return v
	}
	if len(open) == 0 {
		return harden.Passed(harden.Msg("anonymous access is off"), seen)
	}
	var others []string
	for _, p := range open {
		if !slices.Contains(healthPaths, p) && p != clusterInfo {
			others = append(others, p)
		}
	}
	if len(others) > 0 {
		return harden.NeedsPerson(harden.Msg("anonymous requests are accepted on %s too; decide whether that is meant", strings.Join(others, ", ")), seen)
	}
	return harden.Passed(harden.Msg("anonymous requests are accepted only on %s", strings.Join(open, ", ")), seen)
}

// unanswered is the verdict where a probe of the manifest asks for what is not among the paths that are open to it.
func unanswered(c *harden.ComponentFacts, open []string, seen harden.Evidence) (harden.Verdict, bool) {
	for _, p := range anonymousProbes(c) {
		if slices.Contains(open, p.path) {
			continue
		}
		then := harden.Msg("the kubelet kills the API server after some minutes, again and again")
		if p.name == readiness {
			then = harden.Msg("the kubelet takes the API server for not ready")
		}
		return harden.Failed(harden.Msg("the %s asks %s without credentials, which anonymous requests do not reach, and gets 401: %s", p.name, p.path, then),
			seen, harden.Evidence{Source: c.Effective, Value: p.name + " asks " + p.path}), true
	}
	return harden.Verdict{}, false
}

const readiness = "readinessProbe"

type probePath struct{ name, path string }

// anonymousProbes are the probes of the manifest that ask over HTTP without credentials, with their path.
func anonymousProbes(c *harden.ComponentFacts) []probePath {
	if c.Pod == nil {
		return nil
	}
	ct := harden.ContainerOf(c.Pod, c.ID)
	if ct == nil {
		return nil
	}
	var out []probePath
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{{"livenessProbe", ct.LivenessProbe}, {readiness, ct.ReadinessProbe}, {"startupProbe", ct.StartupProbe}} {
		if p.probe == nil || p.probe.HTTPGet == nil {
			continue
		}
		get := p.probe.HTTPGet
		if slices.ContainsFunc(get.HTTPHeaders, func(h corev1.HTTPHeader) bool { return strings.EqualFold(h.Name, "Authorization") }) {
			continue
		}
		at, _, _ := strings.Cut(get.Path, "?")
		out = append(out, probePath{p.name, at})
	}
	return out
}

func healthOnlyPreconditions(f *harden.Facts, _ harden.Values) []harden.Precondition {
	return []harden.Precondition{noOIDCFlags(f), probesAreHealth(f), readsRootFiles(f, authnFlag), balancerAsksHealth(f)}
}

// balancerAsksHealth is about what stands between this API server and its clients, if anything does: where kubeadm gave this node's
// own clients another address, that is it, and a health check of its own on another path takes the API server out of service.
func balancerAsksHealth(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID:      "load-balancer-paths",
		Title:   harden.Msg("load balancers ask only /livez, /readyz or /healthz"),
		State:   harden.PreconditionUnknown,
		Needed:  true,
		Message: harden.Msg("whether one stands before this API server is not known: no kubeconfig of kubeadm's names it"),
	}
	own := f.Component(harden.APIServer).Flag("advertise-address").Last()
	for _, k := range f.Kubeconfigs {
		if path.Dir(k.Path) != "/etc/kubernetes" {
			continue
		}
		for _, server := range k.Servers {
			if server != own {
				pre.State, pre.Evidence = harden.PreconditionUnknown, []harden.Evidence{{Source: k.Path, Value: server}}
				pre.Message = harden.Msg("this node's own clients reach the API by %s, and what that asks cannot be seen from here", server)
				return pre
			}
			pre.State = harden.Met
			pre.Message = harden.Msg("this node's own clients reach the API server by its own address, %s: kubeadm knows of none", own)
		}
	}
	return pre
}

func noOIDCFlags(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID:      "no-oidc-flags",
		Title:   harden.Msg("OpenID Connect is not configured by flags"),
		State:   harden.Met,
		Message: harden.Msg("no --oidc flag is set"),
	}
	c := f.Component(harden.APIServer)
	for _, name := range []string{"oidc-issuer-url", "oidc-client-id", "oidc-ca-file", "oidc-username-claim", "oidc-username-prefix",
		"oidc-groups-claim", "oidc-groups-prefix", "oidc-required-claim", "oidc-signing-algs"} {
		if flag := c.Flag(name); flag.Set {
			pre.Evidence = append(pre.Evidence, flag.Evidence(name))
		}
	}
	if len(pre.Evidence) > 0 {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("the API server does not start with --oidc flags and an authentication configuration; move them to its jwt section by hand first")
	}
	return pre
}

func probesAreHealth(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID:      "probes-ask-health",
		Title:   harden.Msg("the API server's probes ask only paths that stay open"),
		State:   harden.Met,
		Message: harden.Msg("they ask /livez, /readyz or /healthz"),
	}
	c := f.Component(harden.APIServer)
	for _, p := range anonymousProbes(c) {
		if !slices.Contains(healthPaths, p.path) {
			pre.State = harden.Unmet
			pre.Message = harden.Msg("the %s asks %s, which would be answered with 401", p.name, p.path)
			pre.Evidence = append(pre.Evidence, harden.Evidence{Source: c.Manifest.Path, Value: fmt.Sprintf("%s asks %s", p.name, p.path)})
		}
	}
	return pre
}

func readsRootFiles(f *harden.Facts, file string) harden.Precondition {
	pre := harden.Precondition{
		ID:      "runs-as-root",
		Title:   harden.Msg("the API server may read files that only root may read"),
		State:   harden.Met,
		Message: harden.Msg("it runs as root"),
	}
	if !f.Component(harden.APIServer).RunsAsRoot() {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("its manifest lets it run as another user, who could not read %s", file)
	}
	return pre
}

func flagFalsePreconditions(f *harden.Facts, _ harden.Values) []harden.Precondition {
	flag := f.Component(harden.APIServer).Flag(authnFlag)
	pre := harden.Precondition{
		ID:       "no-anonymous-in-file",
		Title:    harden.Msg("no authentication configuration speaks of anonymous requests"),
		State:    harden.Met,
		Message:  harden.Msg("--authentication-config is not set"),
		Evidence: []harden.Evidence{flag.Evidence(authnFlag)},
	}
	if !flag.Set {
		return []harden.Precondition{pre}
	}
	file, _, ok := configFile(f, flag, harden.Evidence{})
	config, err := parseAuthn(file.State.Data)
	switch {
	case !ok || err != nil:
		pre.State = harden.PreconditionUnknown
		pre.Message = harden.Msg("what %s says is not known here", flag.Last())
	case config.Anonymous != nil:
		pre.State = harden.Unmet
		pre.Message = harden.Msg("%s has an anonymous section, and the API server does not start with both", file.Path)
	default:
		pre.Message = harden.Msg("%s says nothing about them", file.Path)
	}
	return []harden.Precondition{pre}
}
