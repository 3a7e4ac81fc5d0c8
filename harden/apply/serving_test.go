package apply_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// askedBy is a request that a kubelet has made for an address.
func askedBy(t *testing.T, node, address string, created time.Time) harden.ServingRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}, IPAddresses: []net.IP{net.ParseIP(address)},
	}, key)
	must(t, err)
	return harden.ServingRequest{
		Name: "csr-" + address, UID: node + address, ResourceVersion: "1", Signer: harden.KubeletServingSigner, User: "system:node:" + node, Groups: []string{"system:nodes"},
		Usages: []string{"server auth"}, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Created: created,
	}
}

// A kubelet that asks for a certificate is left so only when it serves with one that was checked and signed.
func TestTheKubeletsRequestIsCheckedAndApproved(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange  func(t *testing.T, w *world)
		outcome  harden.Outcome
		says     string
		approved []string
	}{
		"its own": {arrange: func(t *testing.T, w *world) {
			w.cluster.signs, w.cluster.requests = true, []harden.ServingRequest{askedBy(t, "cp1", "192.0.2.11", begin)}
		}, outcome: harden.OutcomeApplied, approved: []string{"csr-192.0.2.11"}},
		"an approver was faster": {arrange: func(t *testing.T, w *world) {
			r := askedBy(t, "cp1", "192.0.2.11", begin)
			r.Approved = true
			w.cluster.signs, w.cluster.requests = true, []harden.ServingRequest{r}
		}, outcome: harden.OutcomeApplied, approved: []string{"csr-192.0.2.11"}},
		"for another's address": {arrange: func(t *testing.T, w *world) {
			w.cluster.signs, w.cluster.requests = true, []harden.ServingRequest{askedBy(t, "cp1", "192.0.2.99", begin)}
		}, outcome: harden.OutcomeRolledBack, says: `"192.0.2.99", which is not an address of node cp1`},
		"denied": {arrange: func(t *testing.T, w *world) {
			r := askedBy(t, "cp1", "192.0.2.11", begin)
			r.Denied = true
			w.cluster.requests = []harden.ServingRequest{r}
		}, outcome: harden.OutcomeRolledBack, says: "the request csr-192.0.2.11 was denied"},
		"of long ago": {arrange: func(t *testing.T, w *world) {
			w.cluster.signs, w.cluster.requests = true, []harden.ServingRequest{askedBy(t, "cp1", "192.0.2.11", begin.Add(-time.Hour))}
		}, outcome: harden.OutcomeRolledBack, says: "the kubelet has not asked for a certificate"},
		"never signed": {arrange: func(t *testing.T, w *world) {
			w.cluster.requests = []harden.ServingRequest{askedBy(t, "cp1", "192.0.2.11", begin)}
		}, outcome: harden.OutcomeRolledBack, says: "is approved, and the kubelet does not serve with its certificate", approved: []string{"csr-192.0.2.11"}},
		"no API": {arrange: func(_ *testing.T, w *world) { w.cluster = nil }, outcome: harden.OutcomeRolledBack, says: "there is no API to approve"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			// The proof that asks through the API comes first in the plan, and is asked last.
			proofs := []harden.Proof{{Control: "c", Kind: harden.ProofConfigz, Path: "serverTLSBootstrap", Want: true}, {Control: "c", Kind: harden.ProofServing, Path: "of node cp1"}}
			w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{control("serving", proofs, harden.SetField(kubeletConfig, "serverTLSBootstrap", true, harden.Kubelet))}}}
			p := w.plan("serving")
			tt.arrange(t, w)
			if c := w.cluster; c != nil {
				c.configz = func() (map[string]any, error) {
					served, err := c.KubeletServing(t.Context(), "cp1")
					if !served.Problem.IsZero() {
						t.Error("the kubelet is asked through the API before it has a certificate")
					}
					return map[string]any{"serverTLSBootstrap": true}, err
				}
			}
			before := w.snapshot()
			res := w.apply(p)
			if res.Outcome != tt.outcome || !strings.Contains(res.Message.String(), tt.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			if res.Outcome == harden.OutcomeRolledBack && !before[kubeletConfig].Equal(w.snapshot()[kubeletConfig]) {
				t.Error("the kubelet's file is not as before")
			}
			var approved []string
			if w.cluster != nil {
				for _, r := range w.cluster.requests {
					if r.Approved {
						approved = append(approved, r.Name)
					}
				}
			}
			if !slices.Equal(approved, tt.approved) {
				t.Errorf("approved %v", approved)
			}
		})
	}
}

// A component that goes on with the certificate from before its renewal is not what was planned.
func TestARenewedCertificateHasToBeServed(t *testing.T) {
	const file = "/etc/kubernetes/pki/apiserver.crt"
	proof := harden.Proof{Kind: harden.ProofServed, Component: harden.Scheduler, Path: file}
	tests := map[string]struct {
		served  map[string][]byte
		proof   func(*harden.Proof)
		outcome harden.Outcome
		says    string
	}{
		"the one on the disk": {outcome: harden.OutcomeApplied},
		"at an address of its own": {
			served: map[string][]byte{"127.0.0.1:2379": nil}, proof: func(p *harden.Proof) { p.Request = "127.0.0.1:2379" }, outcome: harden.OutcomeApplied,
		},
		"another one": {
			served: map[string][]byte{"127.0.0.1:10259": []byte("old")}, outcome: harden.OutcomeRolledBack,
			says: "127.0.0.1:10259 serves with another certificate than that in " + file,
		},
		"nobody answers": {served: map[string][]byte{}, outcome: harden.OutcomeRolledBack, says: "connection refused"},
		"no certificate there": {
			proof: func(p *harden.Proof) { p.Path = apiserverManifest }, outcome: harden.OutcomeRolledBack, says: apiserverManifest + " holds no certificate",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := proof
			if tt.proof != nil {
				tt.proof(&p)
			}
			w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{control("renew", []harden.Proof{p}, harden.SetFlag(harden.Scheduler, "profiling", "false"))}}}
			block, _ := pem.Decode(w.before[file].Data)
			if tt.served == nil {
				tt.served = map[string][]byte{"127.0.0.1:10259": nil}
			}
			w.node.served = tt.served
			for address, der := range tt.served {
				if der == nil {
					w.node.served[address] = block.Bytes
				}
			}
			if res := w.apply(w.plan("renew")); res.Outcome != tt.outcome || !strings.Contains(res.Message.String(), tt.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
		})
	}
}
