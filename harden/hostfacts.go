package harden

import (
	"fmt"
	"time"
)

// Groups of facts that the node's files and processes give.
const (
	NeedFiles        Need = "files"        // owners, modes and times of what lies where Kubernetes keeps things
	NeedCertificates Need = "certificates" // certificates and kubeconfigs, without their keys
)

// StatKind is what lies at a path.
type StatKind string

const (
	StatFile  StatKind = "file"
	StatDir   StatKind = "directory"
	StatLink  StatKind = "link"
	StatOther StatKind = "other" // a socket, a pipe, a device
)

// StatFact is a path as it is, links not followed. The zero Kind means that nothing is there.
type StatFact struct {
	Path string   `json:"path"`
	Kind StatKind `json:"kind"`
	Mode uint32   `json:"mode"`
	UID  int      `json:"uid"`
	GID  int      `json:"gid"`
	// Owner by the names that the node's own files know, "root:root"; numbers where they know none.
	Owner    string    `json:"owner"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
	// Target is where a link leads inside the root, "" where it leads nowhere.
	Target string `json:"target,omitempty"`
}

// Evidence is the path as something seen: "mode 0600, owner root:root".
func (s StatFact) Evidence() Evidence {
	if s.Kind == StatLink {
		to := s.Target
		if to == "" {
			to = "nothing"
		}
		return Evidence{Source: s.Path, Value: "a link to " + to}
	}
	return Evidence{Source: s.Path, Value: fmt.Sprintf("mode %04o, owner %s", s.Mode, s.Owner)}
}

// Stat is what was seen at a path, following a link to what was seen behind it.
func (f *Facts) Stat(path string) (StatFact, bool) {
	s, ok := f.Stats[path]
	if ok && s.Kind == StatLink {
		s, ok = f.Stats[s.Target]
	}
	return s, ok
}

// KubeconfigFact is who a kubeconfig lets its holder be. Keys and tokens are not part of it.
type KubeconfigFact struct {
	Path  string           `json:"path"`
	Users []CredentialFact `json:"users,omitempty"`
	// Servers are the API servers that it names, host names or addresses without ports.
	Servers []string `json:"servers,omitempty"`
	// Unread says why it could not be read.
	Unread Message `json:"unread,omitzero"`
}

// CredentialFact is one user of a kubeconfig.
type CredentialFact struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "certificate", "token", "program" or "other"
	// CertificateFile is set where the certificate lies in a file of its own.
	CertificateFile string `json:"certificateFile,omitempty"`
	// CommonName and Organizations are the certificate's: the user and its groups.
	CommonName    string   `json:"commonName,omitempty"`
	Organizations []string `json:"organizations,omitempty"`
}

// CertificateFact is a certificate, without its key.
type CertificateFact struct {
	Path string `json:"path"`
	// User is the user of the kubeconfig that the certificate is embedded in.
	User          string    `json:"user,omitempty"`
	CommonName    string    `json:"commonName"`
	Organizations []string  `json:"organizations,omitempty"`
	Issuer        string    `json:"issuer"` // its common name
	DNSNames      []string  `json:"dnsNames,omitempty"`
	Addresses     []string  `json:"addresses,omitempty"`
	NotBefore     time.Time `json:"notBefore"`
	NotAfter      time.Time `json:"notAfter"`
	KeyKind       string    `json:"keyKind"` // "RSA", "ECDSA", "Ed25519"
	KeyBits       int       `json:"keyBits"`
	Signature     string    `json:"signature"` // "SHA256-RSA"
	CA            bool      `json:"ca,omitempty"`
	Server        bool      `json:"server,omitempty"` // may prove a server
	Client        bool      `json:"client,omitempty"` // may prove a client
	// PublicKey is the sha256 of the public key.
	PublicKey string `json:"publicKey"`
	// SignedBy is the path of the CA certificate on this node that signed it; "" where none did.
	SignedBy   string `json:"signedBy,omitempty"`
	SelfSigned bool   `json:"selfSigned,omitempty"`
	// Key is what is known of the private key.
	Key KeyState `json:"key"`
	// KeyPath is where it lies, or would.
	KeyPath string `json:"keyPath,omitempty"`
}

// KeyState is how a private key goes with its certificate.
type KeyState string

const (
	KeyMatches    KeyState = "matches"
	KeyDiffers    KeyState = "differs"
	KeyAbsent     KeyState = "absent"     // no file
	KeyUnreadable KeyState = "unreadable" // a file that holds no key that can be read
	KeyUnlooked   KeyState = ""           // not looked for
)

// Name is what people know the certificate by: its file, with the user for one in a kubeconfig.
func (c CertificateFact) Name() string {
	if c.User != "" {
		return c.Path + " (" + c.User + ")"
	}
	return c.Path
}
