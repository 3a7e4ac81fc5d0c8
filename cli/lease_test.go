package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// turned is the sandbox's API with a lease of runs that somebody holds.
type turned struct {
	api
	holder string
}

func (l *turned) Take(context.Context, string, harden.Lease) (func(), harden.Lease, error) {
	return nil, harden.Lease{}, errors.New("nobody takes it here")
}

func (l *turned) Taken(context.Context) (harden.Lease, error) {
	return harden.Lease{Holder: l.holder}, nil
}

func (l *turned) GiveBack(_ context.Context, holder string) error {
	if holder == l.holder {
		l.holder = ""
	}
	return nil
}

// TestLeaseOfAKilledRunIsSaidAndRemoved: nothing told of it, and nothing removed it.
func TestLeaseOfAKilledRunIsSaidAndRemoved(t *testing.T) {
	e, _, _ := demoEngine(t, &app{areas: catalog.Areas()})
	f, err := e.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sandbox, err := e.m.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status := func(clean bool) (statusView, string) {
		t.Helper()
		var out bytes.Buffer
		a := &app{Streams: Streams{Out: &out, Err: io.Discard}}
		if clean {
			if err := a.clean(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		v, err := a.status(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		a.printStatus(v)
		return v, out.String()
	}
	ours, theirs := apply.HolderOf(f.Identity.Node, 7, "alice"), apply.HolderOf("another-node", 7, "mei")
	l := &turned{api: sandbox, holder: ours}
	e.m.connect = func(context.Context) (api, error) { return l, nil }
	if v, said := status(false); v.Lease == nil || *v.Lease != ours || !strings.Contains(said, "left over: the lease of runs in the cluster, of "+ours+", which is no more; remove it: ") {
		t.Errorf("status says %s", said)
	}
	if v, said := status(true); v.Lease != nil || l.holder != "" || strings.Contains(said, "lease") {
		t.Errorf("held by %q; status says %s", l.holder, said)
	}
	l.holder = theirs
	if v, said := status(true); v.Lease != nil || l.holder != theirs || strings.Contains(said, "lease") {
		t.Errorf("held by %q; status says %s", l.holder, said)
	}
	l.holder = ours
	s, err := e.store.Lock(e.holder())
	if err != nil {
		t.Fatal(err)
	}
	if v, said := status(false); v.Lease != nil {
		t.Errorf("beside the run that holds it, status says %s", said)
	}
	if err := s.Unlock(); err != nil {
		t.Fatal(err)
	}
	e.m.connect = func(context.Context) (api, error) { return nil, errors.New("the API is away") }
	if v, said := status(true); v.Lease != nil || !strings.Contains(said, "not known: whether the lease of runs is left in the cluster: the API is away") {
		t.Errorf("status says %s", said)
	}
}
