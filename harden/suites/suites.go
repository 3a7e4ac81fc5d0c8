// Package suites knows what Go's TLS, on which every component rests, makes of a lowest version and a list of cipher suites: whether they
// are good, and which handshakes show it.
package suites

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Strong suites are forward secret and authenticated, for both kinds of serving keys.
var Strong = append(slices.Clone(AES),
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)

// AES are the strong suites that FIPS 140 has, and that CIS and STIG name as Go does.
var AES = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
}

// oldNames are accepted by Kubernetes beside the names that crypto/tls has.
var oldNames = map[string]string{
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}

// Judge says whether a program that serves with this list offers strong suites only. key is the kind of its certificate's
// key as Key gives it; onlyTLS13 says that it speaks nothing older.
func Judge(program string, list []string, onlyTLS13 bool, key string) (harden.Status, harden.Message) {
	if onlyTLS13 {
		return harden.StatusPass, harden.Msg("only TLS 1.3 is spoken, whose suites cannot be set")
	}
	if len(list) == 0 {
		return harden.StatusFail, harden.Msg("no list is set: TLS 1.2 clients may agree on CBC suites")
	}
	if unknown := filter(list, func(s string) bool { return suite(s) == nil }); len(unknown) > 0 {
		return harden.StatusFail, harden.Msg("%s: no such suite; %s will not start with it", strings.Join(unknown, ", "), program)
	}
	if !slices.ContainsFunc(list, forHTTP2) {
		return harden.StatusFail, harden.Msg("no ECDHE AES_128_GCM suite is in the list: Go refuses HTTP/2 without one, and %s will not serve", program)
	}
	if weak := filter(list, isWeak); len(weak) > 0 {
		return harden.StatusFail, harden.Msg("weak suites are offered: %s", strings.Join(weak, ", "))
	}
	if !fits(list, key) {
		return harden.StatusFail, harden.Msg("no suite in the list fits the %s key of the serving certificate: TLS 1.2 clients cannot connect", key)
	}
	return harden.StatusPass, harden.Msg("TLS 1.2 clients are offered strong suites only")
}

// Lint refuses a list that would stop a program, or that Judge would fail whatever the key is.
func Lint(list []string) error {
	if len(list) == 0 {
		return errors.New("the list is empty")
	}
	for _, s := range list {
		switch {
		case suite(s) == nil:
			return fmt.Errorf("there is no suite %s", s)
		case isTLS13(s):
			return fmt.Errorf("%s belongs to TLS 1.3, whose suites cannot be set", s)
		case isWeak(s):
			return fmt.Errorf("%s is weak", s)
		}
	}
	if !slices.ContainsFunc(list, forHTTP2) {
		return errors.New("HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
	}
	return nil
}

// Fit is met by a list for both kinds of keys whatever the certificate is, and stays so when it is replaced.
func Fit(key string, list []string) harden.Precondition {
	p := harden.Precondition{ID: "suites-fit-key", Title: harden.Msg("the suites fit the serving certificate's key"), State: harden.Met}
	switch both := fits(list, "RSA") && fits(list, "ECDSA"); {
	case both:
	case key == "":
		p.State, p.Message = harden.PreconditionUnknown, harden.Msg("the kind of key is not known, and the list is for one kind only")
	case !fits(list, key):
		p.State, p.Message = harden.Unmet, harden.Msg("the serving certificate has an %s key, and no suite of the list is for it", key)
	}
	return p
}

// Key is the kind of key of the first certificate in PEM: "RSA", "ECDSA" or "" where it cannot be told.
func Key(certificate []byte) string {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return ""
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	return kind(c.PublicKeyAlgorithm)
}

func kind(key x509.PublicKeyAlgorithm) string {
	switch key {
	case x509.RSA:
		return "RSA"
	case x509.ECDSA, x509.Ed25519: // TLS 1.2 names Ed25519 certificates with ECDSA's suites
		return "ECDSA"
	}
	return ""
}

// Split is an option's list of names.
func Split(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }), func(e string) bool { return e == "" })
}

func suite(name string) *tls.CipherSuite {
	if now, ok := oldNames[name]; ok {
		name = now
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func forHTTP2(name string) bool {
	return name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" || name == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
}

func isTLS13(name string) bool {
	s := suite(name)
	return s != nil && slices.Equal(s.SupportedVersions, []uint16{tls.VersionTLS13})
}

// isWeak says that a suite is not one of the strong ones; those of TLS 1.3 are accepted and ignored.
func isWeak(name string) bool {
	s := suite(name)
	return s == nil || !slices.Contains(Strong, s.Name) && !isTLS13(name)
}

func fits(list []string, key string) bool {
	return key == "" || slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "TLS_ECDHE_"+key+"_") })
}

func filter(list []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !keep(s) })
}
