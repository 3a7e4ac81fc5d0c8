package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

const rootCA = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"

func nodeJSON(machineID string) string {
	return fmt.Sprintf(`{"metadata": {"name": "cp1"}, "status": {"nodeInfo": {"machineID": %q, "kubeletVersion": "v1.36.1"}}}`, machineID)
}

func TestCheckIdentity(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(a *apiServer)
		config  func(*clientcmdapi.Config)
		change  func(*harden.Identity)
		reason  objects.Reason // empty: it is the node's cluster
		says    string
	}{
		"the node's cluster": {},
		"CA may not be read": {arrange: func(a *apiServer) { a.fails(rootCA, 403, "Forbidden", "no") }},
		"a bundle while rotated": {arrange: func(a *apiServer) {
			a.json(rootCA, fmt.Sprintf(`{"data": {"ca.crt": %q}}`, string(newPKI(t, pkiOptions{}).caPEM)+string(a.caPEM)))
		}},
		"another cluster": {
			change: func(i *harden.Identity) { i.CADigest = strings.Repeat("ab", 32) },
			reason: objects.Elsewhere, says: "it is another cluster: its CA is ",
		},
		"another cluster, and its CA may not be read": {
			arrange: func(a *apiServer) { a.fails(rootCA, 403, "Forbidden", "no") },
			change:  func(i *harden.Identity) { i.CADigest = strings.Repeat("ab", 32) },
			reason:  objects.Elsewhere, says: "it is another cluster",
		},
		"another cluster behind a trusted certificate": {
			arrange: func(a *apiServer) {
				a.json(rootCA, fmt.Sprintf(`{"data": {"ca.crt": %q}}`, newPKI(t, pkiOptions{}).caPEM))
			},
			reason: objects.Elsewhere, says: "it is another cluster",
		},
		"no such node": {
			change: func(i *harden.Identity) { i.Node = "cp9" },
			reason: objects.Elsewhere, says: `it has no node "cp9"`,
		},
		"another machine": {
			arrange: func(a *apiServer) { a.json("/api/v1/nodes/cp1", nodeJSON("ffffffffffffffffffffffffffffffff")) },
			reason:  objects.Elsewhere, says: "is another machine: its machine id is ffffffffffff, this one's is 0123456789ab",
		},
		"nodes may not be read": {
			arrange: func(a *apiServer) { a.fails("/api/v1/nodes/cp1", 403, "Forbidden", "no") },
			reason:  objects.Forbidden,
		},
		"the node's machine id is not known": {
			change: func(i *harden.Identity) { i.MachineID = "" },
			reason: objects.Elsewhere, says: "is not known",
		},
		"a name that is a path": {
			change: func(i *harden.Identity) { i.Node = "../secrets" },
			reason: objects.Failed, says: "cannot be part of an API path",
		},
		"certificates are not checked": {
			config: func(c *clientcmdapi.Config) {
				c.Clusters["test"].CertificateAuthorityData, c.Clusters["test"].InsecureSkipTLSVerify = nil, true
			},
			reason: objects.Certificate, says: "insecure-skip-tls-verify",
		},
		"no version": {
			arrange: func(a *apiServer) { a.json("/version", `{}`) },
			reason:  objects.Failed, says: "parsing version",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, pkiOptions{})
			a.json("/api/v1/nodes/cp1", nodeJSON("0123456789abcdef0123456789abcdef"))
			if test.arrange != nil {
				test.arrange(a)
			}
			node := harden.Identity{Node: "cp1", MachineID: "0123456789abcdef0123456789abcdef", CADigest: a.digest}
			if test.change != nil {
				test.change(&node)
			}
			c, err := Connect(Options{Kubeconfig: a.kubeconfig(t, test.config)})
			if err != nil {
				t.Fatal(err)
			}
			err = c.CheckIdentity(t.Context(), node)
			if test.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var fault *objects.Error
			if !errors.As(err, &fault) || fault.Reason != test.reason || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %s with %q", err, test.reason, test.says)
			}
			if fault.OtherCluster() != (test.reason == objects.Elsewhere) {
				t.Errorf("another cluster: %t", fault.OtherCluster())
			}
		})
	}
}
