package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	return out, nil
}

// sandboxEtcd is the one member of the sandbox's etcd, which is always well.
type sandboxEtcd struct{ node string }

func (e sandboxEtcd) Members(context.Context) ([]apply.EtcdMember, error) {
	return []apply.EtcdMember{{Name: e.node}}, nil
}
