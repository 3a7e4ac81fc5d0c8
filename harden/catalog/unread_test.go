package catalog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

const own = "/etc/kubernetes/own/"

// ownFile is a file of the component that a control passes by.
type ownFile struct {
	control   string
	component harden.ComponentID
	flags     []string // name=value, the file's first
	text      string
	minor     string
}

var (
	goodAuthn = ownFile{"apiserver-anonymous-auth", harden.APIServer, []string{"authentication-config=" + own + "file.yaml"},
		"apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]}\n", "1.37"}
	goodPodSecurity = ownFile{"apiserver-pod-security-defaults", harden.APIServer, []string{"admission-control-config-file=" + own + "file.yaml"},
		"kind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  path: beside.yaml\n- name: EventRateLimit\n  path: other.yaml\n", "1.37"}
	goodPolicy     = ownFile{"audit-policy", harden.APIServer, []string{"audit-policy-file=" + own + "file.yaml"}, string(patches.AuditPolicy()), "1.37"}
	falco          = ownFile{"audit-falco", harden.APIServer, []string{"audit-policy-file=" + own + "file.yaml", "audit-log-path=" + own + "audit.log"}, string(patches.AuditPolicy()), "1.37"}
	goodAuthz      = ownFile{"apiserver-authorization-mode", harden.APIServer, []string{"authorization-config=" + own + "file.yaml"}, "kind: AuthorizationConfiguration\nauthorizers: [{type: Node, name: n}, {type: RBAC, name: r}]\n", "1.37"}
	goodEncryption = ownFile{"apiserver-encryption-at-rest", harden.APIServer, []string{"encryption-provider-config=" + own + "file.yaml"},
		"kind: EncryptionConfiguration\nresources: [{resources: [secrets], providers: [{secretbox: {}}]}]\n", "1.37"}
	goodReceiver  = ownFile{"audit-webhook", harden.APIServer, []string{"audit-webhook-config-file=" + own + "file.yaml"}, "clusters: [{name: a, cluster: {server: 'https://192.0.2.9'}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", "1.37"}
	goodScheduler = ownFile{"scheduler-profiling", harden.Scheduler, []string{"config=" + own + "file.yaml"}, "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nenableProfiling: false\n", "1.37"}
	goodEtcd      = ownFile{"etcd-client-cert-auth", harden.Etcd, []string{"config-file=" + own + "file.yaml"}, "client-transport-security: {client-cert-auth: true, trusted-ca-file: /etc/kubernetes/pki/etcd/ca.crt}\n", "1.37"}
)

func (o ownFile) with(flag string) ownFile {
	o.flags = append(slices.Clip(o.flags), flag)
	return o
}

func (o ownFile) on(minor string) ownFile {
	o.minor = minor
	return o
}

func (o ownFile) node(t *testing.T) *hardentest.Node {
	t.Helper()
	edits := []hardentest.Edit{hardentest.Mount(strings.TrimSuffix(own, "/"), "Directory", "readOnly: true")}
	for _, flag := range o.flags {
		name, value, _ := strings.Cut(flag, "=")
		edits = append(edits, hardentest.NoFlag(name), hardentest.Flag(name, value))
	}
	if o.component == harden.APIServer {
		edits = append(edits, hardentest.NoFlag("authorization-mode"), hardentest.Version(o.minor))
		if !strings.HasPrefix(o.flags[0], "authorization-config") {
			edits = append(edits, hardentest.Flag("authorization-mode", "Node,RBAC"))
		}
	}
	n := hardentest.StaticPod(t, "1.37", o.component, edits...)
	n.Files[strings.TrimSuffix(own, "/")] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	n.Write(own+"file.yaml", o.text, 0o600)
	n.Write(own+"beside.yaml", "kind: PodSecurityConfiguration\ndefaults: {enforce: baseline}\n", 0o600)
	n.Write(own+"other.yaml", "limits: []\n", 0o600)
	return n
}

// TestWhatAComponentHasNotReadIsNotInForce: files that are read at the start only were judged as they lie there, although the process
// runs by what was there before.
func TestWhatAComponentHasNotReadIsNotInForce(t *testing.T) {
	const start, before, after = -48 * time.Hour, -49 * time.Hour, -time.Hour
	for _, tt := range []struct {
		name    string
		own     ownFile
		changed string
		at      time.Duration // before now
		want    harden.Status
	}{
		{"an authentication configuration from before", goodAuthn, "file.yaml", before, harden.StatusPass},
		{"an authentication configuration, of which some is read again", goodAuthn, "file.yaml", after, harden.StatusManual},
		{"an admission configuration from before", goodPodSecurity, "file.yaml", before, harden.StatusPass},
		{"an admission configuration", goodPodSecurity, "file.yaml", after, harden.StatusFail},
		{"a file that it names", goodPodSecurity, "beside.yaml", after, harden.StatusFail},
		{"a file that it names for another plugin", goodPodSecurity, "other.yaml", after, harden.StatusPass},
		{"an audit policy", goodPolicy, "file.yaml", after, harden.StatusFail},
		{"the audit policy by which Falco finds what it looks for", falco, "file.yaml", after, harden.StatusFail},
		{"an audit policy that was written as it started", goodPolicy, "file.yaml", start + time.Second, harden.StatusPass},
		{"an authorization configuration, which is read again", goodAuthz, "file.yaml", after, harden.StatusPass},
		{"an authorization configuration, which is not read again", goodAuthz.on("1.29.14"), "file.yaml", after, harden.StatusFail},
		{"an authorization configuration of who knows which version", goodAuthz.on("latest"), "file.yaml", after, harden.StatusManual},
		{"an encryption configuration", goodEncryption, "file.yaml", after, harden.StatusFail},
		{"an encryption configuration, which is read again", goodEncryption.with("encryption-provider-config-automatic-reload=true"), "file.yaml", after, harden.StatusPass},
		{"an encryption configuration, which is not read again", goodEncryption.with("encryption-provider-config-automatic-reload=false"), "file.yaml", after, harden.StatusFail},
		{"a receiver of audit events", goodReceiver, "file.yaml", after, harden.StatusFail},
		{"a scheduler's configuration", goodScheduler, "file.yaml", after, harden.StatusFail},
		{"a scheduler's configuration from before", goodScheduler, "file.yaml", before, harden.StatusPass},
		{"etcd's configuration", goodEtcd, "file.yaml", after, harden.StatusFail},
		{"etcd's configuration from before", goodEtcd, "file.yaml", before, harden.StatusPass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := tt.own.node(t)
			n.Modified[own+tt.changed] = hardentest.Now.Add(tt.at)
			facts := func(started time.Time) *harden.Facts {
				f := n.Facts(t)
				hardentest.RunPod(f, tt.own.component, started)
				f.Component(tt.own.component).Process.Resident = 300 << 20
				f.Machine = &harden.MachineFact{MemAvailable: 4 << 30, Systemd: true}
				delete(f.Missing, harden.NeedNodes)
				f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{{Name: "cp1", ControlPlane: true}}}
				return f
			}
			f := facts(hardentest.Now.Add(start))
			found := findingOf(t, f, tt.own.control)
			if found.Status != tt.want {
				t.Fatalf("%s: %s %v", found.Status, found.Message, found.Evidence)
			}
			choice := harden.Choice{Control: tt.own.control, Named: true, Accept: true}
			build := func(f *harden.Facts) harden.Plans {
				t.Helper()
				plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: Areas(), Choices: []harden.Choice{choice}, Read: n.State, Now: f.CollectedAt, Tool: "test"})
				if err != nil {
					t.Fatal(err)
				}
				if tt.own.component == harden.Etcd {
					plans.Node, plans.Etcd = plans.Etcd, plans.Node
				}
				return plans
			}
			p := build(f).Node
			if tt.want == harden.StatusPass {
				if !p.Empty() {
					t.Errorf("planned: %v", hardentest.Changes(t, p))
				}
				return
			}
			c, _ := harden.ComponentByID(tt.own.component)
			restarted := "+ kubectl-harden.io/restarted-for: " + own + tt.changed + " of "
			changes := hardentest.Changes(t, p)
			if len(changes) == 0 || !strings.HasPrefix(changes[len(changes)-1], c.Manifest+": "+restarted) || len(p.Steps()) != 1 {
				t.Fatalf("planned %q, skipped %v", changes, p.Skipped)
			}
			if _, ok := p.Stages[0].Effect(tt.own.component); !ok {
				t.Error("nothing restarts it")
			}
			if err := harden.CheckPlan(p, f); err != nil {
				t.Error(err)
			}
			if _, err := harden.Recheck(p, f, Areas()); err != nil {
				t.Error(err)
			}
			n.Apply(p)
			f = facts(hardentest.Now)
			if found := findingOf(t, f, tt.own.control); found.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", found.Status, found.Message)
			}
			if again := build(f).Node; !again.Empty() {
				t.Errorf("the same again: %v", hardentest.Changes(t, again))
			}
		})
	}
}

func findingOf(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, Areas()) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("there is no control %s", id)
	return harden.Finding{}
}

// TestUnreadFilesOfSeveralControlsAreOneRestart: each would have written down another file as the reason.
func TestUnreadFilesOfSeveralControlsAreOneRestart(t *testing.T) {
	both := goodPolicy.with("authentication-config=" + own + "authn.yaml")
	n := both.node(t)
	n.Write(own+"authn.yaml", goodAuthn.text, 0o600)
	n.Modified[own+"file.yaml"], n.Modified[own+"authn.yaml"] = hardentest.Now.Add(-time.Hour), hardentest.Now.Add(-2*time.Hour)
	f := liveFacts(t, n, harden.APIServer)
	f.Component(harden.APIServer).Process.Started = hardentest.Now.Add(-48 * time.Hour)
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: Areas(), Read: n.State, Now: f.CollectedAt, Tool: "test",
		Choices: []harden.Choice{{Control: "apiserver-anonymous-auth", Accept: true}, {Control: "audit-policy", Accept: true}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "kube-apiserver.yaml: + kubectl-harden.io/restarted-for: " + own + "file.yaml of "
	if got := hardentest.Changes(t, plans.Node); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("%q, skipped %v", got, plans.Node.Skipped)
	}
}
