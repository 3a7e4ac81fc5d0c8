package apply_test

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestTheLeaseIsTheOneThatTheFileNames: a scheduler whose configuration names another lease was undone, as nobody renews the usual one.
func TestTheLeaseIsTheOneThatTheFileNames(t *testing.T) {
	const config = "/etc/kubernetes/scheduler-config.yaml"
	for _, row := range []struct {
		name, lease string
		outcome     harden.Outcome
	}{
		{"it is renewed", "mine", harden.OutcomeApplied},
		{"the usual one is renewed instead", "kube-scheduler", harden.OutcomeMixed},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(config, "leaderElection: {resourceName: mine}\n")
			text := hardentest.Flag("config", config)(t, w.node.text(schedulerManifest))
			w.write(schedulerManifest, hardentest.Mount(config, "File")(t, text))
			w.reboot()
			w.cluster.leases = func(m map[string]harden.Lease) {
				l := m["kube-scheduler"]
				delete(m, "kube-scheduler")
				m[row.lease] = l
			}
			if res := w.apply(w.plan("scheduler")); res.Outcome != row.outcome {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
		})
	}
}
