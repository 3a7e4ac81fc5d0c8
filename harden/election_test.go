package harden_test

import (
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestTheSchedulersLeaseIsNamedInItsFile: the gates looked at flags alone, waited for a lease that nobody renews, and undid what worked.
func TestTheSchedulersLeaseIsNamedInItsFile(t *testing.T) {
	const at = "/etc/kubernetes/scheduler/config.yaml"
	for _, tt := range []struct {
		name, file string
		flags      []string
		leases     []string
		elsewhere  bool
		unknown    bool
	}{
		{"no file", "", []string{}, []string{"kube-scheduler"}, false, false},
		{"a flag", "", []string{"--leader-elect-resource-name=x"}, []string{"x"}, false, false},
		{"a flag turns it off", "", []string{"--leader-elect=false"}, nil, false, false},
		{"a flag names another namespace", "", []string{"--leader-elect-resource-namespace=x"}, []string{"kube-scheduler"}, true, false},
		{"a file that says nothing", "kind: KubeSchedulerConfiguration\n", nil, []string{"kube-scheduler"}, false, false},
		{"a file names it", "leaderElection: {resourceName: x}\n", nil, []string{"x"}, false, false},
		{"a flag beats the file", "leaderElection: {resourceName: x, leaderElect: false}\n", []string{"--leader-elect", "--leader-elect-resource-name=y"}, []string{"y"}, false, false},
		{"a file turns it off", "leaderElection: {leaderElect: false}\n", nil, nil, false, false},
		{"a file names another namespace", "leaderElection: {resourceNamespace: x}\n", nil, []string{"kube-scheduler"}, true, false},
		{"a file that is not there", "-", nil, []string{"kube-scheduler"}, false, true},
		{"a file that cannot be read", "{", nil, []string{"kube-scheduler"}, false, true},
		{"a flag turns it off beside such a file", "{", []string{"--leader-elect=false"}, nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			edits := []hardentest.Edit{hardentest.Mount("/etc/kubernetes/scheduler", "Directory")}
			if tt.file != "" {
				edits = append(edits, hardentest.Flag("config", at))
			}
			n := hardentest.StaticPod(t, "1.37", harden.Scheduler, edits...)
			if tt.file != "" && tt.file != "-" {
				n.Write(at, tt.file, 0o600)
			}
			f := n.Facts(t)
			args := []string{"kube-scheduler"}
			if tt.file != "" {
				args = append(args, "--config="+at)
			}
			scheduler, _ := harden.ComponentByID(harden.Scheduler)
			got := f.Elected(scheduler, append(args, tt.flags...))
			if !slices.Equal(got.Leases, tt.leases) || got.Elsewhere != tt.elsewhere || got.Unknown.IsZero() == tt.unknown {
				t.Errorf("%+v", got)
			}
		})
	}
	api, _ := harden.ComponentByID(harden.APIServer)
	if got := hardentest.Fixture(t, "1.37").Facts(t).Elected(api, nil); len(got.Leases) > 0 || !got.Unknown.IsZero() {
		t.Errorf("an API server is elected: %+v", got)
	}
}
