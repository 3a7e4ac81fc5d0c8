package apply_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/suites"
)

var (
	rsaCert = sync.OnceValue(func() tls.Certificate {
		s := httptest.NewTLSServer(nil)
		defer s.Close()
		return s.TLS.Certificates[0]
	})
	ecdsaCert = sync.OnceValue(func() tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(&testing.T{}, err)
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
		must(&testing.T{}, err)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	})
)

// speaking answers as Go's TLS does with this configuration.
func speaking(config *tls.Config) func(context.Context, string, uint16, []uint16) (apply.Handshake, error) {
	return func(ctx context.Context, _ string, version uint16, offered []uint16) (apply.Handshake, error) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() { _ = tls.Server(theirs, config).HandshakeContext(ctx) }()
		client := tls.Client(ours, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: offered})
		err := client.HandshakeContext(ctx)
		for _, alert := range []tls.AlertError{40, 70, 80} {
			if err != nil && strings.HasSuffix(err.Error(), alert.Error()) {
				return apply.Handshake{Alert: alert}, nil
			}
		}
		if err != nil {
			return apply.Handshake{}, err
		}
		s := client.ConnectionState()
		return apply.Handshake{Agreed: true, Suite: s.CipherSuite, Key: s.PeerCertificates[0].PublicKeyAlgorithm}, nil
	}
}

// What a server has on its command line and what it makes of it are two things: its handshakes are.
func TestHandshakesAreProven(t *testing.T) {
	const rsaGCM = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	strong, _ := suites.Split12(suites.Strong)
	floor := func(v string) []harden.Proof { return suites.ProveFloor("tls", harden.Scheduler, "", v) }
	list := func(floor string, names ...string) []harden.Proof {
		return suites.ProveList("tls", harden.Scheduler, "", floor, names)
	}
	always := func(answer apply.Handshake, err error) func(context.Context, string, uint16, []uint16) (apply.Handshake, error) {
		return func(context.Context, string, uint16, []uint16) (apply.Handshake, error) { return answer, err }
	}
	only := func(of, otherwise tls.AlertError) func(context.Context, string, uint16, []uint16) (apply.Handshake, error) {
		right := speaking(&tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: strong, Certificates: []tls.Certificate{rsaCert()}})
		return func(ctx context.Context, at string, version uint16, offered []uint16) (apply.Handshake, error) {
			if got, err := right(ctx, at, version, offered); err != nil || got.Alert != of {
				return got, err
			}
			return apply.Handshake{Alert: otherwise}, nil
		}
	}
	tests := map[string]struct {
		proofs   []harden.Proof
		config   *tls.Config
		shakes   func(context.Context, string, uint16, []uint16) (apply.Handshake, error)
		says     string // why it is undone; "": it is applied
		unproven string
	}{
		"the floor":                   {proofs: floor("VersionTLS12"), config: &tls.Config{MinVersion: tls.VersionTLS12}},
		"the floor of TLS 1.3":        {proofs: floor("VersionTLS13"), config: &tls.Config{MinVersion: tls.VersionTLS13}},
		"etcd's name of it":           {proofs: floor("TLS1.3"), config: &tls.Config{MinVersion: tls.VersionTLS13}},
		"no floor":                    {proofs: floor("VersionTLS12"), config: &tls.Config{MinVersion: tls.VersionTLS10}, says: "agrees to TLS 1.1 with"},
		"a lower floor":               {proofs: floor("VersionTLS13"), config: &tls.Config{}, says: "127.0.0.1:10259 agrees to TLS 1.2 with"},
		"a higher floor":              {proofs: floor("VersionTLS12"), config: &tls.Config{MinVersion: tls.VersionTLS13}, says: "refuses TLS 1.2"},
		"nothing new":                 {proofs: floor("VersionTLS12"), config: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, says: "refuses TLS 1.3"},
		"nobody to ask":               {proofs: floor("VersionTLS12"), shakes: always(apply.Handshake{}, errors.New("connection refused")), says: "connection refused"},
		"who refuses everything":      {proofs: floor("VersionTLS12"), shakes: always(apply.Handshake{Alert: 70}, nil), says: "refuses TLS 1.2"},
		"another trouble than old":    {proofs: floor("VersionTLS12"), shakes: only(70, 80), says: "does not refuse TLS 1.1 for what it is"},
		"the list":                    {proofs: list("", suites.Strong...), config: &tls.Config{CipherSuites: strong}},
		"of another key":              {proofs: list("", suites.Strong...), config: &tls.Config{CipherSuites: strong, Certificates: []tls.Certificate{ecdsaCert()}}},
		"no list":                     {proofs: list("", suites.Strong...), config: &tls.Config{}, says: "agrees to TLS 1.2 with TLS_ECDHE_RSA_WITH_AES_"},
		"one suite too many":          {proofs: list("", rsaGCM), config: &tls.Config{CipherSuites: strong}, says: "agrees to TLS 1.2 with TLS_ECDHE_RSA_WITH_"},
		"one suite too few":           {proofs: list("", suites.Strong...), config: &tls.Config{CipherSuites: strong[:4]}, says: "refuses TLS 1.2 with TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
		"none for the key":            {proofs: list("", rsaGCM), config: &tls.Config{CipherSuites: strong[1:2], Certificates: []tls.Certificate{ecdsaCert()}}, says: "refuses TLS 1.2"},
		"another trouble than weak":   {proofs: list("", suites.Strong...), shakes: only(40, 80), says: "does not refuse TLS 1.2 for what it is"},
		"no TLS 1.2, unplanned":       {proofs: list("", suites.Strong...), config: &tls.Config{MinVersion: tls.VersionTLS13}, says: "refuses TLS 1.2"},
		"no TLS 1.2, as it was":       {proofs: list("VersionTLS13", suites.Strong...), config: &tls.Config{MinVersion: tls.VersionTLS13}, unproven: "only TLS 1.3 is spoken"},
		"no TLS 1.2, as planned":      {proofs: append(list("", suites.Strong...), floor("VersionTLS13")...), config: &tls.Config{MinVersion: tls.VersionTLS13}, unproven: "only TLS 1.3 is spoken"},
		"TLS 1.2 again, with no list": {proofs: append(list("VersionTLS13", suites.Strong...), floor("VersionTLS12")...), config: &tls.Config{}, says: "agrees to TLS 1.2 with"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{control("tls", tt.proofs, harden.SetFlag(harden.Scheduler, "profiling", "false"))}}}
			if w.node.shakes = tt.shakes; tt.config != nil {
				if tt.config.Certificates == nil {
					tt.config.Certificates = []tls.Certificate{rsaCert()}
				}
				w.node.shakes = speaking(tt.config)
			}
			want := harden.OutcomeApplied
			if tt.says != "" {
				want = harden.OutcomeRolledBack
			}
			res := w.apply(stored(t, w.plan("tls")))
			if res.Outcome != want || !strings.Contains(res.Message.String(), tt.says) {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			said := ""
			for _, e := range w.events {
				if e.Kind == harden.EventUnproven && strings.Contains(e.Message.String(), "tls") {
					said += e.Message.String()
				}
			}
			if !strings.Contains(said, tt.unproven) || tt.unproven == "" && said != "" {
				t.Errorf("unproven: %q", said)
			}
		})
	}
}

// stored is a plan as it is handed over.
func stored(t *testing.T, p harden.Plan) harden.Plan {
	t.Helper()
	data, err := json.Marshal(p)
	must(t, err)
	var out harden.Plan
	must(t, json.Unmarshal(data, &out))
	return out
}

// Handshakes that fail refuse the plan at the canary, before the live API server restarts.
func TestHandshakesAreProvenAtTheCanaryFirst(t *testing.T) {
	for _, old := range []bool{false, true} {
		w := newWorld(t)
		w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{
			control("tls", suites.ProveFloor("", harden.APIServer, "", "VersionTLS12"), harden.SetFlag(harden.APIServer, "profiling", "false")),
		}}}
		config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{rsaCert()}}
		if old {
			config.MinVersion = tls.VersionTLS10
		}
		var asked []string
		w.node.shakes = func(ctx context.Context, address string, version uint16, offered []uint16) (apply.Handshake, error) {
			if len(asked) == 0 || asked[len(asked)-1] != address {
				asked = append(asked, address)
			}
			return speaking(config)(ctx, address, version, offered)
		}
		res := w.apply(w.plan("tls"))
		switch {
		case old && (res.Outcome != harden.OutcomeRefused || len(asked) != 1 || len(w.changes()) > 0):
			t.Errorf("%s: %s: asked at %v, changed %v", res.Outcome, res.Message, asked, w.changes())
		case !old && (res.Outcome != harden.OutcomeApplied || len(asked) != 2 || asked[1] != "192.0.2.11:6443" || asked[0] == asked[1]):
			t.Errorf("%s: %s: asked at %v", res.Outcome, res.Message, asked)
		}
	}
}
