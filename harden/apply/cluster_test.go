package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// cluster is an API that keeps objects, and may be down.
type cluster struct {
	objects map[harden.ObjectRef]*object
	next    int
	calls   int // of what changes objects

	at    func(host string, port int) (status int, err error) // of other components; nil: 404
	node  *node
	trial error // of a write on the live one

	down     func() error // asked before everything
	works    func(c *cluster) map[string]string
	write    func(c *cluster, ref harden.ObjectRef) error
	after    func(c *cluster, ref harden.ObjectRef) error // a change has happened: what the caller hears all the same
	status   int                                          // of AdminGet
	own      int                                          // of AdminGet at this node's own server; 0: the same
	hosts    map[string]bool                              // where this node's own server was asked
	open     bool                                         // everybody may do everything
	granted  []string                                     // what they allow besides
	reviewed []string                                     // what access reviews were about
	ready    func() (bool, string, error)
	configz  func() (map[string]any, error)
	now      func() time.Time
	leases   func(m map[string]harden.Lease) // makes them otherwise
	proofs   proofs
	requests []harden.ServingRequest // of the kubelet, newest first
	signs    bool                    // what is approved is signed, and the kubelet serves with it
	service  string                  // of the API
	restored int                     // how often its endpoints were
}

type object struct {
	data         string
	uid, version string
}

func newCluster() *cluster {
	return &cluster{objects: map[harden.ObjectRef]*object{}, status: 404, hosts: map[string]bool{}}
}

// conflict is what the API says of an object that is not the one that was meant.
type conflict struct{ error }

func (conflict) Answered() bool { return true }

func (c *cluster) set(ref harden.ObjectRef, data string) *object {
	c.next++
	o := c.objects[ref]
	if o == nil {
		o = &object{uid: fmt.Sprint("uid-", c.next)}
		c.objects[ref] = o
	}
	o.data, o.version = data, fmt.Sprint(c.next)
	return o
}

func (c *cluster) up() error {
	if c.down == nil {
		return nil
	}
	return c.down()
}

func (c *cluster) CheckIdentity(context.Context, harden.Identity) error { return c.up() }

func (c *cluster) Object(_ context.Context, ref harden.ObjectRef) (harden.State, string, string, error) {
	if err := c.up(); err != nil {
		return harden.State{}, "", "", err
	}
	o := c.objects[ref]
	if o == nil {
		return harden.State{}, "", "", nil
	}
	return harden.State{Exists: true, Data: []byte(o.data)}, o.uid, o.version, nil
}

func (c *cluster) change(ref harden.ObjectRef, do func() error) error {
	if err := c.up(); err != nil {
		return err
	}
	c.calls++
	if c.write != nil {
		if err := c.write(c, ref); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if c.after != nil {
		return c.after(c, ref)
	}
	return nil
}

func (c *cluster) Create(_ context.Context, ref harden.ObjectRef, yaml []byte) (uid, version string, err error) {
	err = c.change(ref, func() error {
		if c.objects[ref] != nil {
			return conflict{errors.New("it exists already")}
		}
		o := c.set(ref, string(yaml))
		uid, version = o.uid, o.version
		return nil
	})
	return uid, version, err
}

func (c *cluster) same(ref harden.ObjectRef, uid, version string) error {
	if o := c.objects[ref]; o == nil || o.uid != uid || o.version != version {
		return conflict{errors.New("it has changed since")}
	}
	return nil
}

func (c *cluster) Replace(_ context.Context, ref harden.ObjectRef, yaml []byte, uid, version string) (now string, err error) {
	err = c.change(ref, func() error {
		if err := c.same(ref, uid, version); err != nil {
			return err
		}
		now = c.set(ref, string(yaml)).version
		return nil
	})
	return now, err
}

func (c *cluster) Delete(_ context.Context, ref harden.ObjectRef, uid, version string) error {
	return c.change(ref, func() error {
		if err := c.same(ref, uid, version); err != nil {
			return err
		}
		delete(c.objects, ref)
		return nil
	})
}

func (c *cluster) NodeReady(context.Context, string, time.Time) (bool, string, error) {
	if err := c.up(); err != nil {
		return false, "", err
	}
	if c.ready != nil {
		return c.ready()
	}
	return true, "", nil
}

func (c *cluster) Allowed(_ context.Context, user string, groups []string, access string) (bool, error) {
	asked := strings.Join(slices.Concat([]string{user}, groups, []string{access}), " ")
	c.reviewed = append(c.reviewed, asked)
	return c.open || slices.Contains(c.granted, asked), c.up()
}

func (c *cluster) AdminGet(context.Context, string, string) (int, error) { return c.status, c.up() }

// GetAt is of other components, each by its port.
func (c *cluster) GetAt(_ context.Context, host string, port int, _ string) (int, error) {
	if c.at != nil {
		return c.at(host, port)
	}
	return 404, c.up()
}

// Leases are renewed by this node's components all the time.
func (c *cluster) Leases(context.Context) (map[string]harden.Lease, error) {
	if err := c.up(); err != nil {
		return nil, err
	}
	out := map[string]harden.Lease{}
	for _, comp := range harden.Components {
		for _, name := range comp.Leases {
			out[name] = harden.Lease{Holder: "cp1_" + name, Renewed: c.now()}
		}
	}
	if c.leases != nil {
		c.leases(out)
	}
	return out, nil
}

// Configz leaves out what is false, 0 or empty, as the kubelet does.
func (c *cluster) Configz(context.Context, string) (map[string]any, error) {
	if err := c.up(); err != nil {
		return nil, err
	}
	if c.configz != nil {
		return c.configz()
	}
	return map[string]any{"podPidsLimit": 4096.0}, nil
}

func (c *cluster) ServingRequests(context.Context, string) ([]harden.ServingRequest, []string, error) {
	return c.requests, []string{"cp1", "192.0.2.11"}, c.up()
}

func (c *cluster) Approve(_ context.Context, r harden.ServingRequest, _ string) error {
	if err := c.up(); err != nil {
		return err
	}
	for i := range c.requests {
		if c.requests[i].UID == r.UID {
			c.requests[i].Approved = true
		}
	}
	return nil
}

func (c *cluster) KubeletServing(context.Context, string) (harden.KubeletServingFact, error) {
	k := harden.KubeletServingFact{Problem: harden.Msg("x509: certificate signed by unknown authority")}
	for _, r := range c.requests {
		if r.Approved && c.signs {
			k.Problem = harden.Message{}
		}
	}
	return k, c.up()
}

// KubernetesService, SavePublished and RestorePublished are of default/kubernetes.
func (c *cluster) KubernetesService(context.Context) (string, error) {
	if c.service == "" {
		return "", errors.New("not found")
	}
	return c.service, c.up()
}

func (c *cluster) SavePublished(context.Context) ([]byte, error) { return []byte("saved"), c.up() }

func (c *cluster) RestorePublished(_ context.Context, saved []byte) error {
	if string(saved) == "saved" {
		c.restored++
	}
	return c.up()
}

func (c *cluster) Working(context.Context, []string) (map[string]string, error) {
	if err := c.up(); err != nil || c.works == nil {
		return map[string]string{}, err
	}
	return c.works(c), nil
}
