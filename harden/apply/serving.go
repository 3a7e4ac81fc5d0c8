package apply

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// servingWait is how long a kubelet may take from its start until it serves with a certificate that was signed for it.
	servingWait = 90 * time.Second
	// clockSkew is by how much the API server's clock may be behind this node's.
	clockSkew = time.Minute
)

// inOrder are the proofs with those first that others need: without a serving certificate nobody can ask a kubelet through the API.
func inOrder(proofs []harden.Proof) []harden.Proof {
	rank := func(p harden.Proof) int {
		if p.Kind == harden.ProofServing {
			return 0
		}
		return 1
	}
	out := slices.Clone(proofs)
	slices.SortStableFunc(out, func(a, b harden.Proof) int { return rank(a) - rank(b) })
	return out
}

// askServing approves the request that the kubelet has made since it was started, if it may be, and waits for the certificate. A
// request that may not be approved is final, and so is one that somebody has denied.
func (r *run) askServing() func(context.Context, question, harden.Proof) (bool, string, error) {
	since := r.Clock.Now().Add(-servingWait - clockSkew)
	return func(ctx context.Context, q question, _ harden.Proof) (bool, string, error) {
		if r.Cluster == nil {
			return false, "", errors.New("there is no API to approve the kubelet's request at")
		}
		node := r.plan.Target.Node
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		now, err := r.Cluster.KubeletServing(ctx, node)
		switch {
		case err != nil:
			return false, oneLine(err), nil
		case now.Unread.IsZero() && now.Problem.IsZero():
			return true, "", nil
		}
		requests, known, err := r.Cluster.ServingRequests(ctx, node)
		if err != nil {
			return false, oneLine(err), nil
		}
		requests = slices.DeleteFunc(requests, func(s harden.ServingRequest) bool { return s.Created.Before(since) })
		if len(requests) == 0 {
			return false, "the kubelet has not asked for a certificate", nil
		}
		return r.approve(ctx, q, requests[0], known)
	}
}

func (r *run) approve(ctx context.Context, q question, s harden.ServingRequest, known []string) (bool, string, error) {
	switch {
	case s.Denied:
		return false, "", fmt.Errorf("the request %s was denied", s.Name)
	case s.Approved:
		return false, fmt.Sprintf("the request %s is approved, and the kubelet does not serve with its certificate", s.Name), nil
	}
	if err := s.Check(r.plan.Target.Node, known); err != nil {
		return false, "", err
	}
	r.tell(harden.Event{
		Kind: harden.EventAwaiting, Component: q.gate.Component, Timeout: askWithin,
		Message: harden.Msg("approving the request %s of %s for %s", s.Name, s.User, strings.Join(s.Serves(), ", ")),
	})
	if err := r.Cluster.Approve(ctx, s, "checked by kubectl-harden: asked by the node itself, for its own addresses"); err != nil {
		return false, oneLine(err), nil
	}
	return false, fmt.Sprintf("the request %s is approved, and the kubelet does not serve with its certificate yet", s.Name), nil
}

// askServed compares the certificate that a component shows with the one that lies on the disk.
func (r *run) askServed(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
	address := p.Request
	if address == "" {
		at, ok := r.ownAddress(q.gate)
		if !ok {
			return false, "", errors.New("the component has no probe to learn its address from")
		}
		address = hostPort(at.Host, at.Port)
	}
	file, err := r.Node.State(p.Path)
	if err != nil {
		return false, "", err
	}
	block, _ := pem.Decode(file.Data)
	if block == nil {
		return false, "", fmt.Errorf("%s holds no certificate", p.Path)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	served, err := r.Node.Served(ctx, address)
	if err != nil {
		return false, oneLine(err), nil
	}
	return bytes.Equal(served, block.Bytes), fmt.Sprintf("%s serves with another certificate than that in %s", address, p.Path), nil
}
