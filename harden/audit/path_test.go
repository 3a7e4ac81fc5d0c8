package audit

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestLogPath(t *testing.T) {
	tests := []struct {
		name  string
		edits []hardentest.Edit
		want  harden.Status
		says  string
	}{
		{"kubeadm's", nil, harden.StatusFail, "not set"},
		{"mounted", []hardentest.Edit{hardentest.Flag(pathFlag, LogFile), hardentest.Mount("/var/log/kubernetes/audit", "DirectoryOrCreate")}, harden.StatusPass, LogFile},
		{"a parent is mounted", []hardentest.Edit{hardentest.Flag(pathFlag, LogFile), hardentest.Mount("/var/log", "")}, harden.StatusPass, LogFile},
		{"not mounted", []hardentest.Edit{hardentest.Flag(pathFlag, LogFile)}, harden.StatusFail, "lost with the container"},
		{"a file by itself", []hardentest.Edit{hardentest.Flag(pathFlag, "/var/log/audit.log"), hardentest.Mount("/var/log/audit.log", "FileOrCreate")}, harden.StatusFail, "cannot be rotated"},
		{"read-only", []hardentest.Edit{hardentest.Flag(pathFlag, LogFile), hardentest.Mount("/var/log", "Directory", "readOnly: true")}, harden.StatusFail, "read-only"},
		{"standard output", []hardentest.Edit{hardentest.Flag(pathFlag, "-")}, harden.StatusPass, "standard output"},
		{"in args", []hardentest.Edit{hardentest.Flag(pathFlag, "-"), hardentest.InArgs()}, harden.StatusPass, ""},
	}
	for _, tt := range tests {
		for _, minor := range hardentest.Minors {
			t.Run(tt.name+" "+minor, func(t *testing.T) {
				got := statuses(t, hardentest.APIServer(t, minor, tt.edits...))["audit-log-path"]
				if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || len(got.Evidence) == 0 {
					t.Errorf("%s: %s, want %s with %q and evidence", got.Status, got.Message, tt.want, tt.says)
				}
			})
		}
	}
}

// What is right stays: a plan touches only the part that fails.
func TestKeepsWhatIsRight(t *testing.T) {
	policy := string(patches.AuditPolicy())
	full := []hardentest.Edit{hardentest.Flag("audit-log-maxage", "90"), hardentest.Flag("audit-log-maxbackup", "20")}
	tests := []struct {
		name    string
		node    *hardentest.Node
		control string
		want    []string
		skip    string
	}{
		{"only the limits are missing", logging(t, "1.30", LogFile, policy), "audit-log-maxage",
			[]string{"kube-apiserver.yaml: + - --audit-log-maxage=30", "kube-apiserver.yaml: + - --audit-log-maxbackup=10", "kube-apiserver.yaml: + - --audit-log-maxsize=100"}, ""},
		{"what is in force by default is written down", logging(t, "1.37", LogFile, policy), "audit-log-maxsize",
			[]string{"kube-apiserver.yaml: + - --audit-log-maxage=366", "kube-apiserver.yaml: + - --audit-log-maxbackup=100", "kube-apiserver.yaml: + - --audit-log-maxsize=100"}, ""},
		{"one limit is too low", logging(t, "1.34", LogFile, policy, append(full, hardentest.Flag("audit-log-maxsize", "10"))...), "audit-log-maxsize",
			[]string{"kube-apiserver.yaml: - - --audit-log-maxsize=10", "kube-apiserver.yaml: + - --audit-log-maxsize=100"}, ""},
		{"standard output needs no limits", logging(t, "1.30", "-", policy), "audit-log-maxage", nil, "standard output"},
		{"a file by itself is left to a person", logging(t, "1.37", LogFile, policy, hardentest.Mount(LogFile, "FileOrCreate")), "audit-log-path", nil, "remove that mount"},
		{"a read-only directory is left to a person", hardentest.APIServer(t, "1.37", hardentest.Mount("/var/log/kubernetes/audit", "Directory", "readOnly: true")), "audit-log-path", nil, "by hand"},
		{"a mount of a parent is used", hardentest.APIServer(t, "1.37", hardentest.Mount("/var/log", "Directory"), hardentest.Mount("/etc/kubernetes", "Directory")), "audit-log-path",
			slices.DeleteFunc(slices.Clone(whole), func(s string) bool {
				return strings.HasPrefix(s, "kube-apiserver.yaml: + ") && !strings.Contains(s, " - --")
			}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.node.Plan(t, Area(), harden.Choice{Control: tt.control, Named: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := hardentest.Changes(t, p); !slices.Equal(got, tt.want) {
				t.Errorf("the plan changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if tt.skip != "" && (len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), tt.skip)) {
				t.Errorf("skipped %v, want one because of %q", p.Skipped, tt.skip)
			}
		})
	}
}
