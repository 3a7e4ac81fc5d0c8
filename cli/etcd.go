package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
	"kubectl-harden.io/kubectl-harden/patches"
)

// nodeEtcd asks etcd as this node's API server does: at its addresses, with its certificate.
type nodeEtcd struct {
	files files
	facts *harden.Facts
}

func (e *nodeEtcd) Members(ctx context.Context) ([]apply.EtcdMember, error) {
	client, err := e.client()
	if err != nil {
		return nil, fmt.Errorf("asking etcd for its members: %w", err)
	}
	found, err := client.Members(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]apply.EtcdMember, len(found))
	for i, m := range found {
		out[i] = apply.EtcdMember{Name: m.Name, Learner: m.Learner}
		if m.Err != nil {
			out[i].Ailing = oneLine(m.Err.Error())
		}
	}
	return out, nil
}

// Size, Snapshot, Discard and Beginnings look at what the API server keeps there.
func (e *nodeEtcd) Size(ctx context.Context) (uint64, error) {
	client, err := e.client()
	if err != nil {
		return 0, fmt.Errorf("asking etcd for its size: %w", err)
	}
	return client.Size(ctx)
}

func (e *nodeEtcd) Snapshot(ctx context.Context, file string) error {
	client, err := e.client()
	if err != nil {
		return err
	}
	return client.Snapshot(ctx, file)
}

// Discard works whether or not etcd answers.
func (e *nodeEtcd) Discard(file string) error { return host.DiscardSnapshot(file) }

func (e *nodeEtcd) Beginnings(ctx context.Context, resource string, see func(string)) error {
	client, err := e.client()
	if err != nil {
		return fmt.Errorf("reading from etcd: %w", err)
	}
	prefix := e.facts.Component(harden.APIServer).FileFlag("etcd-prefix").Last()
	if prefix == "" {
		prefix = "/registry"
	}
	return client.Beginnings(ctx, path.Join("/", prefix, resource)+"/", see)
}

// client reads the files anew each time: certificates are renewed.
func (e *nodeEtcd) client() (*host.Etcd, error) {
	c := e.facts.Component(harden.APIServer)
	if c == nil || len(c.Args) == 0 {
		return nil, errors.New("there is no manifest of an API server that says where it is")
	}
	flags := map[string]string{}
	for _, f := range patches.ParseArgs(c.Args) {
		flags[f.Name] = f.Value
	}
	if flags["etcd-servers"] == "" {
		return nil, errors.New("the API server's manifest does not say where it is")
	}
	out := &host.Etcd{Endpoints: strings.Split(flags["etcd-servers"], ",")}
	for flag, to := range map[string]*[]byte{"etcd-cafile": &out.CA, "etcd-certfile": &out.Cert, "etcd-keyfile": &out.Key} {
		if flags[flag] == "" {
			continue
		}
		s, err := e.files.State(flags[flag])
		if err != nil {
			return nil, err
		}
		if !s.Exists {
			return nil, fmt.Errorf("%s: it does not exist", flags[flag])
		}
		*to = s.Data
	}
	e.insteadOfEnded(out)
	return out, nil
}

// insteadOfEnded takes the client certificate that etcd's own probes have by kubeadm, where that of the API server has ended: etcd's are
// renewed first.
func (e *nodeEtcd) insteadOfEnded(c *host.Etcd) {
	const base = "/etc/kubernetes/pki/etcd/healthcheck-client"
	now := time.Now()
	good := func(data []byte) bool {
		certs := harden.CertificatesIn(data)
		return len(certs) > 0 && now.Before(certs[0].NotAfter)
	}
	if len(c.Cert) == 0 || good(c.Cert) {
		return
	}
	cert, errC := e.files.State(base + ".crt")
	key, errK := e.files.State(base + ".key")
	if errC == nil && errK == nil && cert.Exists && key.Exists && good(cert.Data) {
		c.Cert, c.Key = cert.Data, key.Data
	}
}

// newKey is one to encrypt with.
func newKey() []byte {
	key := make([]byte, harden.EncryptionKeySize)
	_, _ = rand.Read(key) // it cannot fail (crypto/rand)
	return key
}

// sandboxEtcd is the one member of the sandbox's etcd, which is always well.
type sandboxEtcd struct {
	node  string
	files files
}

func (e sandboxEtcd) Members(context.Context) ([]apply.EtcdMember, error) {
	return []apply.EtcdMember{{Name: e.node}}, nil
}

// Size, Snapshot, Discard and Beginnings: nothing is stored in the sandbox's etcd.
func (sandboxEtcd) Size(context.Context) (uint64, error) { return 0, nil }

// Snapshot is one of a database without a page: the checksum alone.
func (e sandboxEtcd) Snapshot(_ context.Context, file string) (err error) {
	if err := e.Discard(file); err != nil {
		return err
	}
	f, err := e.files.Create(file, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.Sum256(nil)
	_, err = f.Write(sum[:])
	return err
}

func (e sandboxEtcd) Discard(file string) error {
	if err := e.files.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (sandboxEtcd) Beginnings(context.Context, string, func(string)) error { return nil }
