package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
	"kubectl-harden.io/kubectl-harden/host/redirect"
)

// fenceCommand is what holds the redirect of a handover, in a process of its own. It is nobody else's.
func (a *app) fenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fence", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// Where nobody watches, there is nobody to tell.
			tell := func(state string) func() { return func() { _, _ = daemon.SdNotify(false, state) } }
			return redirect.Fence{
				Socket: redirect.Socket, Silence: redirect.Silence, Longest: redirect.Longest,
				Ready: tell(daemon.SdNotifyReady), Alive: tell(daemon.SdNotifyWatchdog),
			}.Serve()
		},
	}
}

// podHandover is apply.Handover on the live node.
type podHandover struct{ *hostNode }

var _ apply.Handover = podHandover{}

// Try also wants every name by which this node's own programs know the API server to be this node's.
func (p podHandover) Try(ctx context.Context, r harden.Redirect) error {
	if err := thisNodes(ctx, r.Servers); err != nil {
		return err
	}
	to, err := redirectOf(r)
	if err != nil {
		return err
	}
	return redirect.Try(ctx, to)
}

func redirectOf(r harden.Redirect) (redirect.Redirect, error) {
	address, err := netip.ParseAddr(r.Address)
	if err != nil {
		return redirect.Redirect{}, fmt.Errorf("its address cannot be read: %w", err)
	}
	service, err := netip.ParseAddrPort(r.Service)
	if err != nil {
		return redirect.Redirect{}, fmt.Errorf("the address of the Service default/kubernetes cannot be read: %w", err)
	}
	return redirect.Redirect{Address: address.Unmap(), Secure: r.Secure, To: r.To, Service: service}, nil
}

// thisNodes refuses servers that are not this node: connections to a load balancer go where that leads them.
func thisNodes(ctx context.Context, servers []string) error {
	local, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("which addresses are this node's is not known: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range local {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	for _, s := range servers {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s)
		cancel()
		if err != nil {
			return fmt.Errorf("where %s is, which programs of this node ask, is not known: %w", s, err)
		}
		for _, at := range found {
			switch at = at.Unmap(); {
			case !own[at]:
				return fmt.Errorf("programs of this node ask %s (%s), which is not this node", s, at)
			case at.IsLoopback():
				return fmt.Errorf("programs of this node ask %s (%s), which cannot be led elsewhere", s, at)
			}
		}
	}
	return nil
}

// Hold starts the fence, and reaches it.
func (p podHandover) Hold(ctx context.Context, r harden.Redirect, old apply.Instance) (apply.Held, error) {
	to, err := redirectOf(r)
	if err != nil {
		return nil, err
	}
	ticks, err := host.ProcessTicks(p.root.Proc, old.PID)
	if err != nil {
		return nil, fmt.Errorf("looking at the old instance: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s, err := p.root.Systemd()
	if err != nil {
		return nil, err
	}
	if !sameMounts() {
		return nil, errors.New("systemd does not find this program where it is")
	}
	err = s.RunTransient(ctx, host.Transient{
		Name: apply.HandoverUnit, About: "kubectl-harden leads connections to a second API server", Watchdog: redirect.Watchdog, StopTimeout: time.Second,
		Argv:  []string{"/bin/sh", "-c", `exec "$0" fence`, exe},
		After: []string{"/bin/sh", "-c", thaw, "sh", strconv.Itoa(old.PID), strconv.FormatUint(ticks, 10)},
	})
	if err != nil {
		return nil, err
	}
	h, err := redirect.Dial(redirect.Socket)
	if err != nil {
		return nil, err
	}
	return held{h, to}, nil
}

// thaw lets a process go on that was stopped, if it is still the one that is meant.
const thaw = `[ "$(sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20)" = "$2" ] && kill -CONT "$1" || :`

// held is a fence, and where it leads.
type held struct {
	*redirect.Holder
	to redirect.Redirect
}

func (h held) Lead() error { return h.Holder.Lead(h.to) }

// sweepWait is how long what was killed may take to be gone.
const sweepWait = 5 * time.Second

// Sweep ends the fence where it is still there, and wants its table to be gone.
func (p podHandover) Sweep(ctx context.Context) error {
	s, err := p.root.Systemd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sweepWait)
	defer cancel()
	// An owner's table cannot be removed by others: who holds it has to go. Stopping a unit goes on to killing it where it is deaf;
	// one that has just ended by itself cannot be stopped, which the table tells.
	stopped := s.StopUnit(ctx, apply.HandoverUnit)
	for {
		left, err := redirect.Left(redirect.Name)
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(stopped, fmt.Errorf("table inet %s is still there", redirect.Name))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// KeepLog renames, and is no error where there is nothing.
func (p podHandover) KeepLog(from, to string) error {
	if s, err := p.State(from); err != nil || !s.Exists {
		return err
	}
	return p.root.Rename(from, to)
}

// setHandover says of plans whose API server was asked to hand over whether it will.
func (e *engine) setHandover(ctx context.Context, plans []harden.Plan) error {
	for i := range plans {
		if _, restarts := plans[i].RestartsAPIServer(); !restarts {
			continue
		}
		a, err := e.applier(ctx, e.transactions(nil), false)
		if err != nil {
			return err
		}
		plans[i].Handover = a.HandoverOf(ctx, plans[i])
	}
	return nil
}

// redirectLeft says what there is of a handover, "" for nothing that can be seen.
func (e *engine) redirectLeft() string {
	if _, ok := e.m.node.(*hostNode); !ok || e.m.live == nil {
		return ""
	}
	if left, err := redirect.Left(redirect.Name); err == nil && left {
		return "table inet " + redirect.Name
	}
	return ""
}
