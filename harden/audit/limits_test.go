package audit

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestLimits(t *testing.T) {
	const unset = "unset"
	tests := []struct {
		control, value string
		version        string
		want           harden.Status
		says           string
	}{
		{"audit-log-maxage", unset, "1.35.2", harden.StatusFail, "0 before 1.36"},
		{"audit-log-maxage", unset, "1.36.1", harden.StatusFail, "366 days by default here"},
		{"audit-log-maxage", "30", "1.30.4", harden.StatusPass, ""},
		{"audit-log-maxage", "29", "1.30.4", harden.StatusFail, "less than the 30"},
		{"audit-log-maxage", "0", "1.37.2", harden.StatusFail, "no time"},
		{"audit-log-maxage", "-1", "1.37.2", harden.StatusFail, "not a number"},
		{"audit-log-maxage", "30d", "1.37.2", harden.StatusFail, "not a number"},
		{"audit-log-maxbackup", unset, "1.34.2", harden.StatusFail, "keeps every old log"},
		{"audit-log-maxbackup", unset, "1.37.2", harden.StatusFail, "100 files by default here"},
		{"audit-log-maxbackup", "10", "1.29.14", harden.StatusPass, ""},
		{"audit-log-maxbackup", "9", "1.37.2", harden.StatusFail, "less than the 10"},
		{"audit-log-maxbackup", "0", "1.37.2", harden.StatusFail, "until the disk is full"},
		{"audit-log-maxsize", unset, "1.35.2", harden.StatusFail, "100 MB by default here"},
		{"audit-log-maxsize", unset, "1.36.1", harden.StatusFail, "100 MB by default here"},
		{"audit-log-maxsize", "0", "1.35.2", harden.StatusFail, "100 MB before 1.36"},
		{"audit-log-maxsize", "0", "1.36.1", harden.StatusFail, "never rotates"},
		{"audit-log-maxsize", "50", "1.30.4", harden.StatusFail, "less than the 100"},
		{"audit-log-maxsize", "500", "1.30.4", harden.StatusPass, ""},
	}
	for _, tt := range tests {
		t.Run(tt.control+"="+tt.value+" in "+tt.version, func(t *testing.T) {
			edits := []hardentest.Edit{hardentest.Version(tt.version)}
			if tt.value != unset {
				edits = append(edits, hardentest.Flag(tt.control, tt.value))
			}
			got := statuses(t, logging(t, "1.37", LogFile, string(patches.AuditPolicy()), edits...))[tt.control]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || len(got.Evidence) == 0 {
				t.Errorf("%s: %s, want %s with %q and evidence", got.Status, got.Message, tt.want, tt.says)
			}
		})
	}
	n := logging(t, "1.37", LogFile, "", hardentest.Version("latest"))
	if got := statuses(t, n)["audit-log-maxage"]; got.Status != harden.StatusManual {
		t.Errorf("unset in an unknown version is %s: %s", got.Status, got.Message)
	}
	n = logging(t, "1.37", "-", "")
	if got := statuses(t, n)["audit-log-maxage"]; got.Status != harden.StatusNotApplicable {
		t.Errorf("on standard output it is %s: %s", got.Status, got.Message)
	}
}
