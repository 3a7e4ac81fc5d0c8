package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

// admissionMetric counts, by plugin, the requests that it has looked at.
const admissionMetric = "apiserver_admission_controller_admission_duration_seconds_count{"

// AdmissionPlugins are those that have looked at a request since this API server began, sorted.
func (c *Client) AdmissionPlugins(ctx context.Context) ([]string, error) {
	const doing = "asking for the admission plugins"
	var out []string
	err := c.metrics(ctx, doing, admissionMetric, func(labels string) bool {
		_, rest, _ := strings.Cut(","+labels, `,name="`)
		if name, _, ok := strings.Cut(rest, `"`); ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
		return true
	})
	if err == nil && len(out) == 0 {
		err = c.fault(doing, "", errors.New("no metric names any"))
	}
	slices.Sort(out)
	return out, err
}

// metrics gives the lines of the API server's metrics that begin with a prefix, without it, as long as more are wanted.
func (c *Client) metrics(ctx context.Context, doing, prefix string, each func(rest string) (more bool)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.open(ctx, "/metrics", "")
	if err != nil {
		return c.fault(doing, "", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.fault(doing, "", genericStatus(resp.StatusCode))
	}
	if err := eachLine(resp.Body, prefix, each); err != nil {
		return c.fault(doing, "", err)
	}
	return nil
}

// eachLine goes through the lines that begin with a prefix, which are few of many, as long as more are wanted.
func eachLine(r io.Reader, prefix string, each func(rest string) (more bool)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, ok := bytes.CutPrefix(lines.Bytes(), []byte(prefix)); ok && !each(string(rest)) {
			return nil
		}
	}
	return lines.Err()
}

// GetWith asks for a path with a token instead of the client's own credentials, and gives the answer's status, whatever it is. The
// server has to prove itself as always.
func (c *Client) GetWith(ctx context.Context, token, path string) (status int, err error) {
	const doing = "asking with a token"
	cfg := rest.AnonymousClientConfig(c.config)
	cfg.BearerToken = token
	cfg.ContentConfig = c.config.ContentConfig
	other := &Client{config: cfg, timeout: c.timeout, context: c.context, insecure: c.insecure, onNode: c.onNode}
	if err := other.dial(cfg); err != nil {
		return 0, &objects.Error{Doing: doing, Subject: c.server.Redacted(), Reason: objects.Credentials, Cause: err}
	}
	status, _, err = other.get(ctx, doing, path, "")
	return status, err
}

// GetAt asks another component of this node for a path with the client's certificate, and gives the answer's status, whatever it is.
// The component does not prove who it is, so nothing is sent to it that others could use, and it is asked at the loopback address
// only.
func (c *Client) GetAt(ctx context.Context, host string, port int, path string) (status int, err error) {
	const doing = "asking a component of this node"
	address := net.JoinHostPort(host, strconv.Itoa(port))
	refuse := func(why string) (int, error) {
		return 0, &objects.Error{Doing: doing, Subject: address, Reason: objects.Credentials, Cause: errors.New(why)}
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return refuse("it is not at a loopback address")
	}
	cfg := rest.AnonymousClientConfig(c.config)
	cfg.Host, cfg.ContentConfig = "https://"+address, c.config.ContentConfig
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	own := c.config.TLSClientConfig
	cfg.TLSClientConfig = rest.TLSClientConfig{Insecure: true, CertData: own.CertData, KeyData: own.KeyData, CertFile: own.CertFile, KeyFile: own.KeyFile}
	if len(own.CertData) == 0 && own.CertFile == "" {
		return refuse("the administrator has no certificate")
	}
	there := &Client{config: cfg, timeout: c.timeout, context: c.context, clientCert: c.clientCert, onNode: c.onNode}
	if err := there.dial(cfg); err != nil {
		return 0, &objects.Error{Doing: doing, Subject: address, Reason: objects.Credentials, Cause: err}
	}
	status, _, err = there.get(ctx, doing, path, "")
	return status, err
}

// TokenLife asks for a token as the kubelet does for a pod, an hour long, and gives for how long it is good: the token is not
// kept, by nobody. Where no pod has a service account there is none to ask for.
func (c *Client) TokenLife(ctx context.Context) (life time.Duration, asked bool, err error) {
	const doing = "asking for a pod's token"
	pod, found, err := c.somePod(ctx, doing)
	if err != nil || !found {
		return 0, false, err
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"audiences": []string{}, "expirationSeconds": 3607, // what the kubelet asks for, to the second: others are never extended
			"boundObjectRef": map[string]any{"apiVersion": "v1", "kind": "Pod", "name": pod.Meta.Name, "uid": pod.Meta.UID},
		},
	})
	if err != nil {
		return 0, false, c.fault(doing, pod.String(), err)
	}
	var answer struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	if _, err := c.do(ctx, request{
		doing: doing, subject: pod.String(), verb: http.MethodPost, media: "application/json", body: body,
		path:  []string{"/api/v1/namespaces", pod.Meta.Namespace, "serviceaccounts", pod.Spec.ServiceAccount, "token"},
		query: url.Values{"dryRun": {metav1.DryRunAll}},
	}, &answer); err != nil {
		return 0, false, err
	}
	if life, err = lifeOf(answer.Status.Token); err != nil {
		return 0, false, c.fault(doing, pod.String(), err)
	}
	return life, true, nil
}

// lifeOf a token by its own claims: what the answer says beside it is when the pod is to ask again.
func lifeOf(token string) (time.Duration, error) {
	var claims struct {
		Issued  int64 `json:"iat"`
		Expires int64 `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) == 3 {
		if data, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(data, &claims) == nil && claims.Expires > claims.Issued {
			return time.Duration(claims.Expires-claims.Issued) * time.Second, nil
		}
	}
	return 0, errors.New("the token does not say for how long it is good")
}

// boundPod is a pod and its service account.
type boundPod struct {
	Meta struct {
		Namespace string  `json:"namespace"`
		Name      string  `json:"name"`
		UID       string  `json:"uid"`
		Deleted   *string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccount string `json:"serviceAccountName"`
	} `json:"spec"`
}

func (p boundPod) String() string { return fmt.Sprintf("pod %s/%s", p.Meta.Namespace, p.Meta.Name) }

// somePod is one that runs with a service account.
func (c *Client) somePod(ctx context.Context, doing string) (pod boundPod, found bool, err error) {
	var list struct {
		Items []boundPod `json:"items"`
	}
	if _, err := c.do(ctx, request{
		doing: doing, subject: "pods", verb: http.MethodGet, path: []string{"/api/v1/pods"},
		query: url.Values{"limit": {"100"}, "fieldSelector": {"status.phase=Running"}},
	}, &list); err != nil {
		return pod, false, err
	}
	i := slices.IndexFunc(list.Items, func(p boundPod) bool { return p.Spec.ServiceAccount != "" && p.Meta.Deleted == nil })
	if i < 0 {
		return pod, false, nil
	}
	return list.Items[i], true, nil
}

// TrialPod asks for a pod that keeps no Pod Security Standard, which is not kept, and gives the words in which it is forbidden; ""
// where it is not.
func (c *Client) TrialPod(ctx context.Context, namespace string) (refusal string, err error) {
	const doing = "trying a privileged pod"
	if err := objects.CheckSegment(namespace); err != nil {
		return "", c.fault(doing, "namespace "+namespace, err)
	}
	_, err = c.do(ctx, request{
		doing: doing, subject: "namespace " + namespace, verb: http.MethodPost, path: []string{"/api/v1/namespaces", namespace, "pods"},
		query: url.Values{"dryRun": {metav1.DryRunAll}, "fieldManager": {FieldManager}}, media: "application/json",
		body: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"kubectl-harden-"},"spec":{"hostPID":true,"hostNetwork":true,` +
			`"containers":[{"name":"trial","image":"registry.k8s.io/pause:3.10","securityContext":{"privileged":true}}]}}`),
	}, nil)
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code == http.StatusForbidden {
		return status.Status().Message, nil
	}
	return "", err
}
