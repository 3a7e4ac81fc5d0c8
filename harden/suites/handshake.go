package suites

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// versions by the names that components have for them; what is not set is the floor that all of them have.
var versions = map[string]uint16{
	"": tls.VersionTLS12, "VersionTLS10": tls.VersionTLS10, "VersionTLS11": tls.VersionTLS11, "VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13,
	"TLS1.2": tls.VersionTLS12, "TLS1.3": tls.VersionTLS13,
}

// Floor is the lowest version that a component speaks with such a setting; it does not start with another name.
func Floor(setting string) (version uint16, ok bool) {
	version, ok = versions[setting]
	return version, ok
}

// ProveFloor wants a component to speak this version and newer ones, and no older one; address is "" where its probes tell it.
func ProveFloor(control string, c harden.ComponentID, address, floor string) []harden.Proof {
	v, ok := Floor(floor)
	if !ok {
		return nil
	}
	return []harden.Proof{{Control: control, Kind: harden.ProofHandshake, Component: c, Path: tls.VersionName(v), Request: address}}
}

// ProveList wants a component, whose floor this is, to agree to these suites and to no others.
func ProveList(control string, c harden.ComponentID, address, floor string, list []string) []harden.Proof {
	out := ProveFloor(control, c, address, floor)
	for i := range out {
		out[i].Want = list
	}
	return out
}

// Version is what tls.VersionName has a name for.
func Version(name string) (uint16, bool) {
	for _, v := range versions {
		if tls.VersionName(v) == name {
			return v, true
		}
	}
	return 0, false
}

// Known are all suites that can be offered to TLS 1.2 and older.
func Known() []uint16 { return others(nil) }

// Split12 divides all that can be offered to TLS 1.2 into those of a list and the others.
func Split12(list []string) (of, other []uint16) {
	for _, name := range list {
		if s := suite(name); s != nil && !isTLS13(name) && !slices.Contains(of, s.ID) {
			of = append(of, s.ID)
		}
	}
	return of, others(of)
}

func others(of []uint16) []uint16 {
	var out []uint16
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !isTLS13(s.Name) && !slices.Contains(of, s.ID) {
			out = append(out, s.ID)
		}
	}
	return out
}

// For says whether a server with such a key can agree to a suite of a list.
func For(id uint16, key x509.PublicKeyAlgorithm) bool {
	return strings.HasPrefix(tls.CipherSuiteName(id), "TLS_ECDHE_"+kind(key)+"_")
}
