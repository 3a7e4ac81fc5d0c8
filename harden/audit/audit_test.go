package audit

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

var allControls = []string{"audit-policy", "audit-log-path", "audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"}

// statuses are the verdicts of all controls on a node.
func statuses(t *testing.T, n *hardentest.Node) map[string]harden.Finding {
	t.Helper()
	out := map[string]harden.Finding{}
	for _, f := range harden.Assess(n.Facts(t), []harden.Area{Area()}) {
		out[f.Control] = f
	}
	return out
}

const policyDir = "/etc/kubernetes/policies"

// logging is a node that records requests in the given log with the given policy, mounted as its remedy mounts it.
func logging(t testing.TB, minor, log, policy string, more ...hardentest.Edit) *hardentest.Node {
	t.Helper()
	edits := []hardentest.Edit{hardentest.Flag(policyFlag, PolicyFile), hardentest.Flag(pathFlag, log), hardentest.Mount(policyDir, "Directory", "readOnly: true")}
	if log == LogFile {
		edits = append(edits, hardentest.Mount("/var/log/kubernetes/audit", "DirectoryOrCreate"))
	}
	n := hardentest.APIServer(t, minor, append(edits, more...)...)
	n.Files[policyDir] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	n.Write(PolicyFile, policy, 0o600)
	return n
}

// whole are the changes of the remedy on a node without audit logging.
var whole = []string{
	"make /etc/kubernetes/policies", "write /etc/kubernetes/policies/audit-policy.yaml",
	"kube-apiserver.yaml: + - --audit-log-maxage=30",
	"kube-apiserver.yaml: + - --audit-log-maxbackup=10",
	"kube-apiserver.yaml: + - --audit-log-maxsize=100",
	"kube-apiserver.yaml: + - --audit-log-path=/var/log/kubernetes/audit/audit.log",
	"kube-apiserver.yaml: + - --audit-policy-file=/etc/kubernetes/policies/audit-policy.yaml",
	"kube-apiserver.yaml: + - mountPath: /etc/kubernetes/policies",
	"kube-apiserver.yaml: + name: audit-policy",
	"kube-apiserver.yaml: + readOnly: true",
	"kube-apiserver.yaml: + - mountPath: /var/log/kubernetes/audit",
	"kube-apiserver.yaml: + name: audit-log",
	"kube-apiserver.yaml: + - hostPath:",
	"kube-apiserver.yaml: + path: /etc/kubernetes/policies",
	"kube-apiserver.yaml: + type: Directory",
	"kube-apiserver.yaml: + name: audit-policy",
	"kube-apiserver.yaml: + - hostPath:",
	"kube-apiserver.yaml: + path: /var/log/kubernetes/audit",
	"kube-apiserver.yaml: + type: DirectoryOrCreate",
	"kube-apiserver.yaml: + name: audit-log",
}

// Any control alone, and all together, make the same one change, after which all pass.
func TestOneChange(t *testing.T) {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	choose := map[string][]string{"all": allControls}
	for _, c := range allControls {
		choose[c+" alone"] = []string{c}
	}
	for name, controls := range choose {
		for _, minor := range hardentest.Minors {
			t.Run(name+" "+minor, func(t *testing.T) {
				n := hardentest.APIServer(t, minor)
				var choices []harden.Choice
				for _, c := range controls {
					if got := statuses(t, n)[c]; got.Status != harden.StatusFail {
						t.Fatalf("%s is %s before: %s", c, got.Status, got.Message)
					}
					choices = append(choices, harden.Choice{Control: c})
				}
				p, err := n.Plan(t, Area(), choices...)
				if err != nil {
					t.Fatal(err)
				}
				if got := hardentest.Changes(t, p); !slices.Equal(sorted(got), sorted(whole)) {
					t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(whole, "\n"))
				}
				if len(p.Stages[0].Gates) != 1 || len(p.Stages[0].Gates[0].Proofs) != 1 || p.Stages[0].Gates[0].Proofs[0].Path != LogFile {
					t.Errorf("gates = %v, want one with one proof, of a line in the log", p.Stages[0].Gates)
				}
				n.Apply(p)
				for c, got := range statuses(t, n) {
					if got.Status != harden.StatusPass && c != "audit-webhook" { // which nothing here sets up
						t.Errorf("afterwards %s is %s: %s", c, got.Status, got.Message)
					}
				}
				if again, err := n.Plan(t, Area(), choices...); err != nil || !again.Empty() {
					t.Errorf("the same plan again is not empty: %v %v", hardentest.Changes(t, again), err)
				}
				if got := n.Files[PolicyFile]; got.Mode != 0o600 || string(got.Data) != string(patches.AuditPolicy()) {
					t.Errorf("the policy has mode %o and is not the template", got.Mode)
				}
			})
		}
	}
}

// Chosen together, each line is attributed to the control that it belongs to.
func TestAttribution(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	choices, _, err := harden.Select(n.Facts(t), []harden.Area{Area()}, harden.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Plan(t, Area(), choices...)
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	for _, s := range p.Steps() {
		if s.Path != hardentest.ManifestPath {
			continue
		}
		lines := strings.Split(string(s.After.Data), "\n")
		for _, m := range s.Marks {
			text := strings.TrimSpace(lines[m.New-1])
			if name, ok := strings.CutPrefix(text, "- --"); ok {
				flags++
				name, _, _ = strings.Cut(name, "=")
				want := strings.Replace(name, "audit-policy-file", "audit-policy", 1)
				if !slices.Equal(m.Controls, []string{want}) {
					t.Errorf("%s is asked by %v, want %s", text, m.Controls, want)
				}
			}
		}
	}
	if flags != len(allControls) {
		t.Errorf("%d flags are attributed, want %d", flags, len(allControls))
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		name    string
		minor   string
		choices []harden.Choice
		want    []string // flags afterwards
		mount   string
		err     string
	}{
		{"set on one, held by all", "1.30", []harden.Choice{
			{Control: "audit-log-path", Options: harden.Values{"path": "/data/audit/kube.log", "maxsize": "200"}}, {Control: "audit-log-maxage", Options: harden.Values{"maxage": "60"}}, {Control: "audit-policy"},
		}, []string{"--audit-log-maxage=60", "--audit-log-maxsize=200", "--audit-log-path=/data/audit/kube.log"}, "/data/audit", ""},
		{"the document's path", "1.37", []harden.Choice{{Control: "audit-log-path", Options: harden.Values{"path": "/var/log/audit.log"}}},
			[]string{"--audit-log-path=/var/log/audit.log"}, "/var/log", ""},
		{"disagreeing", "1.37", []harden.Choice{
			{Control: "audit-log-path", Options: harden.Values{"maxage": "40"}}, {Control: "audit-log-maxage", Options: harden.Values{"maxage": "60"}},
		}, nil, "", "audit-log-path sets the same"},
		{"too little", "1.37", []harden.Choice{{Control: "audit-log-maxage", Options: harden.Values{"maxage": "7"}}}, nil, "", "between 30"},
		{"a system directory", "1.37", []harden.Choice{{Control: "audit-log-path", Options: harden.Values{"path": "/etc/kubernetes/manifests/audit.log"}}}, nil, "", "must not be"},
		{"the root", "1.37", []harden.Choice{{Control: "audit-log-path", Options: harden.Values{"path": "/audit.log"}}}, nil, "", "cannot be /"},
		{"no path", "1.37", []harden.Choice{{Control: "audit-log-path", Options: harden.Values{"path": "audit.log"}}}, nil, "", "not a clean absolute path"},
		{"etcd's data", "1.37", []harden.Choice{{Control: "audit-log-path", Options: harden.Values{"path": "/var/lib/etcd/member/audit.log"}}}, nil, "", "must not be"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := hardentest.APIServer(t, tt.minor)
			p, err := n.Plan(t, Area(), tt.choices...)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error = %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n.Apply(p)
			manifest := string(n.Files[hardentest.ManifestPath].Data)
			for _, flag := range tt.want {
				if !strings.Contains(manifest, "- "+flag+"\n") {
					t.Errorf("afterwards %s is missing", flag)
				}
			}
			if !strings.Contains(manifest, "mountPath: "+tt.mount+"\n") {
				t.Errorf("afterwards %s is not mounted", tt.mount)
			}
			for c, got := range statuses(t, n) {
				if got.Status != harden.StatusPass && c != "audit-webhook" { // which nothing here sets up
					t.Errorf("afterwards %s is %s: %s", c, got.Status, got.Message)
				}
			}
		})
	}
}

func TestPreconditions(t *testing.T) {
	tests := []struct {
		name  string
		free  uint64
		log   string
		edits []hardentest.Edit
		facts func(*harden.Facts)
		want  map[string]harden.PreconditionState
		says  string
	}{
		{"enough", 20 << 30, LogFile, nil, nil, map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.Met}, ""},
		{"twice the logs, exactly", 2200 << 20, LogFile, nil, nil, map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.Met}, ""},
		{"a byte too few", 2200<<20 - 1, LogFile, nil, nil, map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.Unmet}, "set a lower maxbackup or maxsize"},
		{"no disk seen", 0, LogFile, nil, func(f *harden.Facts) { f.Disks = nil }, map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.PreconditionUnknown}, "not known"},
		{"the document's path", 20 << 30, "/var/log/audit.log", nil, nil, map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.Met, "log-directory": harden.Met}, "all of /var/log is mounted"},
		{"auditd's directory", 20 << 30, "/var/log/audit/kube.log", nil, func(f *harden.Facts) { f.Disks["/var/log/audit"] = harden.DiskFact{Free: 20 << 30} },
			map[string]harden.PreconditionState{"runs-as-root": harden.Met, "disk-space": harden.Met, "log-directory": harden.Met}, "auditd"},
		{"rootless", 20 << 30, LogFile, []hardentest.Edit{hardentest.Replace("  securityContext:\n", "  securityContext:\n    runAsUser: 1000\n")}, nil,
			map[string]harden.PreconditionState{"runs-as-root": harden.Unmet, "disk-space": harden.Met}, "another user"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := hardentest.APIServer(t, "1.37", tt.edits...)
			n.Free = tt.free
			f := n.Facts(t)
			if tt.facts != nil {
				tt.facts(f)
			}
			values, err := pathControl.Remedies[0].Fill("audit-log-path", harden.Values{"path": tt.log})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]harden.PreconditionState{}
			var said strings.Builder
			for _, pre := range preconditions(f, values) {
				got[pre.ID] = pre.State
				said.WriteString(pre.Message.String() + "\n")
			}
			for id, want := range tt.want {
				if got[id] != want {
					t.Errorf("%s is %s, want %s", id, got[id], want)
				}
			}
			if len(got) != len(tt.want) || !strings.Contains(said.String(), tt.says) {
				t.Errorf("preconditions %v say\n%swant %q", got, said.String(), tt.says)
			}
		})
	}
}

func TestUnmetDiskSpaceBlocks(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	n.Free = 1 << 30
	var choices []harden.Choice
	for _, c := range allControls {
		choices = append(choices, harden.Choice{Control: c})
	}
	p, err := n.Plan(t, Area(), choices...)
	if err != nil || !p.Empty() || len(p.Skipped) != len(allControls) {
		t.Errorf("plan = %v, skipped %d, error %v: want nothing but %d skipped", hardentest.Changes(t, p), len(p.Skipped), err, len(allControls))
	}
}

func TestNoControlPlane(t *testing.T) {
	for _, found := range harden.Assess(hardentest.Worker(t), []harden.Area{Area()}) {
		if found.Status != harden.StatusNotApplicable {
			t.Errorf("%s on a worker is %s: %s", found.Control, found.Status, found.Message)
		}
	}
}

// Undoing one control of a joint change takes back what is its own, and nothing of the others.
func TestUndoOne(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	var choices []harden.Choice
	for _, c := range allControls {
		choices = append(choices, harden.Choice{Control: c})
	}
	p, err := n.Plan(t, Area(), choices...)
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(p)
	back, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Controls: []string{"audit-log-maxbackup"}, Facts: n.Facts(t), Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hardentest.Changes(t, back), []string{"kube-apiserver.yaml: - - --audit-log-maxbackup=10"}; !slices.Equal(got, want) {
		t.Errorf("undoing changes %v, want %v", got, want)
	}
}
