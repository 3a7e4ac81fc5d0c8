package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// leases serves one Lease with the API server's rules of versions.
type leases struct {
	mu      sync.Mutex
	version int
	stored  *leaseObject
	raced   func() // before a write
}

func (l *leases) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet && l.raced != nil {
		raced := l.raced
		l.raced = nil
		raced()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var in leaseObject
	_ = json.Unmarshal(body, &in)
	current := strconv.Itoa(l.version)
	switch {
	case r.Method == http.MethodPost && l.stored != nil:
		status(w, http.StatusConflict, "AlreadyExists", "it exists")
		return
	case r.Method != http.MethodPost && l.stored == nil:
		status(w, http.StatusNotFound, "NotFound", "there is none")
		return
	case r.Method == http.MethodPut && in.Meta["resourceVersion"] != current:
		status(w, http.StatusConflict, "Conflict", "it has changed")
		return
	case r.Method == http.MethodDelete:
		l.stored = nil
		answer(w, 200, `{}`)
		return
	case r.Method != http.MethodGet:
		l.store(in)
	}
	data, _ := json.Marshal(l.stored)
	answer(w, 200, string(data))
}

func (l *leases) store(in leaseObject) {
	l.version++
	if in.Meta == nil {
		in.Meta = map[string]any{}
	}
	in.Meta["resourceVersion"], in.Meta["uid"] = strconv.Itoa(l.version), "u"
	l.stored = &in
}

func (l *leases) holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stored == nil {
		return "nobody"
	}
	return l.stored.Spec.Holder
}

func TestCourtesy(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	l := &leases{}
	a.handle(courtesyLease, l.serve)
	a.handle(courtesyLease+"/"+courtesyName, l.serve)
	a.json("/apis/coordination.k8s.io/v1", `{"resources": [{"name": "leases", "kind": "Lease", "namespaced": true}]}`)
	c := a.client(t)
	ctx := t.Context()

	release, held, err := c.Take(ctx, "cp1", harden.Lease{})
	if err != nil || held.Holder != "" || l.holder() != "cp1" {
		t.Fatalf("%v %v %s", held, err, l.holder())
	}
	if l.stored.Spec.Seconds != 60 || l.stored.Spec.lease().Renewed.IsZero() || l.stored.Meta["labels"] == nil {
		t.Errorf("%+v", l.stored)
	}
	_, held, err = c.Take(ctx, "cp2", harden.Lease{})
	if err != nil || held.Holder != "cp1" {
		t.Errorf("taken from its holder: %v %v", held, err)
	}
	// A holder that was renewed since it was taken for gone keeps it.
	_, still, err := c.Take(ctx, "cp2", harden.Lease{Holder: "cp1", Renewed: time.Unix(1, 0)})
	if err != nil || still.Holder != "cp1" || l.holder() != "cp1" {
		t.Errorf("%v %v", still, err)
	}
	other, held, err := c.Take(ctx, "cp2", held)
	if err != nil || held.Holder != "" || l.holder() != "cp2" {
		t.Errorf("not taken from who has gone: %v %v", held, err)
	}
	release() // it is another's
	if l.holder() != "cp2" {
		t.Errorf("another's lease was given back: %s", l.holder())
	}
	other()
	other()
	if l.holder() != "nobody" {
		t.Errorf("left to %s", l.holder())
	}

	// What a run that was killed has left.
	if held, err = c.Taken(ctx); err != nil || held.Holder != "" {
		t.Errorf("where there is none: %v %v", held, err)
	}
	l.store(leaseObject{Spec: leaseSpec{Holder: "cp1"}})
	if held, err = c.Taken(ctx); err != nil || held.Holder != "cp1" {
		t.Errorf("%v %v", held, err)
	}
	if err = c.GiveBack(ctx, "cp2"); err != nil || l.holder() != "cp1" {
		t.Errorf("another's: %v, left to %s", err, l.holder())
	}
	for range 2 {
		if err = c.GiveBack(ctx, "cp1"); err != nil || l.holder() != "nobody" {
			t.Errorf("%v, left to %s", err, l.holder())
		}
	}

	// Two at the same moment: one gets it.
	l.raced = func() { l.mu.Lock(); l.store(leaseObject{Spec: leaseSpec{Holder: "cp3"}}); l.mu.Unlock() }
	if _, held, err = c.Take(ctx, "cp1", harden.Lease{}); err != nil || held.Holder != "cp3" {
		t.Errorf("%v %v", held, err)
	}
	l.stored.Spec.Holder = ""
	l.raced = func() { l.mu.Lock(); l.store(leaseObject{Spec: leaseSpec{Holder: "cp3"}}); l.mu.Unlock() }
	if _, held, err = c.Take(ctx, "cp1", harden.Lease{}); err != nil || held.Holder != "cp3" {
		t.Errorf("%v %v", held, err)
	}
	a.fails(courtesyLease+"/"+courtesyName, 403, "Forbidden", "no")
	if _, _, err = c.Take(ctx, "cp1", harden.Lease{}); err == nil {
		t.Error("forbidden, and no error")
	}
}

func TestCourtesyIsRenewedWhileTheAPIComesAndGoes(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	l := &leases{}
	away := make(chan struct{}, 3)
	away <- struct{}{}
	a.handle(courtesyLease, l.serve)
	a.handle(courtesyLease+"/"+courtesyName, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-away:
			status(w, 503, "ServiceUnavailable", "away")
		default:
			l.serve(w, r)
		}
	})
	c := a.client(t)
	l.store(leaseObject{Spec: leaseSpec{Holder: "cp1"}})
	ticks := make(chan time.Time)
	done := make(chan struct{})
	go func() { defer close(done); c.renew(t.Context(), "cp1", ticks) }()
	for range 3 {
		ticks <- time.Time{}
	}
	l.mu.Lock()
	l.stored.Spec.Holder = "cp2"
	l.version++
	l.stored.Meta["resourceVersion"] = strconv.Itoa(l.version)
	renewed := l.stored.Spec.lease().Renewed
	l.mu.Unlock()
	if renewed.IsZero() {
		t.Error("it is not renewed")
	}
	select {
	case ticks <- time.Time{}:
		<-done
	case <-done:
	}
	if l.holder() != "cp2" {
		t.Error("another's lease was renewed")
	}
}
