package certificates

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Days before its end at which a certificate counts. A CA's end needs a project, not a command; but for the one that the
// kubelet makes for its own serving certificate alone.
const (
	soon   = 30
	caSoon = 365
)

// Row is a certificate in the table of ends.
type Row struct {
	Name     string // its file, with the user for one in a kubeconfig
	CA       bool
	NotAfter time.Time
	Days     int // whole ones that are left; negative once it has ended
}

// Timeline are all certificates by their end, the first one first.
func Timeline(f *harden.Facts) []Row {
	var out []Row
	for _, c := range f.Certificates {
		out = append(out, Row{Name: c.Name(), CA: c.CA, NotAfter: c.NotAfter, Days: days(f, c.NotAfter)})
	}
	slices.SortStableFunc(out, func(a, b Row) int { return a.NotAfter.Compare(b.NotAfter) })
	return out
}

var expiry = harden.Control{
	ID: "certificates-expiry", Title: "No certificate ends soon", Severity: harden.High,
	Why: harden.Msg("A certificate that has ended stops what uses it: the API server without etcd, the scheduler without the API, kubectl for everybody. " +
		"Leaf certificates of kubeadm's are good for a year and are renewed by an upgrade or by hand; CAs are good for ten. " +
		"The kubelet renews its own, some weeks before their end."),
	Refs:    harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsCerts}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess:  assessExpiry,
}

func assessExpiry(f *harden.Facts) harden.Verdict {
	sorted := slices.Clone(f.Certificates)
	slices.SortStableFunc(sorted, func(a, b harden.CertificateFact) int { return a.NotAfter.Compare(b.NotAfter) })
	seen := evidence(sorted, func(c harden.CertificateFact) string { return ends(f, c) })
	var ended, close, caClose, early []harden.CertificateFact
	for _, c := range sorted {
		left := days(f, c.NotAfter)
		switch {
		case !f.CollectedAt.Before(c.NotAfter):
			ended = append(ended, c)
		case f.CollectedAt.Before(c.NotBefore):
			early = append(early, c)
		case left < soon:
			close = append(close, c)
		case c.CA && left < caSoon && !strings.HasPrefix(c.Path, kubeletPKI+"/"):
			caClose = append(caClose, c)
		}
	}
	switch {
	case len(ended) > 0:
		return harden.Failed(harden.Msg("ended on %s: %s; %s", date(ended[0].NotAfter), names(ended), renewal(f, ended[0])), seen...)
	case len(early) > 0:
		return harden.Failed(harden.Msg("good from %s on only: %s; is the clock of this node right?", date(early[0].NotBefore), names(early)), seen...)
	case len(close) > 0:
		return harden.Failed(harden.Msg("%s: %s; %s", ends(f, close[0]), names(close), renewal(f, close[0])), seen...)
	case len(caClose) > 0:
		return harden.NeedsPerson(harden.Msg("%s: %s; %s", ends(f, caClose[0]), names(caClose), renewal(f, caClose[0])), seen...)
	}
	return harden.Passed(harden.Msg("the first one to end is %s, on %s", sorted[0].Name(), date(sorted[0].NotAfter)), seen...)
}

func ends(f *harden.Facts, c harden.CertificateFact) string {
	switch left := days(f, c.NotAfter); {
	case !f.CollectedAt.Before(c.NotAfter):
		return fmt.Sprintf("ended on %s", date(c.NotAfter))
	case left == 1:
		return fmt.Sprintf("ends on %s, in 1 day", date(c.NotAfter))
	default:
		return fmt.Sprintf("ends on %s, in %d days", date(c.NotAfter), left)
	}
}

// restarts are what has to read renewed certificates: it reads them at its start only.
const restarts = "then restart kube-apiserver, kube-controller-manager, kube-scheduler and etcd one at a time " +
	"(move its file out of " + harden.StaticPodDir + ", wait until \"crictl ps\" shows it gone, move it back, wait until it is ready), and copy admin.conf to where people use it"

// renewal says how to get a new one.
func renewal(f *harden.Facts, c harden.CertificateFact) harden.Message {
	switch {
	case strings.HasPrefix(c.Path, kubeletPKI+"/kubelet-client"), c.Path == "/etc/kubernetes/kubelet.conf":
		return harden.Msg("the kubelet renews this one by itself and has not: look at \"journalctl -u kubelet\" and \"kubectl get csr\"")
	case strings.HasPrefix(c.Path, kubeletPKI+"/"):
		return harden.Msg("the kubelet makes this one at its start when there is none: move it away with its key and restart the kubelet")
	case c.CA:
		return harden.Msg("a CA's end is every certificate's, kubeconfig's and token's: plan its rotation by the steps of https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/")
	case !strings.HasPrefix(c.Path, "/etc/kubernetes/"):
		return harden.Msg("this one is not kubeadm's: ask whoever made it")
	case !caKeyHere(f, c):
		return harden.Msg("the key of the CA that signed it is not on this node: have it signed where that key is (kubeadm certs generate-csr)")
	}
	return harden.Msg("back up with \"cp -a /etc/kubernetes /root/kubernetes-before\", run \"kubeadm certs renew all\", %s", restarts)
}

// caKeyHere says that the CA of a certificate can sign on this node. Where the CA itself is not here, nobody knows.
func caKeyHere(f *harden.Facts, c harden.CertificateFact) bool {
	signer := c.SignedBy
	if signer == "" {
		signer = path.Join(pkiDir, "ca.crt")
	}
	ca, ok := find(f, signer)
	return ok && ca.Key == harden.KeyMatches
}

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
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		var old []string
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
				// The start is known to a second only.
				if s.Modified.After(c.Process.Started.Add(2 * time.Second)) {
					old = append(old, string(r.id))
				}
			}
		}
		if len(old) > 0 {
			return harden.Failed(harden.Msg("%s started before its kubeconfig was written, and uses the one before: restart it (move its file out of %s, wait until it is gone, move it back)",
				strings.Join(slices.Compact(old), " and "), harden.StaticPodDir), seen...)
		}
		return harden.Passed(harden.Msg("they started after their kubeconfigs were written"), seen...)
	},
}
