package apply

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/suites"
)

// handshakeWithin is how long a server may take for one handshake. All of one look share askWithin.
const handshakeWithin = 2 * time.Second

// Alerts by which a server refuses what it is offered.
const (
	handshakeFailure     tls.AlertError = 40
	protocolVersion      tls.AlertError = 70
	insufficientSecurity tls.AlertError = 71
)

// askHandshakes goes through the versions, or through the suites, that a server is to agree to and to refuse.
func (r *run) askHandshakes(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
	floor, known := suites.Version(plannedFloor(q.gate, p))
	if !known {
		return false, "", fmt.Errorf("there is no TLS version %q", p.Path)
	}
	h := handshakes{run: r, address: p.Request}
	if h.address == "" {
		at, ok := r.ownAddress(q.gate)
		if !ok {
			return false, "", errors.New("the component has no probe to learn its address from")
		}
		h.address = hostPort(at.Host, at.Port)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var err error
	switch list := texts(p.Want); {
	case len(list) == 0:
		err = h.versions(ctx, floor)
	case floor > tls.VersionTLS12:
		return false, "", fmt.Errorf("%w: only TLS 1.3 is spoken, whose suites cannot be set", errUnaskable)
	default:
		err = h.suites(ctx, list)
	}
	if err != nil {
		return false, oneLine(err), nil
	}
	return true, "", nil
}

// plannedFloor is the proof's own, unless the same plan changes it.
func plannedFloor(g harden.Gate, p harden.Proof) string {
	i := slices.IndexFunc(g.Proofs, func(o harden.Proof) bool { return o.Kind == p.Kind && o.Want == nil })
	if p.Want == nil || i < 0 {
		return p.Path
	}
	return g.Proofs[i].Path
}

// texts are a proof's list, as it was made or as it was read.
func texts(want any) []string {
	if list, ok := want.([]string); ok {
		return list
	}
	var out []string
	list, _ := want.([]any)
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// handshakes are those with one server.
type handshakes struct {
	*run
	address string
}

func (h handshakes) versions(ctx context.Context, floor uint16) error {
	for v := floor; v <= tls.VersionTLS13; v++ {
		if _, err := h.agrees(ctx, v, suites.Known()); err != nil {
			return err
		}
	}
	if floor == tls.VersionTLS10 {
		return nil
	}
	return h.refuses(ctx, floor-1, suites.Known(), protocolVersion)
}

func (h handshakes) suites(ctx context.Context, list []string) error {
	of, other := suites.Split12(list)
	first, err := h.agrees(ctx, tls.VersionTLS12, of)
	if err != nil {
		return err
	}
	for _, id := range of {
		if !suites.For(id, first.Key) {
			continue
		}
		if _, err := h.agrees(ctx, tls.VersionTLS12, []uint16{id}); err != nil {
			return err
		}
	}
	return h.refuses(ctx, tls.VersionTLS12, other, handshakeFailure, insufficientSecurity)
}

func (h handshakes) offer(ctx context.Context, version uint16, suites []uint16) (Handshake, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeWithin)
	defer cancel()
	return h.Node.Handshake(ctx, h.address, version, suites)
}

func (h handshakes) agrees(ctx context.Context, version uint16, suites []uint16) (Handshake, error) {
	got, err := h.offer(ctx, version, suites)
	if err == nil && !got.Agreed {
		what := tls.VersionName(version)
		if len(suites) == 1 {
			what += " with " + tls.CipherSuiteName(suites[0])
		}
		err = fmt.Errorf("%s refuses %s: %w", h.address, what, got.Alert)
	}
	return got, err
}

// refuses wants one of these alerts: no other end of a handshake says that it was refused for what it offered.
func (h handshakes) refuses(ctx context.Context, version uint16, suites []uint16, by ...tls.AlertError) error {
	got, err := h.offer(ctx, version, suites)
	switch {
	case err != nil:
		return err
	case got.Agreed:
		return fmt.Errorf("%s agrees to %s with %s", h.address, tls.VersionName(version), tls.CipherSuiteName(got.Suite))
	case !slices.Contains(by, got.Alert):
		return fmt.Errorf("%s does not refuse %s for what it is: %w", h.address, tls.VersionName(version), got.Alert)
	}
	return nil
}
