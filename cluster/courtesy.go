package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	courtesyLease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
	courtesyName  = "kubectl-harden"
	microTime     = "2006-01-02T15:04:05.000000Z07:00"
)

// courtesyRenewal is how often a lease that is held is renewed. Its duration leaves room for an API server that restarts.
const courtesyRenewal = harden.CourtesyDuration / 6

// leaseObject is a Lease, with what others have put into its metadata.
type leaseObject struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Meta       map[string]any `json:"metadata"`
	Spec       leaseSpec      `json:"spec"`
}

type leaseSpec struct {
	Holder   string `json:"holderIdentity,omitempty"`
	Seconds  int    `json:"leaseDurationSeconds,omitempty"`
	Acquired string `json:"acquireTime,omitempty"`
	Renewed  string `json:"renewTime,omitempty"`
}

func (s leaseSpec) lease() harden.Lease {
	l := harden.Lease{Holder: s.Holder}
	l.Acquired, _ = time.Parse(time.RFC3339Nano, s.Acquired)
	l.Renewed, _ = time.Parse(time.RFC3339Nano, s.Renewed)
	return l
}

// Take makes the courtesy lease the holder's, and renews it until it is released. It gives what it has found where somebody
// else holds it, unless that is over, whom the caller takes for gone.
func (c *Client) Take(ctx context.Context, holder string, over harden.Lease) (release func(), held harden.Lease, err error) {
	got, held, err := c.take(ctx, holder, over)
	if err != nil || got == nil {
		return nil, held, err
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(courtesyRenewal)
		defer every.Stop()
		c.renew(renewing, holder, every.C)
	}()
	return sync.OnceFunc(func() {
		stop()
		<-done
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		c.give(ctx, holder)
	}), harden.Lease{}, nil
}

// take gives nil where somebody else holds it.
func (c *Client) take(ctx context.Context, holder string, over harden.Lease) (*leaseObject, harden.Lease, error) {
	const doing = "taking the lease of runs"
	now, err := c.courtesy(ctx, doing)
	var fault *objects.Error
	at := time.Now().UTC().Format(microTime)
	spec := leaseSpec{Holder: holder, Seconds: int(harden.CourtesyDuration / time.Second), Acquired: at, Renewed: at}
	switch {
	case errors.As(err, &fault) && fault.NotFound():
		now = leaseObject{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Spec: spec, Meta: map[string]any{
			"name": courtesyName, "namespace": "kube-system", "labels": map[string]any{"app.kubernetes.io/managed-by": FieldManager},
		}}
		err = c.putLease(ctx, doing, http.MethodPost, courtesyLease, now)
	case err != nil:
		return nil, harden.Lease{}, err
	case now.Spec.Holder != "" && now.Spec.Holder != holder && !now.Spec.lease().Same(over):
		return nil, now.Spec.lease(), nil
	default:
		now.Spec = spec
		err = c.putLease(ctx, doing, http.MethodPut, courtesyLease+"/"+courtesyName, now)
	}
	if errors.As(err, &fault) && fault.Conflict() {
		// Somebody else was faster: whoever it is holds it.
		now, err = c.courtesy(ctx, doing)
		return nil, now.Spec.lease(), err
	}
	return &now, harden.Lease{}, err
}

// renew goes on while the API is away, as it is when its server restarts, and ends when the lease is another's.
func (c *Client) renew(ctx context.Context, holder string, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		now, err := c.courtesy(ctx, "renewing the lease of runs")
		if err != nil {
			continue
		}
		if now.Spec.Holder != holder {
			return
		}
		now.Spec.Renewed = time.Now().UTC().Format(microTime)
		_ = c.putLease(ctx, "renewing the lease of runs", http.MethodPut, courtesyLease+"/"+courtesyName, now)
	}
}

// give deletes the lease if it still is the holder's. One that stays runs out.
func (c *Client) give(ctx context.Context, holder string) { _ = c.GiveBack(ctx, holder) }

// GiveBack deletes the courtesy lease if it is the holder's; one that is not, or is not there, is no error.
func (c *Client) GiveBack(ctx context.Context, holder string) error {
	now, err := c.courtesy(ctx, "giving the lease of runs back")
	var fault *objects.Error
	switch {
	case errors.As(err, &fault) && fault.NotFound():
		return nil
	case err != nil || now.Spec.Holder != holder:
		return err
	}
	uid, _ := now.Meta["uid"].(string)
	version, _ := now.Meta["resourceVersion"].(string)
	ref := harden.ObjectRef{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: "kube-system", Name: courtesyName}
	return c.Delete(ctx, ref, uid, version)
}

// Taken is the courtesy lease as somebody holds it; the zero value where nobody does.
func (c *Client) Taken(ctx context.Context) (harden.Lease, error) {
	now, err := c.courtesy(ctx, "looking at the lease of runs")
	var fault *objects.Error
	if errors.As(err, &fault) && fault.NotFound() {
		return harden.Lease{}, nil
	}
	return now.Spec.lease(), err
}

func (c *Client) courtesy(ctx context.Context, doing string) (leaseObject, error) {
	var l leaseObject
	_, err := c.do(ctx, request{doing: doing, subject: "lease kube-system/" + courtesyName, verb: http.MethodGet, path: []string{courtesyLease, courtesyName}}, &l)
	return l, err
}

func (c *Client) putLease(ctx context.Context, doing, verb, path string, l leaseObject) error {
	body, err := json.Marshal(l)
	if err != nil {
		return c.fault(doing, "", err)
	}
	_, err = c.do(ctx, request{
		doing: doing, subject: "lease kube-system/" + courtesyName, verb: verb, path: []string{path}, media: "application/json", body: body,
		query: url.Values{"fieldManager": {FieldManager}},
	}, nil)
	return err
}
