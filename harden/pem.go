package harden

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net"
)

// CertificatesIn are the certificates of a PEM file, in order; what cannot be read is left out.
func CertificatesIn(data []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
}

// PrivateKeyIn is the first private key of a PEM file that can be read; nil where there is none.
func PrivateKeyIn(data []byte) crypto.Signer {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil
		}
		var key any
		var err error
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue
		}
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer
		}
	}
}

// For says whether a client that calls a server by the name or address takes the certificate for it.
func (c CertificateFact) For(called string) bool { return isFor(c.DNSNames, c.Addresses, called) }

// For says whether a client that calls the kubelet by the name or address takes its certificate for it.
func (k KubeletServingFact) For(called string) bool { return isFor(k.DNSNames, k.Addresses, called) }

// isFor goes by the rules of TLS clients: a name may stand for others (*.corp.example), and an address has many spellings.
func isFor(names, addresses []string, called string) bool {
	c := x509.Certificate{DNSNames: names}
	for _, a := range addresses {
		if ip := net.ParseIP(a); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		}
	}
	return c.VerifyHostname(called) == nil
}
