package harden

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Renewed is what kubeadm has made of copies of the files of this node.
type Renewed struct {
	// Files are those that became other ones, by their path on the node.
	Files map[string][]byte
	// Said is the last that kubeadm said where it gave up; "": it did not.
	Said string
}

// RenewCertificate asks that a file holds what kubeadm makes of it when it renews the certificate of that name: the certificate,
// its key, or the kubeconfig that both are embedded in. What that is becomes known when the plan is made.
func RenewCertificate(name, path string, restarts ComponentID) Intent {
	return Intent{Kind: IntentRenew, Key: name, Path: path, Restarts: restarts}
}

// Files of a renewal are told by their names, as kubeadm names them.
const (
	certificateFile = ".crt"
	keyFile         = ".key"
)

// longer is how much longer a certificate has to be good for its renewal to be worth a restart. Without it a certificate of a
// short life would be renewed again and again.
const longer = 24 * time.Hour

// renewedIntents gives intents of renewal what kubeadm makes of their files, and leaves out those of certificates that would not be
// good for much longer. Other intents stay as they are.
func (p *planner) renewedIntents(intents []Intent) ([]Intent, error) {
	var names []string
	for _, i := range intents {
		if i.Kind == IntentRenew && !slices.Contains(names, i.Key) {
			names = append(names, i.Key)
		}
	}
	if len(names) == 0 {
		return intents, nil
	}
	if p.in.Renew == nil {
		return nil, errors.New("kubeadm cannot be run here")
	}
	renewed, err := p.in.Renew(names)
	if err != nil {
		return nil, err
	}
	var out []Intent
	worth := map[string]bool{}
	for _, i := range intents {
		if i.Kind != IntentRenew {
			out = append(out, i)
			continue
		}
		data, ok := renewed.Files[i.Path]
		if !ok {
			return nil, notRenewed(i, renewed)
		}
		i.Data = data
		if path.Ext(i.Path) != keyFile {
			before, err := p.in.Read(i.Path)
			if err != nil {
				return nil, err
			}
			worth[i.Key] = goodFor(data).Sub(goodFor(before.Data)) >= longer
		}
		out = append(out, i)
	}
	return slices.DeleteFunc(out, func(i Intent) bool { return i.Kind == IntentRenew && !worth[i.Key] }), nil
}

func notRenewed(i Intent, r Renewed) error {
	said := r.Said
	if said == "" {
		said = "it left the file as it is"
	}
	return fmt.Errorf("kubeadm does not renew %s: %s; \"kubeadm certs renew %s\" tells more", i.Path, said, i.Key)
}

// goodFor is the end of the certificate in a file of a renewal; long ago where there is none.
func goodFor(data []byte) time.Time {
	if c := certificateIn(data); c != nil {
		return c.NotAfter
	}
	return time.Time{}
}

// certificateIn is the first certificate of a file: of a PEM file, or of a kubeconfig's current user.
func certificateIn(data []byte) *x509.Certificate {
	if u, err := currentUser(data); err == nil {
		data = u.certificate
	}
	certs := CertificatesIn(data)
	if len(certs) == 0 {
		return nil
	}
	return certs[0]
}

// renderRenewal never quotes a key.
func (i Intent) renderRenewal(s State) (State, error) {
	switch {
	case len(i.Data) == 0:
		return s, fmt.Errorf("%s: kubeadm was not asked for it", i.Path)
	case !s.Exists || s.Dir:
		return s, fmt.Errorf("%s: it is not a file", i.Path)
	}
	switch path.Ext(i.Path) {
	case certificateFile:
		if err := renews(CertificatesIn(s.Data), CertificatesIn(i.Data)); err != nil {
			return s, fmt.Errorf("%s: %w", i.Path, err)
		}
		s.Data = i.Data
	case keyFile:
		if PrivateKeyIn(i.Data) == nil {
			return s, fmt.Errorf("%s: what it is to become is no private key", i.Path)
		}
		s.Data = i.Data
	default:
		data, err := renewKubeconfig(s.Data, i.Data)
		if err != nil {
			return s, fmt.Errorf("%s: %w", i.Path, err)
		}
		s.Data = data
	}
	return s, nil
}

// renews says why a certificate is no renewal of another one: it must speak for the same, of the same CA, with no more rights. What
// kubeadm would lose with it, such as a chain, is refused too.
func renews(was, is []*x509.Certificate) error {
	switch {
	case len(was) == 0:
		return errors.New("it holds no certificate")
	case len(was) > 1:
		return errors.New("it holds more than one certificate, of which kubeadm keeps the first one only; renew it by hand")
	case len(is) != 1:
		return errors.New("what it is to become is not one certificate")
	}
	a, b := was[0], is[0]
	more := func(o string) bool { return !slices.Contains(a.Subject.Organization, o) }
	switch {
	case a.Subject.CommonName != b.Subject.CommonName || slices.ContainsFunc(b.Subject.Organization, more):
		return fmt.Errorf("the renewed certificate would be for %s", b.Subject)
	case string(a.RawIssuer) != string(b.RawIssuer):
		return fmt.Errorf("the renewed certificate would be of another CA: %s", b.Issuer)
	case !sameSet(servedNames(a), servedNames(b)):
		return fmt.Errorf("the renewed certificate would be for other names: %s", strings.Join(servedNames(b), ", "))
	case b.IsCA || !sameSet(a.ExtKeyUsage, b.ExtKeyUsage):
		return errors.New("the renewed certificate would be for other uses")
	}
	return nil
}

// servedNames are the names and addresses that a certificate is for.
func servedNames(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func sameSet[T comparable](a, b []T) bool {
	return !slices.ContainsFunc(a, func(x T) bool { return !slices.Contains(b, x) }) && !slices.ContainsFunc(b, func(x T) bool { return !slices.Contains(a, x) })
}

// kubeconfigUser is the user of a kubeconfig's current context, by its place among the users.
type kubeconfigUser struct {
	at               int
	certificate, key []byte
}

// currentUser never quotes what it reads.
func currentUser(data []byte) (kubeconfigUser, error) {
	var k struct {
		Kind     string `json:"kind"`
		Current  string `json:"current-context"`
		Contexts []struct {
			Name    string `json:"name"`
			Context struct {
				User string `json:"user"`
			} `json:"context"`
		} `json:"contexts"`
		Users []struct {
			Name string `json:"name"`
			User struct {
				Certificate string `json:"client-certificate-data"`
				Key         string `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if yaml.Unmarshal(data, &k) != nil || k.Kind != "Config" {
		return kubeconfigUser{}, errors.New("it is no kubeconfig")
	}
	for _, c := range k.Contexts {
		for i, u := range k.Users {
			if c.Name != k.Current || u.Name != c.Context.User || u.User.Certificate == "" {
				continue
			}
			certificate, errC := base64.StdEncoding.DecodeString(u.User.Certificate)
			key, errK := base64.StdEncoding.DecodeString(u.User.Key)
			if errC != nil || errK != nil {
				return kubeconfigUser{}, errors.New("the certificate or the key in it is not base64")
			}
			return kubeconfigUser{i, certificate, key}, nil
		}
	}
	return kubeconfigUser{}, errors.New("its current context has no user with a certificate in the file")
}

// renewKubeconfig puts the certificate and the key of a kubeconfig that kubeadm has written anew into the one that is there, and
// leaves the rest of its text alone.
func renewKubeconfig(was, is []byte) ([]byte, error) {
	old, err := currentUser(was)
	if err != nil {
		return nil, err
	}
	renewed, err := currentUser(is)
	if err != nil {
		return nil, fmt.Errorf("what it is to become: %w", err)
	}
	if err := renews(CertificatesIn(old.certificate), CertificatesIn(renewed.certificate)); err != nil {
		return nil, err
	}
	if _, err := tls.X509KeyPair(renewed.certificate, renewed.key); err != nil {
		return nil, errors.New("what it is to become: the key does not belong to the certificate")
	}
	out := was
	for field, data := range map[string][]byte{"client-certificate-data": renewed.certificate, "client-key-data": renewed.key} {
		at := patches.Path{"users", old.at, "user", field}
		if out, err = patches.Set(out, at, base64.StdEncoding.EncodeToString(data)); err != nil {
			return nil, fmt.Errorf("%s cannot be replaced in the way the file is written; run kubeadm certs renew by hand", field) // err quotes the value
		}
	}
	return out, nil
}

// pairChecks block a stage that would leave a certificate with the key of another one.
func pairChecks(st Stage) []Check {
	var out []Check
	for _, s := range st.Steps {
		if !s.renews() || path.Ext(s.Path) != certificateFile {
			continue
		}
		at := slices.IndexFunc(st.Steps, func(o Step) bool {
			return o.renews() && o.Path == strings.TrimSuffix(s.Path, certificateFile)+keyFile
		})
		why := Msg("its key stays as it is")
		if at >= 0 {
			if _, err := tls.X509KeyPair(s.After.Data, st.Steps[at].After.Data); err == nil {
				continue
			}
			why = Msg("the key that would lie beside it belongs to another one")
		}
		out = append(out, Check{Control: s.Controls()[0], Blocks: true, Precondition: Precondition{
			ID: "key-of-certificate", Title: Msg("%s gets its own key", s.Path), State: Unmet, Message: why,
		}})
	}
	return out
}

// renews says that the step's target is renewed by kubeadm.
func (s Step) renews() bool {
	return slices.ContainsFunc(s.Asks, func(a Ask) bool { return a.Intent.Kind == IntentRenew })
}

// Mends says that a plan renews a certificate that has ended by now: what is not well before it may be so for that, and is no reason
// to leave it so.
func (p Plan) Mends(now time.Time) bool {
	return p.Undoes == "" && slices.ContainsFunc(p.Steps(), func(s Step) bool { return s.mends(now) })
}

func (s Step) mends(now time.Time) bool {
	c := certificateIn(s.Before.Data)
	return s.renews() && c != nil && !now.Before(c.NotAfter)
}

// endedChecks block an undo that would bring back a certificate which has ended meanwhile.
func endedChecks(steps []Step, now time.Time) []Check {
	var out []Check
	for _, s := range steps {
		c := certificateIn(s.After.Data)
		if !s.renews() || c == nil || now.Before(c.NotAfter) {
			continue
		}
		out = append(out, Check{Control: s.Controls()[0], Blocks: true, Precondition: Precondition{
			ID: "still-good", Title: Msg("the certificate that would come back is still good"), State: Unmet,
			Message: Msg("%s would hold one that ended on %s", s.Path, c.NotAfter.UTC().Format(time.DateOnly)),
		}})
	}
	return out
}

// CertificateView is what people may see of a certificate.
type CertificateView struct {
	Subject   string    `json:"subject"`
	Names     []string  `json:"names,omitempty"` // and addresses that it is for
	Serial    string    `json:"serial"`          // in hex
	Issuer    string    `json:"issuer"`
	Key       string    `json:"key"` // "RSA", "ECDSA"
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	SHA256    string    `json:"sha256"`
}

// CertificateChange is the certificate of a step's target before and after it; either may be missing.
type CertificateChange struct {
	Before *CertificateView `json:"before,omitempty"`
	After  *CertificateView `json:"after,omitempty"`
}

// Certificates of the step's target; nil where it is not renewed, or is a key.
func (s Step) Certificates() *CertificateChange {
	if !s.renews() || path.Ext(s.Path) == keyFile {
		return nil
	}
	return &CertificateChange{viewCertificate(s.Before), viewCertificate(s.After)}
}

func viewCertificate(s State) *CertificateView {
	c := certificateIn(s.Data)
	if !s.Exists || c == nil {
		return nil
	}
	sum := sha256.Sum256(c.Raw)
	return &CertificateView{
		Subject: c.Subject.String(), Names: servedNames(c), Serial: fmt.Sprintf("%x", c.SerialNumber), Issuer: c.Issuer.String(),
		Key: c.PublicKeyAlgorithm.String(), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), SHA256: hex.EncodeToString(sum[:]),
	}
}

// Words say how a certificate changes, a line each: for whom it is, and what of it becomes another.
func (c *CertificateChange) Words() []Message {
	if c == nil || c.Before == nil || c.After == nil {
		return nil
	}
	b, a := c.Before, c.After
	out := []Message{Msg("certificate of %s, signed by %s", a.Subject, a.Issuer)}
	if a.Subject != b.Subject {
		out = append(out, Msg("before it is of %s", b.Subject))
	}
	if len(a.Names) > 0 {
		out = append(out, Msg("for %s, as before", strings.Join(a.Names, ", ")))
	}
	out = append(out,
		Msg("serial %s becomes %s", b.Serial, a.Serial),
		Msg("it ends on %s instead of %s", a.NotAfter.Format(time.DateOnly), b.NotAfter.Format(time.DateOnly)),
	)
	if a.Key != b.Key {
		out = append(out, Msg("its key is %s instead of %s", a.Key, b.Key))
	}
	return out
}
