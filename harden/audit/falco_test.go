package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

// TestWhatFalcoNeedsOfTheLog: a file of the host with lines of JSON, and the bodies that its rules look into.
func TestWhatFalcoNeedsOfTheLog(t *testing.T) {
	ours := string(patches.AuditPolicy())
	rules := func(r string) string { return policyHead + "rules: [" + r + "]\n" }
	for _, tt := range []struct {
		name, log, policy string
		edits             []hardentest.Edit
		want              harden.Status
		says, evidence    string
	}{
		{"ours", LogFile, ours, nil, harden.StatusPass, `open_params "file://` + LogFile + `"`, "credentials in ConfigMaps"},
		{"bodies of all", LogFile, rules("{level: RequestResponse}"), nil, harden.StatusPass, "", ""},
		{"metadata only", LogFile, rules("{level: Metadata}"), nil, harden.StatusManual, "some rules find nothing", "bindings of cluster-admin"},
		{"not what controllers make", LogFile, rules(`{level: Metadata, userGroups: ["system:serviceaccounts:kube-system"]}, {level: Request}`), nil, harden.StatusManual, "", "replicaset-controller"},
		{"nobody reads Secrets", LogFile, rules(`{level: None, verbs: [get], resources: [{group: "", resources: [secrets]}]}, {level: Request}`), nil, harden.StatusManual, "", "who reads Secrets"},
		{"not how it ended", LogFile, rules("{level: Request, omitStages: [ResponseComplete]}"), nil, harden.StatusManual, "", "stage ResponseComplete"},
		{"not how a shell began", LogFile, rules("{level: Request, omitStages: [ResponseStarted]}"), nil, harden.StatusManual, "", "shells in pods"},
		{"JSON", LogFile, ours, []hardentest.Edit{hardentest.Flag(formatFlag, jsonFormat)}, harden.StatusPass, "", ""},
		{"text", LogFile, ours, []hardentest.Edit{hardentest.Flag(formatFlag, legacyFormat)}, harden.StatusFail, "lines of text", ""},
		{"no format", LogFile, ours, []hardentest.Edit{hardentest.Flag(formatFlag, "xml")}, harden.StatusFail, "no format", ""},
		{"v1", LogFile, ours, []hardentest.Edit{hardentest.Flag(versionFlag, "audit.k8s.io/v1")}, harden.StatusPass, "", ""},
		{"no version", LogFile, ours, []hardentest.Edit{hardentest.Flag(versionFlag, "audit.k8s.io/v1beta1")}, harden.StatusFail, "no version", ""},
		{"standard output", stdout, ours, nil, harden.StatusManual, "standard output", ""},
		{"in the container", "/tmp/audit.log", ours, nil, harden.StatusManual, "not in a directory of the host", ""},
		{"a policy that is none", LogFile, "rules: [", nil, harden.StatusManual, "not known", ""},
	} {
		for _, minor := range hardentest.Minors {
			got := statuses(t, logging(t, minor, tt.log, tt.policy, tt.edits...))["audit-falco"]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || !strings.Contains(fmt.Sprint(got.Evidence), tt.evidence) {
				t.Errorf("%s on %s: %s: %s %v", tt.name, minor, got.Status, got.Message, got.Evidence)
			}
		}
	}
	if got := statuses(t, hardentest.APIServer(t, "1.37"))["audit-falco"]; got.Status != harden.StatusNotApplicable {
		t.Errorf("without a log: %s", got.Status)
	}
	n := logging(t, "1.37", LogFile, ours, hardentest.Flag(formatFlag, legacyFormat))
	p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-falco"})
	if got := hardentest.Changes(t, p); err != nil || !slices.Equal(got, []string{"kube-apiserver.yaml: - - --audit-log-format=legacy"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFalcoFollowsTheHostsFile: the plugin's pod sees the host's path, wherever the log is in the API server's container.
func TestFalcoFollowsTheHostsFile(t *testing.T) {
	n := logging(t, "1.37", "/logs/audit.log", string(patches.AuditPolicy()),
		hardentest.Replace("    volumeMounts:\n", "    volumeMounts:\n    - mountPath: /logs\n      name: logs\n"),
		hardentest.Replace("  volumes:\n", "  volumes:\n  - hostPath:\n      path: /srv/audit\n    name: logs\n"))
	if got := statuses(t, n)["audit-falco"]; got.Status != harden.StatusPass || !strings.Contains(got.Message.String(), `"file:///srv/audit/audit.log"`) || !strings.Contains(got.Message.String(), "mounts /srv/audit ") {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}
