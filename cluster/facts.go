package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Facts reads what the needs call for; needs that are not the cluster's are passed over. A need that could not be read, in
// whole or in part, is in the map with the reason. The facts are never nil. Whether they are facts of the node's own
// cluster is for CheckIdentity to say, before.
func (c *Client) Facts(ctx context.Context, needs []harden.Need) (*harden.ClusterFacts, map[harden.Need]harden.Message) {
	facts := &harden.ClusterFacts{}
	missing := map[harden.Need]harden.Message{}
	id, err := c.serving(ctx, c.ask) // the connection that CheckIdentity has made is as good as a new one
	if err != nil {
		for _, need := range needs {
			if _, ours := readers[need]; ours {
				missing[need] = why(err)
			}
		}
		return facts, missing
	}
	facts.Version = id.version

	type result struct {
		need harden.Need
		err  error
	}
	from := c.sources(ctx)
	var results []*result
	var all sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, need := range needs {
		for _, read := range readers[need] {
			r := &result{need: need}
			results = append(results, r)
			all.Go(func() {
				slots <- struct{}{}
				r.err = read(ctx, from, facts)
				<-slots
			})
		}
	}
	all.Wait()
	for _, r := range results {
		if _, known := missing[r.need]; !known && r.err != nil {
			missing[r.need] = why(r.err)
		}
	}
	return facts, missing
}

// why is the reason of a missing need, for people.
func why(err error) harden.Message {
	var fault *objects.Error
	if !errors.As(err, &fault) {
		return harden.Msg("%s", err.Error())
	}
	switch {
	case fault.Unreachable():
		return harden.Msg("the API server does not answer: %s", fault.Error())
	case fault.Reason == objects.Forbidden:
		return harden.Msg("the credentials of the kubeconfig may not read this: %s", fault.Error())
	}
	return harden.Msg("%s", fault.Error())
}

// parallel lists at a time hide the way to a far server and do not load a near one.
const parallel = 4

// A reader fills fields of the facts that are its own: readers run at the same time.
type reader func(ctx context.Context, c *sources, facts *harden.ClusterFacts) error

// sources are the API, and what more than one reader wants of it: that is listed once.
type sources struct {
	*Client
	nodes func() ([]objects.Node, error)
	pods  func() ([]objects.Pod, error) // of the control planes
}

func (c *Client) sources(ctx context.Context) *sources {
	return &sources{
		Client: c,
		nodes: sync.OnceValues(func() ([]objects.Node, error) {
			return list(ctx, c, "nodes", "/api/v1/nodes", one(func(n objects.Node) objects.Node { return n }))
		}),
		pods: sync.OnceValues(func() ([]objects.Pod, error) {
			const path = "/api/v1/namespaces/kube-system/pods?labelSelector=tier%3Dcontrol-plane"
			return list(ctx, c, "the control plane's pods", path, one(func(p objects.Pod) objects.Pod { return p }))
		}),
	}
}

var readers = map[harden.Need][]reader{
	harden.NeedNodes:     {readNodes},
	harden.NeedWorkloads: {readNamespaces, readPods, readServices, readPolicies, readWebhooks, readAPIServices, readTemplates},
	harden.NeedTokens:    {readStaleTokens},
	harden.NeedKubeadm:   {readKubeadm, readMembers},
	harden.NeedKubelets:  {readKubelets},
	harden.NeedKeys:      {readKeys},
	harden.NeedKubeProxy: {readKubeProxy},
}

func readNodes(_ context.Context, c *sources, facts *harden.ClusterFacts) error {
	nodes, err := c.nodes()
	for _, n := range nodes {
		facts.Nodes = append(facts.Nodes, n.Fact())
	}
	return err
}

func readNamespaces(ctx context.Context, c *sources, facts *harden.ClusterFacts) (err error) {
	facts.Namespaces, err = list(ctx, c.Client, "namespaces", "/api/v1/namespaces", one(objects.Namespace.Fact))
	return err
}

func readPods(ctx context.Context, c *sources, facts *harden.ClusterFacts) (err error) {
	const path = "/api/v1/pods?fieldSelector=status.phase!=Succeeded,status.phase!=Failed"
	facts.Pods, err = list(ctx, c.Client, "pods", path, func(p objects.Pod) []harden.PodFact {
		if p.Over() {
			return nil
		}
		return []harden.PodFact{p.Fact(facts.Version)}
	})
	return err
}

func readServices(ctx context.Context, c *sources, facts *harden.ClusterFacts) (err error) {
	facts.Services, err = list(ctx, c.Client, "services", "/api/v1/services", one(objects.Service.Fact))
	return err
}

func readPolicies(ctx context.Context, c *sources, facts *harden.ClusterFacts) (err error) {
	facts.Policies, err = list(ctx, c.Client, "network policies", "/apis/networking.k8s.io/v1/networkpolicies", one(objects.NetworkPolicy.Fact))
	return err
}

// readTemplates reads what makes pods. Of DaemonSets network plugins are recognised too.
func readTemplates(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	type made struct {
		template  harden.TemplateFact
		daemonSet harden.DaemonSetFact
	}
	for _, w := range []struct{ what, kind, resource string }{
		{"deployments", "Deployment", "deployments"}, {"stateful sets", "StatefulSet", "statefulsets"}, {"daemon sets", "DaemonSet", "daemonsets"},
	} {
		found, err := list(ctx, c.Client, w.what, "/apis/apps/v1/"+w.resource, one(func(o objects.Workload) made {
			return made{o.Template(w.kind, facts.Version), o.DaemonSet()}
		}))
		if err != nil {
			return err
		}
		for _, m := range found {
			facts.Templates = append(facts.Templates, m.template)
			if w.kind == "DaemonSet" {
				facts.DaemonSets = append(facts.DaemonSets, m.daemonSet)
			}
		}
	}
	jobs, err := list(ctx, c.Client, "cron jobs", "/apis/batch/v1/cronjobs", one(func(j objects.CronJob) harden.TemplateFact { return j.Template(facts.Version) }))
	facts.Templates = append(facts.Templates, jobs...)
	return err
}

func readAPIServices(ctx context.Context, c *sources, facts *harden.ClusterFacts) (err error) {
	facts.APIServices, err = list(ctx, c.Client, "aggregated APIs", "/apis/apiregistration.k8s.io/v1/apiservices", some(objects.APIService.Fact))
	return err
}

func readWebhooks(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	const registration = "/apis/admissionregistration.k8s.io/v1/"
	of := func(kind string) func(objects.WebhookConfiguration) []harden.WebhookFact {
		return func(w objects.WebhookConfiguration) []harden.WebhookFact { return w.Facts(kind) }
	}
	validating, err := list(ctx, c.Client, "validating webhooks", registration+"validatingwebhookconfigurations", of("ValidatingWebhookConfiguration"))
	if err != nil {
		return err
	}
	mutating, err := list(ctx, c.Client, "mutating webhooks", registration+"mutatingwebhookconfigurations", of("MutatingWebhookConfiguration"))
	if err != nil {
		return err
	}
	// Their schemas make these objects the largest ones of a cluster.
	conversions, err := list(ctx, c.Client, "custom resource definitions",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=50", some(objects.CustomResourceDefinition.Fact))
	if err != nil {
		return err
	}
	facts.Webhooks = append(append(validating, mutating...), conversions...)
	return nil
}

// readKubeadm reads what kubeadm renders nodes from.
func readKubeadm(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	const doing = "reading kubeadm's configuration"
	cluster, _, err := readConfigMap(ctx, c, doing, harden.KubeadmConfig)
	if err != nil {
		return err
	}
	kubelet, _, err := readConfigMap(ctx, c, doing, harden.KubeletConfig)
	if err != nil {
		return err
	}
	if facts.Kubeadm, err = objects.Kubeadm(cluster, kubelet); err != nil {
		return c.fault(doing, harden.KubeadmConfig.String(), err)
	}
	return nil
}

// readConfigMap gives the status too: where it is not found it is not there, which may be no error.
func readConfigMap(ctx context.Context, c *sources, doing string, ref harden.ObjectRef) (m objects.ConfigMap, status int, err error) {
	path := []string{"/api/v1/namespaces/" + ref.Namespace + "/configmaps/" + ref.Name}
	status, err = c.do(ctx, request{doing: doing, subject: ref.String(), verb: http.MethodGet, path: path}, &m)
	return m, status, err
}

// readKubeProxy reads what kube-proxies are configured with. A cluster may have none.
func readKubeProxy(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	const doing = "reading kube-proxy's configuration"
	m, status, err := readConfigMap(ctx, c, doing, harden.KubeProxyConfig)
	switch {
	case status == http.StatusNotFound:
		return nil
	case err != nil:
		return err
	}
	if facts.KubeProxy, err = objects.KubeProxy(m); err != nil {
		return c.fault(doing, harden.KubeProxyConfig.String(), err)
	}
	return nil
}

func readMembers(_ context.Context, c *sources, facts *harden.ClusterFacts) error {
	pods, err := c.pods()
	for _, p := range pods {
		if m, ok := p.Member(); ok {
			facts.Members = append(facts.Members, m)
		}
	}
	return err
}

// staleTokens counts requests whose token should have been refreshed, since this API server started.
const staleTokens = "serviceaccount_stale_tokens_total"

func readStaleTokens(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	const doing = "reading the API server's metrics"
	err := c.metrics(ctx, doing, staleTokens, func(rest string) bool {
		value, err := strconv.ParseFloat(firstField(rest), 64)
		if err != nil {
			return true
		}
		facts.StaleTokens = &value
		return false
	})
	if err == nil && facts.StaleTokens == nil {
		err = c.fault(doing, "", fmt.Errorf("%s is not among them", staleTokens))
	}
	return err
}

func firstField(s string) string {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// one and some make what list wants of an object's fact.
func one[T, F any](fact func(T) F) func(T) []F {
	return func(item T) []F { return []F{fact(item)} }
}

func some[T, F any](fact func(T) (F, bool)) func(T) []F {
	return func(item T) []F {
		if f, ok := fact(item); ok {
			return []F{f}
		}
		return nil
	}
}

const (
	pageSize = 500
	// Bounds against a server that never ends a list.
	maxPages    = 2000
	maxRestarts = 3
)

// list reads all pages of a list, keeping of each item only its facts. Where a page has expired, the list starts again, as
// pages of two lists do not fit together.
func list[T, F any](ctx context.Context, c *Client, what, address string, facts func(T) []F) ([]F, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, c.fault("listing "+what, "", err)
	}
	query := u.Query()
	if !query.Has("limit") {
		query.Set("limit", strconv.Itoa(pageSize))
	}
	var out []F
	for pages, restarts := 0, 0; pages < maxPages; pages++ {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []T `json:"items"`
		}
		status, err := c.do(ctx, request{doing: "listing " + what, verb: http.MethodGet, path: []string{u.Path}, query: query}, &page)
		if status == http.StatusGone && query.Has("continue") && restarts < maxRestarts {
			restarts++
			out = nil
			query.Del("continue")
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			out = append(out, facts(item)...)
		}
		if page.Metadata.Continue == "" {
			return out, nil
		}
		if page.Metadata.Continue == query.Get("continue") {
			break
		}
		query.Set("continue", page.Metadata.Continue)
	}
	return nil, c.fault("listing "+what, "", errors.New("the list does not end"))
}
