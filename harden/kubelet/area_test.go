package kubelet_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

func TestAreaIsWellFormed(t *testing.T) {
	id := regexp.MustCompile(`^kubelet-[a-z0-9]+(-[a-z0-9]+)*$`)
	cis := regexp.MustCompile(`^4\.[12]\.\d{1,2}$`)
	stig := regexp.MustCompile(`^V-\d{6}$`)
	area := kubelet.Area()
	var seen []string
	for _, c := range area.Controls {
		t.Run(c.ID, func(t *testing.T) {
			if !id.MatchString(c.ID) || slices.Contains(seen, c.ID) {
				t.Error("the id is not well formed, or taken twice")
			}
			seen = append(seen, c.ID)
			for _, ref := range c.Refs.CIS {
				if !cis.MatchString(ref) {
					t.Errorf("CIS %q", ref)
				}
			}
			for _, ref := range c.Refs.STIG {
				if !stig.MatchString(ref) {
					t.Errorf("STIG %q", ref)
				}
			}
			for _, ref := range c.Refs.Docs {
				if !strings.HasPrefix(ref, "https://kubernetes.io/") {
					t.Errorf("docs %q", ref)
				}
			}
			if len(c.Refs.CIS)+len(c.Refs.STIG)+len(c.Refs.NSA)+len(c.Refs.Seed)+len(c.Refs.Docs) == 0 {
				t.Error("nothing recommends it")
			}
			if n := strings.Count(c.Why.String(), ". ") + 1; n < 2 || n > 4 {
				t.Errorf("why has %d sentences", n)
			}
			if c.Title == "" || c.Severity == "" || c.Assess == nil || !slices.Contains(c.Needs, harden.NeedKubelet) {
				t.Error("something is missing")
			}
			for _, r := range c.Remedies {
				if r.ID == "" || r.Title.IsZero() || r.Impact.IsZero() || len(r.Breaks) == 0 || r.Risk == "" || r.Intents == nil {
					t.Errorf("remedy %q: something is missing", r.ID)
				}
				if _, err := r.Fill(c.ID, nil); err != nil {
					t.Error(err)
				}
				for _, o := range r.Options {
					if err := o.Accepts(o.Default); err != nil {
						t.Errorf("option %s refuses its default: %v", o.Name, err)
					}
				}
			}
		})
	}
}

// What can cut off workloads or their users is never taken by --all.
func TestRisks(t *testing.T) {
	want := []string{
		"kubelet-anonymous-auth", "kubelet-authorization-mode", "kubelet-read-only-port", "kubelet-healthz-bind-address", "kubelet-serving-certificate", "kubelet-pod-pids-limit", "kubelet-seccomp-default",
		"kubelet-alpha-features", "kubelet-removed-flags",
	}
	var got []string
	for _, c := range kubelet.Area().Controls {
		for _, r := range c.Remedies {
			if r.Risk != harden.RiskNode {
				got = append(got, c.ID)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
