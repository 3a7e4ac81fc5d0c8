package kubelet

import (
	"fmt"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	docsAuth   = "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/"
	docsConfig = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/"

	seedKubelet = "Nodes: kubelet"
	seedPorts   = "Ports"
	seedTLS     = "TLS and certificates"

	nsaAuth = "Authentication and authorization"
)

// DefaultCA is the cluster's CA certificate as kubeadm lays it down on every node.
const DefaultCA = "/etc/kubernetes/pki/ca.crt"

var anonymousAuth = setting{
	id: "kubelet-anonymous-auth", title: "The kubelet refuses anonymous requests", severity: harden.Critical,
	why: harden.Msg("The kubelet's port 10250 runs commands in containers and reads their logs. While anonymous requests are let in, " +
		"whoever reaches the port is a user, and only the authorization mode stands between that user and every container of the node."),
	refs: harden.Refs{CIS: []string{"4.2.1"}, STIG: []string{"V-242391"}, NSA: []string{nsaAuth}, Seed: []string{seedKubelet, seedPorts}, Docs: []string{docsAuth}},

	field: "authentication.anonymous.enabled", flag: "anonymous-auth", preset: false, legacy: true,
	judge: isBool(false,
		harden.Msg("anonymous requests to port 10250 are refused"),
		harden.Msg("anonymous requests to port 10250 are let in")),
	want: always(false),
	remedy: harden.Remedy{
		ID: "refuse-anonymous", Title: harden.Msg("Refuse anonymous requests"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; clients of port 10250 without credentials get 401"),
		Breaks: []harden.Message{
			harden.Msg("Monitoring that scrapes port 10250 without a token or certificate: its target shows 401 Unauthorized. Give it a service account with get on nodes/metrics."),
			harden.Msg("Load balancers or scripts that probe https://NODE:10250/healthz without credentials. The kubelet's own health port 10248 is not concerned."),
		},
	},
}

var authenticationWebhook = setting{
	id: "kubelet-authentication-webhook", title: "The kubelet asks the API server who a token belongs to", severity: harden.Medium,
	why: harden.Msg("With webhook authentication the kubelet lets the API server review bearer tokens, so that service accounts can be told apart and allowed singly. " +
		"Without it, clients such as metrics-server are left with certificates or with anonymous access, and people then open the latter."),
	refs: harden.Refs{NSA: []string{nsaAuth}, Seed: []string{seedKubelet}, Docs: []string{docsAuth}},

	field: "authentication.webhook.enabled", flag: "authentication-token-webhook", preset: true, legacy: false,
	judge: isBool(true,
		harden.Msg("bearer tokens are reviewed by the API server"),
		harden.Msg("bearer tokens are not reviewed: service accounts cannot prove who they are")),
	want: always(true),
	remedy: harden.Remedy{
		ID: "review-tokens", Title: harden.Msg("Let the API server review tokens"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Nothing that works now. While the API server is away, tokens that are not in the kubelet's cache (2 minutes) are refused."),
		},
	},
}

var authorizationMode = setting{
	id: "kubelet-authorization-mode", title: "The kubelet asks the API server what a user may do", severity: harden.Critical,
	why: harden.Msg("In mode AlwaysAllow every authenticated user, and an anonymous one where those are let in, may run commands in every container of the node. " +
		"In mode Webhook the API server decides by RBAC, with verbs on nodes/metrics, nodes/log, nodes/proxy and the like."),
	refs: harden.Refs{CIS: []string{"4.2.2"}, STIG: []string{"V-242392"}, NSA: []string{nsaAuth}, Seed: []string{seedKubelet}, Docs: []string{docsAuth}},

	field: "authorization.mode", flag: "authorization-mode", preset: "Webhook", legacy: "AlwaysAllow", zeroIsUnset: true,
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		switch r.value {
		case "Webhook":
			return harden.StatusPass, harden.Msg("requests are authorized by the API server")
		case "AlwaysAllow":
			return harden.StatusFail, harden.Msg("every authenticated request is allowed, exec into any container included")
		}
		return harden.StatusFail, harden.Msg("%s is not a mode that the kubelet knows; it will not start with it", show(r.value))
	},
	want: always("Webhook"),
	remedy: harden.Remedy{
		ID: "webhook", Title: harden.Msg("Authorize by the API server"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; clients of port 10250 need RBAC rights on nodes' subresources"),
		Breaks: []harden.Message{
			harden.Msg("Scrapers whose service account has no get on nodes/metrics or nodes/stats: their target shows 403 Forbidden until a ClusterRole grants it."),
			harden.Msg("kubectl logs and exec, if the API server's kubelet client certificate has lost its rights (kubeadm grants them): \"Forbidden (user=kube-apiserver-kubelet-client)\"."),
		},
	},
}

var clientCAFile = setting{
	id: "kubelet-client-ca-file", title: "The kubelet checks client certificates against the cluster's CA", severity: harden.High,
	why: harden.Msg("The API server proves itself to the kubelet with a client certificate. Without a CA to check it against, the kubelet takes the API server for anonymous, " +
		"and logs and exec work only while anonymous requests may do everything."),
	refs: harden.Refs{CIS: []string{"4.2.3"}, STIG: []string{"V-242420"}, NSA: []string{nsaAuth}, Seed: []string{seedTLS}, Docs: []string{docsAuth}},

	field: "authentication.x509.clientCAFile", flag: "client-ca-file", preset: "", zeroIsUnset: true, isFile: true,
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if r.value == "" {
			return harden.StatusFail, harden.Msg("no CA is set: client certificates are not checked")
		}
		return harden.StatusPass, harden.Msg("client certificates are checked against %s", r.value)
	},
	want: func(v harden.Values) any { return v["path"] },
	remedy: harden.Remedy{
		ID: "cluster-ca", Title: harden.Msg("Check client certificates against the cluster's CA"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("The kubelet does not start when the file is missing: \"unable to load client CA file\". The file's presence is checked first."),
		},
		Options: []harden.Option{{
			Name: "path", Title: harden.Msg("file with the CA certificate"), Kind: harden.OptionText, Default: DefaultCA, Check: absolute,
		}},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{isThere(f, v["path"])}
		},
	},
}

// isThere is unmet where the file is known not to be there: the kubelet would not start.
func isThere(f *harden.Facts, path string) harden.Precondition {
	p := harden.Precondition{ID: "client-ca-exists", Title: harden.Msg("the CA file exists"), State: harden.Met, Needed: true}
	file, known := f.Files[path]
	stat, seen := f.Stat(path)
	_, unread := f.Missing[harden.NeedFiles]
	looked := seen || !unread && f.Stats != nil && f.Kubelet.Field("authentication.x509.clientCAFile").Value == path
	switch {
	case known && file.State.Exists:
		p.Evidence = []harden.Evidence{{Source: path, Value: "sha256 " + file.State.Digest()}}
	case path == DefaultCA && f.Identity.CADigest != "":
		p.Evidence = []harden.Evidence{{Source: path, Value: "sha256 " + f.Identity.CADigest}}
	case stat.Kind == harden.StatFile:
		p.Evidence = []harden.Evidence{stat.Evidence()}
	case known && file.Unread.IsZero(), looked && stat.Kind == "":
		p.State, p.Message = harden.Unmet, harden.Msg("%s does not exist on this node", path)
	case looked:
		p.State, p.Message = harden.Unmet, harden.Msg("%s is no file", path)
	default:
		p.State, p.Message = harden.PreconditionUnknown, harden.Msg("%s was not read", path)
	}
	return p
}

var readOnlyPort = setting{
	id: "kubelet-read-only-port", title: "The kubelet's read-only port is off", severity: harden.High,
	why: harden.Msg("The read-only port (10255 by tradition) hands out pod specifications, environment variables included, and metrics to everyone who reaches it, " +
		"without TLS and without asking who it is. It is deprecated; port 10250 serves the same to those who may have it."),
	refs: harden.Refs{CIS: []string{"4.2.4"}, STIG: []string{"V-242387"}, Seed: []string{seedPorts}, Docs: []string{docsConfig}},

	field: "readOnlyPort", flag: "read-only-port", preset: int64(0), legacy: int64(10255),
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if r.value == int64(0) {
			return harden.StatusPass, harden.Msg("the read-only port is off")
		}
		return harden.StatusFail, harden.Msg("port %d serves pods and metrics without authentication", r.value)
	},
	want: always(0),
	remedy: harden.Remedy{
		ID: "off", Title: harden.Msg("Turn the read-only port off"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("the kubelet restarts once; nothing listens on the read-only port any more"),
		Breaks: []harden.Message{
			harden.Msg("Old monitoring (Heapster, early Prometheus or Datadog set-ups) that reads port 10255: connection refused. What comes once a minute may not be connected just now; look again: ss -tn sport = :10255"),
		},
		Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
			return []harden.Precondition{nobodyReads(f)}
		},
	},
}

// nobodyReads looks at who is connected to the read-only port now: that one is refused from the restart on.
func nobodyReads(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "nobody-reads", Title: harden.Msg("nobody is connected to the read-only port"), State: harden.PreconditionUnknown}
	switch {
	case f.Identity.Offline:
		p.State, p.Message = harden.Met, harden.Msg("nothing runs from this root")
		return p
	case f.Firewall == nil:
		p.Message = harden.Msg("who is connected was not looked at")
		return p
	case !f.Firewall.PeersUnread.IsZero():
		p.Message = harden.Msg("who is connected could not be seen: %s", f.Firewall.PeersUnread)
		return p
	}
	port := 10255
	if n, ok := integer(f.Kubelet.Field("readOnlyPort").Value); ok {
		port = int(n.(int64))
	}
	if flag := f.Kubelet.Flag("read-only-port"); flag.Set {
		if n, err := strconv.Atoi(flag.Last()); err == nil {
			port = n
		}
	}
	var who []string
	for _, peer := range f.Firewall.Peers {
		if peer.Port == port {
			who = append(who, peer.Address.String())
			p.Evidence = append(p.Evidence, harden.Evidence{Source: fmt.Sprintf("port %d", port), Value: peer.Address.String() + " is connected"})
		}
	}
	if len(who) > 0 {
		p.Message = harden.Msg("%s read from port %d: have them ask at port 10250 first, with credentials", strings.Join(who, ", "), port)
		return p
	}
	p.State, p.Message = harden.Met, harden.Msg("nobody is connected to port %d from elsewhere", port)
	return p
}

var rotateCertificates = setting{
	id: "kubelet-rotate-certificates", title: "The kubelet renews its client certificate", severity: harden.Medium,
	why: harden.Msg("The kubelet's client certificate ends after a year. With rotation the kubelet asks for a new one in time; without, the node drops out of the cluster " +
		"that day, and people are tempted to issue certificates that never end."),
	refs: harden.Refs{CIS: []string{"4.2.10"}, Seed: []string{seedTLS}, Docs: []string{"https://kubernetes.io/docs/tasks/tls/certificate-rotation/"}},

	field: "rotateCertificates", flag: "rotate-certificates", preset: false,
	judge: isBool(true,
		harden.Msg("the client certificate is renewed before it ends"),
		harden.Msg("the client certificate is not renewed: the node drops out when it ends")),
	want: always(true),
	remedy: harden.Remedy{
		ID: "rotate", Title: harden.Msg("Renew the client certificate"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Nothing while the controller manager signs and approves node client certificates, as kubeadm sets it up. Otherwise requests stay pending: kubectl get csr shows them."),
		},
	},
}
