package harden

import (
	"fmt"
	"net/netip"
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
	Serial        string    `json:"serial"` // in hex
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

// Groups of facts that only a running node gives.
const (
	NeedListeners Need = "listeners" // what listens in the host's network, and what filters it
	NeedRuntime   Need = "runtime"   // the container runtime and its containers
)

// ListenerFact is a socket of the host's network that takes connections or datagrams.
type ListenerFact struct {
	Protocol string     `json:"protocol"` // "tcp" or "udp"
	Address  netip.Addr `json:"address"`
	Port     int        `json:"port"`
	PID      int        `json:"pid,omitempty"` // 0: the kernel's own
	Process  string     `json:"process,omitempty"`
}

// Local says that only this node can reach it.
func (l ListenerFact) Local() bool { return l.Address.IsLoopback() }

// String is "tcp 0.0.0.0:10250".
func (l ListenerFact) String() string {
	return l.Protocol + " " + netip.AddrPortFrom(l.Address, uint16(l.Port)).String()
}

// Evidence is the socket with who has it.
func (l ListenerFact) Evidence() Evidence {
	if l.PID == 0 {
		return Evidence{Source: l.String(), Value: "of the kernel's own, or of a process that has ended"}
	}
	return Evidence{Source: l.String(), Value: fmt.Sprintf("process %d (%s)", l.PID, l.Process)}
}

// FirewallFact is what filters or redirects packets on the host.
type FirewallFact struct {
	// Managers are who manages the host's packet filter: "firewalld", "ufw", "nftables.service", in that order.
	Managers []string `json:"managers,omitempty"`
	// Hooks are the chains of nftables (iptables-nft too) that see packets for the host itself.
	Hooks []HookFact `json:"hooks,omitempty"`
	// Legacy are the tables of the older iptables that are loaded.
	Legacy []string `json:"legacy,omitempty"`
	// EBPF are network plugins whose programs see packets before any of these: "Cilium", "Calico".
	EBPF []string `json:"ebpf,omitempty"`
	// Unread says why the chains could not be listed.
	Unread Message `json:"unread,omitzero"`
	// NFT is where the program nft is; "" where it is not.
	NFT string `json:"nft,omitempty"`
	// Table is our own; nil where neither it nor its rules are there.
	Table *TableFact `json:"table,omitempty"`
	// Peers are who is connected to ports of this node from elsewhere; nil where that was not seen.
	Peers []PeerFact `json:"peers,omitempty"`
	// PeersUnread says why that was not seen.
	PeersUnread Message `json:"peersUnread,omitzero"`
}

// TableFact is our own table of nftables.
type TableFact struct {
	Rules FileFact `json:"rules"`
	// Differs says in what the table in force is not the one that the rules make; nothing where it is.
	Differs Message `json:"differs,omitzero"`
}

// PeerFact is who has a connection to a port of this node.
type PeerFact struct {
	Address netip.Addr `json:"address"`
	Port    int        `json:"port"` // of this node
}

// HookFact is a chain at the input hook.
type HookFact struct {
	Family   string `json:"family"` // "inet", "ip", "ip6"
	Table    string `json:"table"`
	Chain    string `json:"chain"`
	Priority int    `json:"priority"`
	Drops    bool   `json:"drops"` // by its policy
}

// WorkloadFact is how a running container of this node is confined, by its runtime.
type WorkloadFact struct {
	Namespace   string `json:"namespace"`
	Pod         string `json:"pod"`
	Name        string `json:"name"`
	Privileged  bool   `json:"privileged,omitempty"`
	Seccomp     bool   `json:"seccomp,omitempty"` // a profile limits its system calls
	HostPID     bool   `json:"hostPID,omitempty"`
	HostIPC     bool   `json:"hostIPC,omitempty"`
	HostNetwork bool   `json:"hostNetwork,omitempty"`
	Unread      bool   `json:"unread,omitempty"` // the runtime did not tell
}
