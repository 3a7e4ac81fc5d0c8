package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Members tell of the API servers of all control planes.
type Members interface {
	// ControlPlanes are the API servers of the cluster, this node's among them.
	ControlPlanes(ctx context.Context) ([]harden.ControlPlane, error)
	// AskAt gets a path ("/readyz") from the API server that has this address; any answer but 200 is an error.
	AskAt(ctx context.Context, address, path string) error
	// Encryption is the sha256 of the encryption configuration that a member's API server has read, in hex; "" for none.
	Encryption(ctx context.Context, m harden.ControlPlane) (sha256 string, err error)
	// Endpoints are the addresses that the Service default/kubernetes leads to.
	Endpoints(ctx context.Context) ([]string, error)
}

// Etcd is the cluster in which the API servers keep their objects.
type Etcd interface {
	// Members are all members with their health. That an answer comes proves a quorum.
	Members(ctx context.Context) ([]EtcdMember, error)
}

// EtcdMember is a member of etcd.
type EtcdMember struct {
	Name    string
	Learner bool
	Ailing  string // what it lacks; empty: it is well
}

// membersWait is how long other members, and etcd, may take to be well again after a restart here.
const membersWait = time.Minute

// spare refuses a restart that the other members would not bear. What cannot be asked is given back as unknown: it keeps
// etcd from being touched, and an API server only from being called safe.
func (a *Applier) spare(ctx context.Context, c harden.Component) (unknown, err error) {
	switch c.ID {
	case harden.Etcd:
		return a.spareEtcd(ctx)
	case harden.APIServer:
		return a.spareAPIServer(ctx)
	}
	return nil, nil
}

func (a *Applier) spareEtcd(ctx context.Context) (unknown, err error) {
	if a.Etcd == nil {
		return errors.New("how etcd can be asked is not known"), nil
	}
	members, err := a.Etcd.Members(ctx)
	if err != nil {
		return err, nil
	}
	err = bearable(members)
	own := cmp.Or(a.Facts.EtcdSetting("name").Value, unnamedMember)
	if err != nil && slices.ContainsFunc(members, func(m EtcdMember) bool { return m.Name == own && m.Ailing != "" }) {
		err = errors.Join(err, errOwnAils)
	}
	return nil, err
}

// errOwnAils: the others have to do without this node's member already.
var errOwnAils = errors.New("this node's own member is not well")

// unnamedMember is the name of a member of etcd that is given none.
const unnamedMember = "default"

// bearable says why etcd could not do without one of its members for a while. A single one is missed only for as long as it
// restarts; two have a quorum only together.
func bearable(members []EtcdMember) error {
	voters, well := 0, 0
	var ailing []string
	for _, m := range members {
		if m.Learner {
			continue
		}
		voters++
		if m.Ailing == "" {
			well++
		} else {
			ailing = append(ailing, nameOf(m)+": "+m.Ailing)
		}
	}
	quorum := voters/2 + 1
	switch {
	case voters == 1 && well == 1, well-1 >= quorum:
		return nil
	case len(ailing) > 0:
		return fmt.Errorf("%d of the %d members of etcd are well and it needs %d without this one: %s", well, voters, quorum, strings.Join(ailing, "; "))
	}
	return fmt.Errorf("etcd has %d members and no quorum without this one", voters)
}

func nameOf(m EtcdMember) string {
	if m.Name == "" {
		return "a member without a name"
	}
	return m.Name
}

func (a *Applier) spareAPIServer(ctx context.Context) (unknown, err error) {
	others, err := a.others(ctx)
	if err != nil {
		return err, nil
	}
	return nil, a.ready(ctx, others)
}

// others are the API servers of the other members.
func (a *Applier) others(ctx context.Context) ([]harden.ControlPlane, error) {
	if a.Members == nil {
		return nil, errors.New("there is no API to ask for the other control planes")
	}
	all, err := a.Members.ControlPlanes(ctx)
	if err != nil {
		return nil, err
	}
	var others []harden.ControlPlane
	for _, m := range all {
		if m.Node != a.Facts.Identity.Node {
			others = append(others, m)
		}
	}
	return others, nil
}

func (a *Applier) ready(ctx context.Context, others []harden.ControlPlane) error {
	for _, m := range others {
		if err := a.Members.AskAt(ctx, m.Address, "/readyz"); err != nil {
			return fmt.Errorf("the API server of %s is not ready: %w", m.Node, err)
		}
	}
	return nil
}

// bears refuses, before anything is begun, restarts that the other members would not bear. The renewal of a certificate that
// has ended is not refused: without it nobody can be asked.
func (a *Applier) bears(ctx context.Context, p harden.Plan) error {
	if p.Target.Offline || p.Mends(a.Clock.Now()) {
		return nil
	}
	for _, st := range p.Stages {
		for _, e := range st.Effects {
			c, ok := harden.ComponentByID(e.Component)
			if !ok || a.CheckOnly && c.ID == harden.APIServer {
				continue // another member may be restarting now, and be waited for
			}
			if _, err := a.mayRestart(ctx, p, c); err != nil {
				hints := []string{"kubectl get pods -n kube-system -o wide -l tier=control-plane"}
				if p.Undoes != "" {
					hints = append(hints, fmt.Sprintf("kubectl-harden rollback %s --accept %s", p.Undoes, c.ID))
				}
				return &RefusedError{Why: fmt.Sprintf("checking the other members: %s cannot restart now: %v", c.ID, err), Hints: hints}
			}
		}
	}
	return nil
}

// mayRestart says why a component must not be restarted for a plan, or what speaks against it. An undo may be what brings the
// others back, so that it is held back only where they would lose etcd by it, while this node's member is well, and nobody has
// accepted that.
func (a *Applier) mayRestart(ctx context.Context, p harden.Plan, c harden.Component) (doubt, refuses error) {
	unknown, err := a.spare(ctx, c)
	switch {
	case p.Undoes != "" && (err == nil || c.ID != harden.Etcd || p.Accepts(c.ID) || errors.Is(err, errOwnAils)):
		return errors.Join(unknown, err), nil
	case unknown != nil && c.ID == harden.Etcd:
		return nil, fmt.Errorf("whether etcd has a quorum without this one is not known: %w", unknown)
	}
	return unknown, err
}

// askMembers is bears once more, right before the component is touched, and told.
func (r *run) askMembers(ctx context.Context, c harden.Component) error {
	if r.resumed {
		return nil
	}
	doubt, err := r.mayRestart(ctx, r.plan, c)
	r.alone(ctx)
	if interrupted(ctx) != nil {
		return errInterrupted
	}
	switch {
	case r.mends && (err != nil || doubt != nil):
		r.unproven(c.ID, harden.Msg("the other members could not be asked, or are not well, before the renewal: %s", oneLine(errors.Join(err, doubt))))
	case err != nil:
		return fmt.Errorf("checking the other members: %w", err)
	case doubt != nil && r.plan.Undoes != "":
		r.unproven(c.ID, harden.Msg("the other members could not be asked, or are not well; the undo goes on: %s", oneLine(doubt)))
	case doubt != nil:
		r.unproven(c.ID, harden.Msg("whether other control planes serve meanwhile is not known: %s", oneLine(doubt)))
	}
	return nil
}

// awaitMembers waits, after an API server or an etcd has restarted, until etcd has its quorum and all members, and the other
// API servers are ready.
func (r *run) awaitMembers(ctx context.Context, c harden.Component, i Instance) error {
	switch c.ID {
	case harden.Etcd:
		return r.awaitEtcd(ctx, c, i)
	case harden.APIServer:
		if err := r.awaitEtcd(ctx, c, i); err != nil {
			return err
		}
		return r.awaitAPIServers(ctx, c)
	}
	return nil
}

// awaitEtcd asks for a quorum, and after a restart of etcd for the health of this node's own member.
func (r *run) awaitEtcd(ctx context.Context, c harden.Component, i Instance) error {
	if r.Etcd == nil {
		r.unproven(c.ID, harden.Msg("etcd's members are not asked: how to reach them is not known"))
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: membersWait, Message: harden.Msg("etcd has a quorum")})
	var found []EtcdMember
	var failed error
	err := r.poll(ctx, r.Clock.Now().Add(membersWait), func() (bool, string, error) {
		found, failed = r.Etcd.Members(ctx)
		if failed != nil {
			return false, oneLine(failed), nil
		}
		own, pending := ownMember(i.Args), ""
		for _, m := range found {
			if c.ID == harden.Etcd && m.Name == own && m.Ailing != "" {
				pending = fmt.Sprintf("this node's member, %s: %s", nameOf(m), m.Ailing)
			}
		}
		return pending == "", pending, nil
	})
	switch {
	case err == nil:
		r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: quorumOf(found)})
		return nil
	case errors.Is(err, errInterrupted):
		return err
	case failed != nil && c.ID == harden.APIServer:
		// Its own readiness covers etcd; the members could not be asked, perhaps never can be.
		r.unproven(c.ID, harden.Msg("etcd's members could not be asked: %s", oneLine(failed)))
		return nil
	}
	return fmt.Errorf("etcd: %w", err)
}

func quorumOf(members []EtcdMember) harden.Message {
	var ailing []string
	for _, m := range members {
		if m.Ailing != "" {
			ailing = append(ailing, nameOf(m)+": "+m.Ailing)
		}
	}
	if len(ailing) > 0 {
		return harden.Msg("etcd has a quorum; of its %d members not well: %s", len(members), strings.Join(ailing, "; "))
	}
	return harden.Msg("etcd has a quorum, and each of its %d members is well", len(members))
}

// ownMember is the name that an etcd with these arguments has among its members.
func ownMember(args []string) string {
	for _, f := range patches.ParseArgs(args) {
		if f.Name == "name" {
			return f.Value
		}
	}
	return unnamedMember
}

// awaitAPIServers asks the other members' API servers, each at its own address.
func (r *run) awaitAPIServers(ctx context.Context, c harden.Component) error {
	others, err := r.others(ctx)
	if err != nil {
		r.unproven(c.ID, harden.Msg("the other control planes are not asked: %s", oneLine(err)))
		return nil
	}
	if len(others) == 0 {
		return nil
	}
	var names []string
	for _, m := range others {
		names = append(names, m.Node)
	}
	list := strings.Join(names, ", ")
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: membersWait, Message: harden.Msg("the API servers of %s are ready", list)})
	err = r.poll(ctx, r.Clock.Now().Add(membersWait), func() (bool, string, error) {
		if err := r.ready(ctx, others); err != nil {
			return false, oneLine(err), nil
		}
		return true, "", nil
	})
	if err != nil {
		if errors.Is(err, errInterrupted) {
			return err
		}
		// What another machine lacks is not this one's fault, and an undo here would not bring it back.
		r.unproven(c.ID, harden.Msg("%s", oneLine(err)))
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("the API servers of %s are ready", list)})
	return nil
}
