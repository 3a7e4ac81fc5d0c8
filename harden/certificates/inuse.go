package certificates

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// readAtStart are the files that components read once.
var readAtStart = []struct {
	id    harden.ComponentID
	flags []string
}{
	{harden.ControllerManager, []string{"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"}},
	{harden.Scheduler, []string{"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"}},
}

var inUse = harden.Control{
	ID: "certificates-in-use", Title: "Running components use the certificates that lie on the disk", Severity: harden.High,
	Why: harden.Msg("The controller manager and the scheduler read their credentials when they start, and never again. " +
		"After a renewal without a restart everything looks right on the disk, until the old certificates end in memory and both stop at once."),
	Refs:  harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsCerts}},
	Needs: []harden.Need{harden.NeedFiles, harden.NeedControllerManager, harden.NeedScheduler},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		for _, r := range readAtStart {
			if c := f.Component(r.id); c != nil && c.Process != nil {
				return true, harden.Message{}
			}
		}
		return false, harden.Msg("neither controller manager nor scheduler runs here")
	},
	Assess: assessInUse,
	Remedies: []harden.Remedy{{
		ID: "restart", Title: harden.Msg("Restart what still uses the certificate from before"), Risk: harden.RiskNode, NodeOnly: true,
		Impact: harden.Msg("The controller manager and the scheduler restart once each, those that started before their kubeconfig was written."),
		Breaks: []harden.Message{harden.Msg("While one of them restarts, what it does waits: for half a minute nothing is scheduled, or no controller works.")},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, id := range outdated(f) {
				out = append(out, f.RestartUnread(id))
			}
			return out, nil
		},
	}},
}

// outdated are all of them, once each.
func outdated(f *harden.Facts) []harden.ComponentID {
	var out []harden.ComponentID
	for _, r := range readAtStart {
		if slices.ContainsFunc(f.Unread(r.id), func(u harden.UnreadFile) bool { return slices.Contains(r.flags, u.Flag) }) {
			out = append(out, r.id)
		}
	}
	return out
}

func assessInUse(f *harden.Facts) harden.Verdict {
	var seen []harden.Evidence
	for _, r := range readAtStart {
		c := f.Component(r.id)
		if c == nil || c.Process == nil {
			continue
		}
		seen = append(seen, harden.Evidence{
			Source: fmt.Sprintf("process %d (%s)", c.Process.PID, r.id), Value: "started " + c.Process.Started.UTC().Format(time.RFC3339),
		})
		for _, flag := range r.flags {
			s, ok := f.Stat(flagFile(f, r.id, flag))
			if !ok || slices.ContainsFunc(seen, func(e harden.Evidence) bool { return e.Source == s.Path }) {
				continue
			}
			seen = append(seen, harden.Evidence{Source: s.Path, Value: "written " + s.Modified.UTC().Format(time.RFC3339)})
		}
	}
	var names []string
	for _, id := range outdated(f) {
		names = append(names, string(id))
	}
	if len(names) > 0 {
		return harden.Failed(harden.Msg("%s started before its kubeconfig was written, and uses the one before", strings.Join(names, " and ")), seen...)
	}
	return harden.Passed(harden.Msg("they started after their kubeconfigs were written"), seen...)
}
