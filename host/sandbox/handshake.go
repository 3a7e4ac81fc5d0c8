package sandbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/suites"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Handshake is how the component at a port answers an offer, by what it runs with. All keys are RSA, as kubeadm makes them.
func (n *Node) Handshake(_ context.Context, address string, version uint16, offered []uint16) (apply.Handshake, error) {
	_, done := n.look()
	defer done()
	floor, list, serves := n.tlsAt(address)
	if !serves {
		return apply.Handshake{}, wordsf("dial tcp %s: connect: connection refused", address)
	}
	if version < floor {
		return apply.Handshake{Alert: 70}, nil
	}
	if version == tls.VersionTLS13 {
		return apply.Handshake{Agreed: true, Suite: tls.TLS_AES_128_GCM_SHA256, Key: x509.RSA}, nil
	}
	i := slices.IndexFunc(offered, func(id uint16) bool { return slices.Contains(list, id) && suites.For(id, x509.RSA) })
	if i < 0 {
		return apply.Handshake{Alert: 40}, nil
	}
	return apply.Handshake{Agreed: true, Suite: offered[i], Key: x509.RSA}, nil
}

// tlsAt is the lowest version and the suites of TLS 1.2 of what serves at an address.
func (n *Node) tlsAt(address string) (floor uint16, list []uint16, serves bool) {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	if port == 10250 {
		least, _ := n.kubelet.config["tlsMinVersion"].(string)
		var names []string
		given, _ := n.kubelet.config["tlsCipherSuites"].([]any)
		for _, name := range given {
			names = append(names, fmt.Sprint(name))
		}
		floor, list = tlsOf(least, names)
		return floor, list, n.kubelet.up()
	}
	for p, at := range map[*pod]int{
		n.canary(): usualPorts[harden.APIServer], n.pod(harden.APIServer): usualPorts[harden.APIServer],
		n.pod(harden.ControllerManager): usualPorts[harden.ControllerManager], n.pod(harden.Scheduler): usualPorts[harden.Scheduler],
		n.pod(harden.Etcd): 2379,
	} {
		if p == nil || p.live == nil || p.listens(at) != port && !(at == 2379 && port == 2380) {
			continue
		}
		least, names := "", ""
		for _, f := range patches.ParseArgs(p.live.args) {
			switch f.Name {
			case "tls-min-version":
				least = f.Value
			case "tls-cipher-suites", "cipher-suites":
				names = f.Value
			}
		}
		floor, list = tlsOf(least, suites.Split(names))
		return floor, list, true
	}
	return 0, nil, false
}

// tlsOf is what Go's TLS makes of a component's settings.
func tlsOf(floor string, names []string) (least uint16, list []uint16) {
	least, _ = suites.Floor(floor)
	if list, _ = suites.Split12(names); len(list) == 0 {
		list = suites.Known()
	}
	return least, list
}
