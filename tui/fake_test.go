package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	apiserverPath = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	kubeletPath   = "/var/lib/kubelet/config.yaml"
	policyPath    = "/etc/kubernetes/policies/audit-policy.yaml"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// clock is moved by hand.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeEngine plans with the real engine on real files in memory. Applying follows a script of events, one step for each
// token on its gate.
type fakeEngine struct {
	clock   *fakeClock
	areas   []harden.Area
	node    string
	distro  harden.Distro
	files   map[string][]byte
	cluster bool // slow facts succeed

	factsErr, planErr, historyErr, undoErr, standingErr error

	shared      *harden.Sharing // other control planes that need the same key
	unrehearsed bool            // the API server cannot be rehearsed
	refused     []harden.Skip   // beside what is planned

	standing *Standing
	events   []harden.Event // of every transaction; nil: a good one's

	script  []harden.Event // of apply; nil: a good one
	outcome harden.Outcome
	gate    chan struct{} // nil: apply runs through

	mu      sync.Mutex
	applied []harden.Plan
	confirm []Confirmation
	history []harden.TransactionSummary
	saved   map[string]string
}

func newFake(t testing.TB) *fakeEngine {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile("testdata/root/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return &fakeEngine{
		clock: &fakeClock{now: start}, areas: fakeAreas(), node: "cp1", distro: harden.Kubeadm, cluster: true, outcome: harden.OutcomeApplied, saved: map[string]string{},
		files: map[string][]byte{apiserverPath: read("kube-apiserver.yaml"), kubeletPath: read("kubelet-config.yaml")},
		history: []harden.TransactionSummary{
			{
				ID: "20261122-081500-7c1e", Started: start.Add(-27*time.Hour - 45*time.Minute), Scope: harden.ScopeNode, Who: "mei (uid 1000)", Reason: "CHG-1187",
				Controls: []string{"apiserver-authorization-mode", "kubelet-anonymous-auth"}, Targets: []string{apiserverPath, kubeletPath},
				Outcome: harden.OutcomeApplied, Script: "/var/lib/kubectl-harden/transactions/20261122-081500-7c1e/restore.sh",
			},
			{
				ID: "20261120-173002-0b9a", Started: start.Add(-66*time.Hour - 30*time.Minute), Scope: harden.ScopeNode, Who: "root",
				Controls: []string{"apiserver-profiling"}, Targets: []string{apiserverPath},
				Outcome: harden.OutcomeRolledBack, Script: "/var/lib/kubectl-harden/transactions/20261120-173002-0b9a/restore.sh",
			},
		},
	}
}

// begin is a preselection of named controls.
func begin(ids ...string) Preselection {
	return func(*harden.Facts) ([]harden.Choice, []harden.Skip, error) {
		var out []harden.Choice
		for _, id := range ids {
			out = append(out, harden.Choice{Control: id, Named: true})
		}
		return out, nil, nil
	}
}

func (e *fakeEngine) Areas() []harden.Area { return e.areas }

func (e *fakeEngine) Facts(context.Context) (*harden.Facts, error) {
	if e.factsErr != nil {
		return nil, e.factsErr
	}
	version := harden.Version{Major: 1, Minor: 37, Patch: 2}
	data := e.files[apiserverPath]
	var pod corev1.Pod
	if err := yaml.Unmarshal(data, &pod); err != nil {
		return nil, err
	}
	ct := pod.Spec.Containers[0]
	var fields map[string]any
	if err := yaml.Unmarshal(e.files[kubeletPath], &fields); err != nil {
		return nil, err
	}
	return &harden.Facts{
		Identity:    harden.Identity{Node: e.node, KubernetesVersion: version.String(), Root: "/"},
		CollectedAt: e.clock.Now(), Distro: e.distro, LookedFor: []harden.Evidence{
			{Source: "/etc/rancher/k3s", Value: harden.LookedFound}, {Source: "/var/lib/kubelet/kubeadm-flags.env", Value: harden.LookedMissing},
		},
		Components: map[harden.ComponentID]*harden.ComponentFacts{harden.APIServer: {
			ID: harden.APIServer, Manifest: harden.FileFact{Path: apiserverPath, State: e.state(apiserverPath)}, Pod: &pod,
			Container: ct.Name, Args: ct.Command, Effective: apiserverPath, Version: version,
			Process: &harden.ProcessFact{PID: 4711, Args: ct.Command, Started: start.Add(-time.Hour)},
		}},
		Kubelet: &harden.KubeletFacts{
			Version: version, Config: harden.FileFact{Path: kubeletPath, State: e.state(kubeletPath)}, PeakPids: -1,
			Layers: []harden.KubeletLayer{{Source: kubeletPath, Fields: fields}},
		},
		Missing: map[harden.Need]harden.Message{harden.NeedWorkloads: harden.Msg("the cluster was not read yet")},
	}, nil
}

func (e *fakeEngine) SlowFacts(ctx context.Context, f *harden.Facts) (*harden.Facts, error) {
	out := *f
	if !e.cluster {
		out.Missing = map[harden.Need]harden.Message{harden.NeedWorkloads: harden.Msg("reading the cluster: https://192.0.2.11:6443: connection refused")}
		return &out, errors.New("reading the cluster: https://192.0.2.11:6443: connection refused")
	}
	out.Missing = nil
	out.Cluster = &harden.ClusterFacts{
		Version:    harden.Version{Major: 1, Minor: 37, Patch: 2},
		Namespaces: []harden.NamespaceFact{{Name: "shop"}},
	}
	return &out, nil
}

func (e *fakeEngine) Assess(f *harden.Facts) []harden.Finding { return harden.Assess(f, e.areas) }

func (e *fakeEngine) state(path string) harden.State {
	data, ok := e.files[path]
	if !ok {
		return harden.State{}
	}
	return harden.State{Exists: true, Data: data, Mode: 0o600}
}

func (e *fakeEngine) Apply(ctx context.Context, p harden.Plan, c Confirmation, events func(harden.Event)) harden.Result {
	e.mu.Lock()
	e.applied = append(e.applied, p)
	e.confirm = append(e.confirm, c)
	e.mu.Unlock()
	script := e.script
	if script == nil {
		script = goodScript(p)
	}
	id := fmt.Sprintf("20261123-120000-%04d", len(e.applied))
	result := harden.Result{Transaction: id, Outcome: e.outcome, Script: "/var/lib/kubectl-harden/transactions/" + id + "/restore.sh"}
	for _, ev := range script {
		if e.gate != nil {
			select {
			case <-e.gate:
			case <-ctx.Done():
				events(harden.Event{Time: e.clock.Now(), Kind: harden.EventUndoing, Message: harden.Msg("undoing: interrupted")})
				result.Outcome = harden.OutcomeRolledBack
				result.Message = harden.Msg("interrupted; everything is as before")
				return result
			}
		}
		ev.Time = e.clock.Now()
		events(ev)
	}
	if result.Outcome == harden.OutcomeApplied {
		for _, s := range p.Steps() {
			if s.Kind == harden.StepFile {
				e.files[s.Path] = s.After.Data
			}
		}
	}
	return result
}

func goodScript(p harden.Plan) []harden.Event {
	script := "/var/lib/kubectl-harden/transactions/20261123-120000-0001/restore.sh"
	out := []harden.Event{{Kind: harden.EventBegun, Target: script, Message: harden.Msg("originals saved, restore.sh written: %s", script)}}
	for _, s := range p.Steps() {
		out = append(out, harden.Event{Kind: harden.EventWritten, Target: s.ID, Message: harden.Msg("as planned")})
	}
	return append(out,
		harden.Event{Kind: harden.EventAwaiting, Component: harden.APIServer, Message: harden.Msg("a new kube-apiserver that answers /livez and /readyz"), Timeout: 3 * time.Minute},
		harden.Event{Kind: harden.EventPassed, Component: harden.APIServer, Message: harden.Msg("process 5822 runs with the planned arguments")},
		harden.Event{Kind: harden.EventFinished, Message: harden.Msg("done"), Outcome: harden.OutcomeApplied})
}

func (e *fakeEngine) Standing(context.Context) (*Standing, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.standing, e.standingErr
}

func (e *fakeEngine) Confirm(_ context.Context, id string) harden.Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.standing == nil || e.standing.Transaction != id {
		return harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("confirming: transaction %s does not wait for that", id)}
	}
	res := harden.Result{Transaction: id, Outcome: harden.OutcomeApplied, Script: e.standing.Script, Message: harden.Msg("confirmed")}
	e.standing = nil
	return res
}

func (e *fakeEngine) History(context.Context) ([]harden.TransactionSummary, error) {
	return e.history, e.historyErr
}

func (e *fakeEngine) Events(_ context.Context, id string) ([]harden.Event, error) {
	if e.events != nil {
		return e.events, nil
	}
	return []harden.Event{
		{Time: start.Add(-28 * time.Hour), Kind: harden.EventBegun, Message: harden.Msg("originals saved, restore.sh written")},
		{Time: start.Add(-28 * time.Hour), Kind: harden.EventWritten, Target: apiserverPath, Message: harden.Msg("as planned")},
		{Time: start.Add(-28 * time.Hour), Kind: harden.EventFinished, Message: harden.Msg("done"), Outcome: harden.OutcomeApplied},
	}, nil
}

func (e *fakeEngine) Undo(_ context.Context, id, control string) ([]harden.Plan, error) {
	if e.undoErr != nil {
		return nil, e.undoErr
	}
	now := e.files[apiserverPath]
	prior, err := patches.SetFlag(now, "kube-apiserver", "authorization-mode", "AlwaysAllow")
	if err != nil {
		return nil, err
	}
	step := harden.Step{
		ID: apiserverPath, Kind: harden.StepFile, Path: apiserverPath, Component: harden.APIServer,
		Before: e.state(apiserverPath), After: harden.State{Exists: true, Data: prior, Mode: 0o600},
		Asks: []harden.Ask{{Control: "apiserver-authorization-mode"}},
	}
	return []harden.Plan{{
		Scope: harden.ScopeNode, Target: harden.Identity{Node: e.node}, Undoes: id,
		Stages: []harden.Stage{{
			Steps:   []harden.Step{step},
			Effects: []harden.Effect{{Kind: harden.EffectStaticPod, Component: harden.APIServer, Controls: []string{"apiserver-authorization-mode"}}},
			Gates:   []harden.Gate{{Component: harden.APIServer, Timeout: 3 * time.Minute}},
		}},
	}}, nil
}

func (e *fakeEngine) ScriptPath(p harden.Plan) string {
	return "/var/lib/kubectl-harden/transactions/20261123-120000-0001/restore.sh"
}

func (e *fakeEngine) SaveChoices(path string, choices []harden.Choice) error {
	var ids []string
	for _, c := range choices {
		ids = append(ids, c.Control)
	}
	return e.SaveDiff(path, []byte(strings.Join(ids, ",")))
}

func (e *fakeEngine) SaveDiff(path string, diff []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.saved[path]; ok {
		return fmt.Errorf("writing %s: it exists already", path)
	}
	e.saved[path] = string(diff)
	return nil
}

// fakeAreas are small, and of every kind that the screens have to show.
func fakeAreas() []harden.Area {
	apiserver := []harden.Need{harden.NeedAPIServer}
	kubelet := []harden.Need{harden.NeedKubelet}
	flag := func(f *harden.Facts, name string) harden.FlagFact { return f.Component(harden.APIServer).Flag(name) }
	return []harden.Area{
		{ID: "apiserver", Title: "API server", About: harden.Msg("Flags of kube-apiserver. Each change is written to its static pod; the kubelet then restarts it, once for all changes together."), Controls: []harden.Control{
			{
				ID: "apiserver-authorization-mode", Title: "Requests are authorized by Node and RBAC", Severity: harden.Critical, Needs: apiserver,
				Why:  harden.Msg("Without RBAC everybody who is authenticated may do everything."),
				Refs: harden.Refs{CIS: []string{"1.2.6", "1.2.7", "1.2.8"}, STIG: []string{"V-242382"}},
				Assess: func(f *harden.Facts) harden.Verdict {
					if v := flag(f, "authorization-mode"); v.Has("AlwaysAllow") {
						return harden.Failed(harden.Msg("every request is allowed"), v.Evidence("authorization-mode"))
					}
					return harden.Passed(harden.Msg("Node and RBAC decide"), flag(f, "authorization-mode").Evidence("authorization-mode"))
				},
			},
			{
				ID: "apiserver-anonymous-auth", Title: "Anonymous requests reach health endpoints only", Severity: harden.High, Needs: apiserver,
				Why:    harden.Msg("Whoever reaches the port can ask without credentials. RBAC keeps most of it closed; a mistake in one binding opens it to the whole network."),
				Refs:   harden.Refs{CIS: []string{"1.2.1"}, STIG: []string{"V-242390"}, Docs: []string{"https://kubernetes.io/docs/reference/access-authn-authz/authentication/"}},
				Assess: func(f *harden.Facts) harden.Verdict { return anonymous(f) },
				Remedies: []harden.Remedy{
					{
						ID: "health-endpoints-only", Title: harden.Msg("Allow anonymous requests for /livez, /readyz and /healthz only"), Risk: harden.RiskLockOut,
						Impact: harden.Msg("kube-apiserver restarts; other anonymous requests are answered with 401"),
						Breaks: []harden.Message{
							harden.Msg("kubeadm join with token discovery: it reads kube-public/cluster-info anonymously and fails with 401"),
							harden.Msg("load balancers that ask /version for health: they take the node out"),
						},
						Preconditions: func(*harden.Facts, harden.Values) []harden.Precondition {
							return []harden.Precondition{
								{ID: "no-oidc-flags", Title: harden.Msg("no OIDC flags are in use"), State: harden.Met},
								{ID: "balancer-health-path", Title: harden.Msg("load balancers ask for /livez or /readyz"), State: harden.PreconditionUnknown, Message: harden.Msg("the load balancer cannot be seen from this node")},
							}
						},
						Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
							return []harden.Intent{
								harden.MakeDir("/etc/kubernetes/authn", 0o700),
								harden.WriteFile("/etc/kubernetes/authn/config.yaml", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n  - path: /readyz\n  - path: /healthz\n"), 0o600, harden.APIServer),
								harden.SetFlag(harden.APIServer, "authentication-config", "/etc/kubernetes/authn/config.yaml"),
								harden.MountPath(harden.APIServer, patches.Mount{Name: "authn", HostPath: "/etc/kubernetes/authn", MountPath: "/etc/kubernetes/authn", ReadOnly: true, Type: "Directory"}),
							}, nil
						},
					},
					{
						ID: "no-anonymous", Title: harden.Msg("Refuse every anonymous request"), Risk: harden.RiskLockOut, Literal: true,
						Impact: harden.Msg("kube-apiserver restarts; probes are changed to TCP, since they are anonymous"),
						Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
							return []harden.Intent{harden.SetFlag(harden.APIServer, "anonymous-auth", "false"), harden.TCPProbes(harden.APIServer)}, nil
						},
					},
				},
			},
			{
				ID: "apiserver-admission-plugins", Title: "Admission has NodeRestriction, ResourceQuota and LimitRanger", Severity: harden.Medium, Needs: apiserver,
				Why:  harden.Msg("NodeRestriction keeps a stolen kubelet credential from changing other nodes."),
				Refs: harden.Refs{CIS: []string{"1.2.14"}},
				Assess: func(f *harden.Facts) harden.Verdict {
					v := flag(f, "enable-admission-plugins")
					if v.Has("AlwaysPullImages") {
						return harden.Passed(harden.Msg("all are on"), v.Evidence("enable-admission-plugins"))
					}
					return harden.Failed(harden.Msg("AlwaysPullImages is not on"), v.Evidence("enable-admission-plugins"))
				},
				Remedies: []harden.Remedy{{
					ID: "merge", Title: harden.Msg("Add the missing plugins to the list"), Risk: harden.RiskNode, Impact: harden.Msg("kube-apiserver restarts"),
					Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
						return []harden.Intent{harden.MergeList(harden.APIServer, "enable-admission-plugins", []string{"AlwaysPullImages"}, nil)}, nil
					},
				}},
			},
			{
				ID: "apiserver-profiling", Title: "Profiling is off", Severity: harden.Low, Needs: apiserver,
				Why:  harden.Msg("Profiles show internals of the server to whoever may read them, and cost it time."),
				Refs: harden.Refs{CIS: []string{"1.2.15"}},
				Assess: func(f *harden.Facts) harden.Verdict {
					if v := flag(f, "profiling"); v.Last() != "false" {
						return harden.Failed(harden.Msg("profiling is on, as it is by default"), v.Evidence("profiling"))
					}
					return harden.Passed(harden.Msg("profiling is off"), flag(f, "profiling").Evidence("profiling"))
				},
				Remedies: []harden.Remedy{{
					ID: "off", Title: harden.Msg("Set --profiling=false"), Risk: harden.RiskNode, Impact: harden.Msg("kube-apiserver restarts on this node, about 30 to 60 seconds"),
					Breaks: []harden.Message{harden.Msg("tools that read /debug/pprof from the API server get 404")},
					Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
						return []harden.Intent{harden.SetFlag(harden.APIServer, "profiling", "false")}, nil
					},
				}},
			},
			{
				ID: "apiserver-token-auth-file", Title: "No static token file", Severity: harden.High, Needs: apiserver, Why: harden.Msg("Static tokens never expire."),
				Versions: harden.Until(1), Assess: func(*harden.Facts) harden.Verdict { return harden.Passed(harden.Msg("it is not set")) },
			},
		}},
		{ID: "audit", Title: "Audit", About: harden.Msg("Who did what, and when: policy, log file, and how long it is kept."), Controls: []harden.Control{{
			ID: "audit-policy", Title: "An audit policy is in force and its log is kept", Severity: harden.High, Needs: apiserver,
			Why:  harden.Msg("Without it nobody can say afterwards what happened."),
			Refs: harden.Refs{CIS: []string{"1.2.16", "1.2.17", "3.2.1"}, Seed: []string{"audit"}},
			Assess: func(f *harden.Facts) harden.Verdict {
				if v := flag(f, "audit-policy-file"); !v.Set {
					return harden.Failed(harden.Msg("nothing is audited"), v.Evidence("audit-policy-file"))
				}
				return harden.Passed(harden.Msg("there is a policy"))
			},
			Remedies: []harden.Remedy{{
				ID: "write", Title: harden.Msg("Write a policy, log to a file, keep it for a while"), Risk: harden.RiskNode, Impact: harden.Msg("kube-apiserver restarts; the log takes up to 1.1 GB"),
				Options: []harden.Option{
					{Name: "maxage", Title: harden.Msg("Days that old logs are kept"), Kind: harden.OptionNumber, Default: "30", Unit: "days"},
					{Name: "maxbackup", Title: harden.Msg("Old log files that are kept"), Kind: harden.OptionNumber, Default: "10", Check: func(s string) error {
						if s == "0" {
							return errors.New("0 keeps all of them, until the disk is full")
						}
						return nil
					}},
					{Name: "format", Title: harden.Msg("Format of the lines"), Kind: harden.OptionOneOf, Default: "json", Choices: []string{"json", "legacy"}},
					{Name: "secrets", Title: harden.Msg("Log reads of secrets, too"), Kind: harden.OptionSwitch, Default: "true"},
				},
				Preconditions: func(*harden.Facts, harden.Values) []harden.Precondition {
					return []harden.Precondition{{ID: "disk", Title: harden.Msg("the log fits on the disk"), State: harden.Met}}
				},
				Intents: func(_ *harden.Facts, v harden.Values) ([]harden.Intent, error) {
					return []harden.Intent{
						harden.MakeDir("/etc/kubernetes/policies", 0o700),
						harden.WriteFile(policyPath, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"), 0o600, harden.APIServer),
						harden.SetFlag(harden.APIServer, "audit-policy-file", policyPath),
						harden.SetFlag(harden.APIServer, "audit-log-maxage", v["maxage"]),
					}, nil
				},
			}},
		}}},
		{ID: "kubelet", Title: "Kubelet", About: harden.Msg("The kubelet's configuration file; changes take one restart of the kubelet, pods go on."), Controls: []harden.Control{
			{
				ID: "kubelet-anonymous-auth", Title: "Anonymous requests are refused", Severity: harden.High, Needs: kubelet, Why: harden.Msg("Whoever reaches the port could run commands in pods."),
				Assess: func(f *harden.Facts) harden.Verdict {
					return harden.Passed(harden.Msg("they are refused"), harden.Evidence{Source: kubeletPath, Value: "authentication.anonymous.enabled: false"})
				},
			},
			{
				ID: "kubelet-event-qps", Title: "Events are not dropped", Severity: harden.Low, Needs: kubelet, Why: harden.Msg("Dropped events hide what an intruder did."),
				Assess: func(f *harden.Facts) harden.Verdict {
					if v := f.Kubelet.Field("eventRecordQPS"); !v.Set {
						return harden.NeedsPerson(harden.Msg("the default of 50 a second holds; whether that is enough depends on this node"))
					}
					return harden.Passed(harden.Msg("it is set"))
				},
				Remedies: []harden.Remedy{{
					ID: "unlimited", Title: harden.Msg("Record every event"), Risk: harden.RiskNode, Impact: harden.Msg("the kubelet restarts; pods go on"),
					Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
						return []harden.Intent{harden.SetField(kubeletPath, "eventRecordQPS", 0, harden.Kubelet)}, nil
					},
				}},
			},
		}},
		{ID: "networkpolicy", Title: "NetworkPolicies", About: harden.Msg("What may reach the pods of each namespace."), Controls: []harden.Control{{
			ID: "networkpolicy-shop", Title: "Namespace shop denies ingress by default", Severity: harden.Medium, Needs: []harden.Need{harden.NeedWorkloads},
			Why:    harden.Msg("A pod that was taken over reaches every other pod."),
			Assess: func(*harden.Facts) harden.Verdict { return harden.Failed(harden.Msg("there is no policy")) },
			Remedies: []harden.Remedy{{
				ID: "deny-all-ingress", Title: harden.Msg("Deny all, allow what its Services expose"), Risk: harden.RiskWorkloads, Impact: harden.Msg("connections from other namespaces end, but for port 8080 of web"),
				Breaks: []harden.Message{harden.Msg("metrics that are scraped from another namespace: targets go down")},
				Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
					return []harden.Intent{harden.PutObject(harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny-all-ingress"},
						[]byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: deny-all-ingress\n  namespace: shop\nspec:\n  podSelector: {}\n  policyTypes:\n  - Ingress\n"))}, nil
				},
			}},
		}}},
	}
}

func anonymous(f *harden.Facts) harden.Verdict {
	v := f.Component(harden.APIServer).Flag("anonymous-auth")
	if v.Last() == "false" || f.Component(harden.APIServer).Flag("authentication-config").Set {
		return harden.Passed(harden.Msg("anonymous requests are limited"))
	}
	return harden.Failed(harden.Msg("anonymous requests reach every path that RBAC lets them"), v.Evidence("anonymous-auth"))
}
