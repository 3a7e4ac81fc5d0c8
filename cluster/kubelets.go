package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	kubeletWait = 2 * time.Second
	kubeletsAt  = 32 // asked at a time
)

// readKubelets looks at the certificate that each node's kubelet serves with. Nothing is asked of the kubelets but that.
func readKubelets(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	const doing = "looking at the certificates of kubelets"
	if !c.onNode {
		return c.fault(doing, "", errors.New("kubelets are asked on a control-plane node only, from where the API server asks them"))
	}
	config, err := rest.TLSConfigFor(c.config)
	if err != nil || config == nil {
		return c.fault(doing, "", errors.New("the kubeconfig has no CA to check them with"))
	}
	nodes, err := c.nodes()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out := make([]harden.KubeletServingFact, len(nodes))
	slots := make(chan struct{}, kubeletsAt)
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			slots <- struct{}{}
			out[i] = lookAtKubelet(ctx, n, config.RootCAs)
			<-slots
		})
	}
	all.Wait()
	facts.KubeletServing = out
	return nil
}

// addressOf is where the API server would look for a kubelet first, as kubeadm sets it up.
func addressOf(n objects.Node) string {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName} {
		for _, a := range n.Status.Addresses {
			if a.Type == kind {
				return a.Address
			}
		}
	}
	return ""
}

func lookAtKubelet(ctx context.Context, n objects.Node, roots *x509.CertPool) harden.KubeletServingFact {
	out := harden.KubeletServingFact{Node: n.Meta.Name}
	for _, a := range n.Status.Addresses {
		out.NodeAddresses = append(out.NodeAddresses, harden.NodeAddress{Type: string(a.Type), Address: a.Address})
	}
	host, port := addressOf(n), n.Status.DaemonEndpoints.KubeletEndpoint.Port
	if host == "" || port == 0 {
		out.Unread = harden.Msg("the Node does not say where its kubelet listens")
		return out
	}
	out.Address = net.JoinHostPort(host, strconv.Itoa(int(port)))
	ctx, cancel := context.WithTimeout(ctx, kubeletWait)
	defer cancel()
	// Anybody's certificate is taken here: it is judged below, and nothing is sent.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", out.Address)
	if err != nil {
		out.Unread = harden.Msg("%s", objects.OneLine(err.Error()))
		return out
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	out.DNSNames = chain[0].DNSNames
	for _, ip := range chain[0].IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			out.Addresses = append(out.Addresses, a.Unmap().String())
		}
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		out.Problem = harden.Msg("%s", objects.OneLine(err.Error()))
	}
	return out
}
