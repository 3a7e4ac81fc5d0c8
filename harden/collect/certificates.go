package collect

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubectl-harden.io/kubectl-harden/harden"
)

// maxCredential is the size above which a file in somebody's home is not taken for a kubeconfig.
const maxCredential = 1 << 20

// certFlags are flags of static pods that name certificates, and the flags that name their keys.
var certFlags = map[harden.ComponentID][][2]string{
	harden.APIServer: {
		{"tls-cert-file", "tls-private-key-file"}, {"client-ca-file", ""}, {"kubelet-client-certificate", "kubelet-client-key"},
		{"kubelet-certificate-authority", ""}, {"proxy-client-cert-file", "proxy-client-key-file"}, {"requestheader-client-ca-file", ""},
		{"etcd-cafile", ""}, {"etcd-certfile", "etcd-keyfile"},
	},
	harden.ControllerManager: {{"cluster-signing-cert-file", "cluster-signing-key-file"}, {"root-ca-file", ""}, {"tls-cert-file", "tls-private-key-file"}},
	harden.Scheduler:         {{"tls-cert-file", "tls-private-key-file"}},
	harden.Etcd:              {{"cert-file", "key-file"}, {"trusted-ca-file", ""}, {"peer-cert-file", "peer-key-file"}, {"peer-trusted-ca-file", ""}},
}

// certCollector gathers certificates once each, by path.
type certCollector struct {
	n     Node
	f     *harden.Facts
	certs []*x509.Certificate // as f.Certificates
	seen  map[string]bool
}

func collectCertificates(n Node, f *harden.Facts, homes []string) {
	c := &certCollector{n: n, f: f, seen: map[string]bool{}}
	for _, p := range sortedStats(f, isCertificate) {
		c.file(p, keyBeside(p))
	}
	for _, comp := range harden.Components {
		facts := f.Component(comp.ID)
		if facts == nil {
			continue
		}
		for _, flags := range certFlags[comp.ID] {
			if comp.ID == harden.Etcd {
				if host := f.EtcdPath(flags[0]); host != "" {
					c.file(host, f.EtcdPath(flags[1]))
				}
				continue
			}
			if host, ok := facts.HostPath(facts.Flag(flags[0]).Last()); ok {
				key := ""
				if flags[1] != "" {
					key, _ = facts.HostPath(facts.Flag(flags[1]).Last())
				}
				c.file(host, key)
			}
		}
	}
	if k := f.Kubelet; k != nil {
		if cert, ok := k.Field("tlsCertFile").Value.(string); ok && cert != "" {
			key, _ := k.Field("tlsPrivateKeyFile").Value.(string)
			c.file(cert, key)
		}
	}
	for _, p := range sortedStats(f, func(s harden.StatFact) bool { return isKubeconfig(s, homes) }) {
		c.kubeconfig(p)
	}
	c.chains()
}

func sortedStats(f *harden.Facts, take func(harden.StatFact) bool) []string {
	var out []string
	for p, s := range f.Stats {
		if take(s) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// isCertificate goes by names: the pki folder's, and the kubelet's.
func isCertificate(s harden.StatFact) bool {
	if s.Kind != harden.StatFile && s.Kind != harden.StatLink {
		return false
	}
	dir := path.Dir(s.Path)
	switch {
	case dir == "/var/lib/kubelet/pki":
		// Of the dated files only the current ones count; the others are rotated away.
		return path.Ext(s.Path) == ".crt" || strings.HasSuffix(s.Path, "-current.pem")
	case dir == "/etc/kubernetes/pki" || dir == "/etc/kubernetes/pki/etcd":
		return path.Ext(s.Path) == ".crt"
	}
	return false
}

// keyBeside is where the key of a certificate lies by kubeadm's and the kubelet's naming; a CA's may be elsewhere.
func keyBeside(p string) string {
	if path.Ext(p) == ".pem" {
		return p
	}
	return strings.TrimSuffix(p, ".crt") + ".key"
}

// isKubeconfig takes what may be one: kubeadm's, whatever people keep in .kube or beside kubeadm's, and what in their homes has a name
// for it.
func isKubeconfig(s harden.StatFact, homes []string) bool {
	if s.Kind != harden.StatFile || s.Size > maxCredential {
		return false
	}
	dir := path.Dir(s.Path)
	if path.Base(dir) == ".kube" && slices.Contains(homes, path.Dir(dir)) {
		return true
	}
	if slices.Contains(homes, dir) && maybeKubeconfig(path.Base(s.Path)) {
		return true
	}
	return dir == "/etc/kubernetes" || strings.Contains(path.Base(s.Path), ".conf") && strings.HasPrefix(s.Path, "/etc/kubernetes/") &&
		!strings.HasPrefix(s.Path, "/etc/kubernetes/manifests/")
}

func (c *certCollector) file(p, key string) {
	if c.seen[p] {
		return
	}
	c.seen[p] = true
	data := readFile(c.n, p).State.Data
	for i, cert := range harden.CertificatesIn(data) {
		keyPath, state := "", harden.KeyUnlooked
		if i == 0 && key != "" {
			keyPath = key
			state = c.keyState(cert, key)
			// A CA's key need not be here, and a bundle of CAs has none.
			if cert.IsCA && state == harden.KeyAbsent {
				keyPath, state = "", harden.KeyUnlooked
			}
		}
		c.add(cert, harden.CertificateFact{Path: p, Key: state, KeyPath: keyPath})
	}
}

func (c *certCollector) keyState(cert *x509.Certificate, p string) harden.KeyState {
	file := readFile(c.n, p)
	if !file.State.Exists && file.Unread.IsZero() {
		return harden.KeyAbsent
	}
	return matches(cert, file.State.Data)
}

// matches compares public halves: nothing of the private one is kept.
func matches(cert *x509.Certificate, keyPEM []byte) harden.KeyState {
	key := harden.PrivateKeyIn(keyPEM)
	if key == nil {
		return harden.KeyUnreadable
	}
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if ok && own.Equal(cert.PublicKey) {
		return harden.KeyMatches
	}
	return harden.KeyDiffers
}

func (c *certCollector) add(cert *x509.Certificate, out harden.CertificateFact) {
	out.CommonName, out.Organizations, out.Issuer = cert.Subject.CommonName, cert.Subject.Organization, cert.Issuer.CommonName
	out.Serial = fmt.Sprintf("%x", cert.SerialNumber)
	out.DNSNames = cert.DNSNames
	for _, ip := range cert.IPAddresses {
		out.Addresses = append(out.Addresses, ip.String())
	}
	out.NotBefore, out.NotAfter = cert.NotBefore.UTC(), cert.NotAfter.UTC()
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		out.KeyKind, out.KeyBits = "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		out.KeyKind, out.KeyBits = "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		out.KeyKind, out.KeyBits = "Ed25519", 256
	default:
		out.KeyKind = cert.PublicKeyAlgorithm.String()
	}
	out.Signature = cert.SignatureAlgorithm.String()
	out.CA = cert.IsCA
	out.Server = slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	out.Client = slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	out.PublicKey = hex.EncodeToString(sum[:])
	c.f.Certificates = append(c.f.Certificates, out)
	c.certs = append(c.certs, cert)
}

// chains finds, for each certificate, the CA certificate on this node that signed it.
func (c *certCollector) chains() {
	for i, cert := range c.certs {
		fact := &c.f.Certificates[i]
		for j, ca := range c.certs {
			if !ca.IsCA || string(cert.RawIssuer) != string(ca.RawSubject) || cert.CheckSignatureFrom(ca) != nil {
				continue
			}
			if string(cert.RawSubjectPublicKeyInfo) == string(ca.RawSubjectPublicKeyInfo) {
				fact.SelfSigned = true
			} else if fact.SignedBy == "" {
				fact.SignedBy = c.f.Certificates[j].Path
			}
		}
		if !cert.IsCA && fact.SignedBy == "" && string(cert.RawIssuer) == string(cert.RawSubject) {
			fact.SelfSigned = true
		}
	}
}

// kubeconfig is what is read of one; keys are compared and forgotten.
type kubeconfig struct {
	Kind     string `yaml:"kind"`
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User struct {
			CertificateFile string         `yaml:"client-certificate"`
			Certificate64   string         `yaml:"client-certificate-data"`
			KeyFile         string         `yaml:"client-key"`
			Key64           string         `yaml:"client-key-data"`
			Token           string         `yaml:"token"`
			TokenFile       string         `yaml:"tokenFile"`
			Exec            map[string]any `yaml:"exec"`
			Provider        map[string]any `yaml:"auth-provider"`
		} `yaml:"user"`
	} `yaml:"users"`
}

func (c *certCollector) kubeconfig(p string) {
	file := readFile(c.n, p)
	if !file.Unread.IsZero() {
		c.f.Kubeconfigs = append(c.f.Kubeconfigs, harden.KubeconfigFact{Path: p, Unread: file.Unread})
		return
	}
	var k kubeconfig
	if err := yaml.Unmarshal(file.State.Data, &k); err != nil || k.Kind != "Config" || len(k.Users) == 0 {
		return // not one
	}
	out := harden.KubeconfigFact{Path: p}
	for _, cl := range k.Clusters {
		if u, err := url.Parse(cl.Cluster.Server); err == nil && u.Hostname() != "" {
			out.Servers = append(out.Servers, u.Hostname())
		}
	}
	for _, u := range k.Users {
		cred := harden.CredentialFact{Name: u.Name, Kind: "other"}
		switch {
		case u.User.Certificate64 != "" || u.User.CertificateFile != "":
			cred.Kind = "certificate"
		case u.User.Token != "" || u.User.TokenFile != "":
			cred.Kind = "token"
		case len(u.User.Exec)+len(u.User.Provider) > 0:
			cred.Kind = "program"
		}
		var cert *x509.Certificate
		if embedded := harden.CertificatesIn(decode64(u.User.Certificate64)); len(embedded) > 0 {
			cert = embedded[0]
			state := harden.KeyUnlooked
			if u.User.Key64 != "" {
				state = matches(cert, decode64(u.User.Key64))
			}
			c.add(cert, harden.CertificateFact{Path: p, User: u.Name, Key: state, KeyPath: p})
		} else if name := u.User.CertificateFile; name != "" {
			if !path.IsAbs(name) {
				name = path.Join(path.Dir(p), name)
			}
			cred.CertificateFile = name
			if certs := harden.CertificatesIn(readFile(c.n, name).State.Data); len(certs) > 0 {
				cert = certs[0]
			}
			c.file(name, u.User.KeyFile)
		}
		if cert != nil {
			cred.CommonName, cred.Organizations = cert.Subject.CommonName, cert.Subject.Organization
		}
		out.Users = append(out.Users, cred)
	}
	c.f.Kubeconfigs = append(c.f.Kubeconfigs, out)
}

// decode64 gives nothing for what is no base64.
func decode64(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil
	}
	return data
}
