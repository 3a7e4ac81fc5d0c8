package audit

import (
	"fmt"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestLogMode(t *testing.T) {
	for _, tt := range []struct {
		mode string
		want harden.Status
		says string
	}{
		{"", harden.StatusPass, "go on"}, {"blocking", harden.StatusPass, ""},
		{"blocking-strict", harden.StatusManual, "takes the API away"}, {"batch", harden.StatusManual, "lost"}, {"fast", harden.StatusFail, "no mode"},
	} {
		for _, minor := range hardentest.Minors {
			var edits []hardentest.Edit
			if tt.mode != "" {
				edits = append(edits, hardentest.Flag(modeFlag, tt.mode))
			}
			got := statuses(t, logging(t, minor, LogFile, string(patches.AuditPolicy()), edits...))["audit-log-mode"]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || len(got.Evidence) == 0 {
				t.Errorf("%q on %s: %s: %s", tt.mode, minor, got.Status, got.Message)
			}
		}
	}
	if got := statuses(t, hardentest.APIServer(t, "1.37"))["audit-log-mode"]; got.Status != harden.StatusNotApplicable {
		t.Errorf("without a log: %s", got.Status)
	}
	n := logging(t, "1.37", LogFile, string(patches.AuditPolicy()), hardentest.Flag(modeFlag, strict))
	p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-log-mode"})
	if err != nil {
		t.Fatal(err)
	}
	if got := hardentest.Changes(t, p); len(got) != 1 || got[0] != "kube-apiserver.yaml: - - --audit-log-mode=blocking-strict" {
		t.Errorf("%v", got)
	}
}

func TestLogDisk(t *testing.T) {
	bounds := func(size, backup string) []hardentest.Edit {
		return []hardentest.Edit{hardentest.Flag("audit-log-maxsize", size), hardentest.Flag("audit-log-maxbackup", backup)}
	}
	const eleven = 1100 << 20 // what 100 MB and 10 old ones take
	for _, tt := range []struct {
		name  string
		edits []hardentest.Edit
		free  uint64
		taken int
		want  harden.Status
		says  string
	}{
		{"twice", bounds("100", "10"), 2 * eleven, 0, harden.StatusPass, "fit twice"},
		{"with what is taken", bounds("100", "10"), 2*eleven - 5<<20, 5 << 20, harden.StatusPass, ""},
		{"once", bounds("100", "10"), eleven, 0, harden.StatusManual, "leave little"},
		{"not even once", bounds("100", "10"), eleven - 1, 0, harden.StatusFail, "before the oldest"},
		{"no bound", bounds("100", "0"), 1 << 50, 0, harden.StatusFail, "nothing bounds"},
		{"no number", bounds("much", "10"), 1 << 50, 0, harden.StatusManual, "audit-log-maxsize"},
	} {
		for _, minor := range hardentest.Minors {
			n := logging(t, minor, LogFile, string(patches.AuditPolicy()), tt.edits...)
			n.Free = tt.free
			if tt.taken > 0 {
				n.Write("/var/log/kubernetes/audit/audit-2026-11-24T19-00-00.000.log", strings.Repeat("x", tt.taken), 0o600)
			}
			got := statuses(t, n)["audit-log-disk"]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || len(got.Evidence) == 0 {
				t.Errorf("%s on %s: %s: %s %v", tt.name, minor, got.Status, got.Message, got.Evidence)
			}
		}
	}
}

// The room is that of the host's disk, wherever the log is in the container.
func TestLogDiskIsTheHosts(t *testing.T) {
	n := hardentest.APIServer(t, "1.37", hardentest.Flag(pathFlag, "/logs/audit.log"), hardentest.Replace("    volumeMounts:\n", "    volumeMounts:\n    - mountPath: /logs\n      name: logs\n"),
		hardentest.Replace("  volumes:\n", "  volumes:\n  - hostPath:\n      path: /srv/audit\n    name: logs\n"))
	if got := statuses(t, n)["audit-log-disk"]; got.Status != harden.StatusFail && got.Status != harden.StatusPass || !strings.Contains(fmt.Sprint(got.Evidence), "/srv/audit") {
		t.Errorf("%s: %s %v", got.Status, got.Message, got.Evidence)
	}
}
