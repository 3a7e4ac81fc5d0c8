package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
	"kubectl-harden.io/kubectl-harden/host/filter"
)

// nodeFilter is our table on a live node.
type nodeFilter struct{ *hostNode }

// nftPlaces are where distributions put the program.
var nftPlaces = []string{"/usr/sbin/nft", "/usr/bin/nft", "/sbin/nft", "/bin/nft"}

// NFT is where the program nft is; "" where it is not.
func (n *hostNode) NFT() string {
	for _, p := range nftPlaces {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// tables are what rules were found to make: that does not change, and is asked for again and again while a change is watched.
var tables sync.Map // of sha256 to filter.Table

// made tries rules in a network of their own.
func (n *hostNode) made(ctx context.Context, rules []byte) (filter.Table, error) {
	key := sha256.Sum256(rules)
	if t, ok := tables.Load(key); ok {
		return t.(filter.Table), nil
	}
	nft := n.NFT()
	if nft == "" {
		return nil, errors.New("trying the rules: the program nft is not there")
	}
	t, err := filter.Try(ctx, nft, rules, harden.FilterTable)
	if err == nil {
		tables.Store(key, t)
	}
	return t, err
}

// TableDiffers says in what our table in force is not the one that the rules make.
func (n *hostNode) TableDiffers(ctx context.Context, rules []byte) (string, error) {
	if err := n.root.InHostNetwork(); err != nil {
		return "", fmt.Errorf("looking at the packet filter: %w", err)
	}
	have, err := filter.Read(harden.FilterTable)
	if err != nil {
		return "", err
	}
	var want filter.Table
	if rules != nil {
		if want, err = n.made(ctx, rules); err != nil {
			return "", err
		}
	}
	return filter.Differs(harden.FilterTable, want, have), nil
}

// Peers are who is connected from elsewhere to a port of this node, and to which.
func (n oneLook) Peers() ([]harden.PeerFact, error) {
	all, err := n.sockets.Connections(false)
	if err != nil {
		return nil, err
	}
	var out []harden.PeerFact
	seen := map[harden.PeerFact]bool{}
	for _, c := range all {
		p := harden.PeerFact{Address: c.Remote.Addr(), Port: int(c.Local.Port())}
		if c.Remote.Addr() == c.Local.Addr() || c.Remote.Addr().IsLoopback() || seen[p] {
			continue
		}
		seen[p] = true
		out = append(out, p)
	}
	return out, nil
}

func (n nodeFilter) Try(ctx context.Context, rules []byte) error {
	_, err := n.made(ctx, rules)
	return err
}

func (n nodeFilter) Differs(ctx context.Context, rules []byte) (string, error) {
	return n.TableDiffers(ctx, rules)
}

func (n nodeFilter) systemd() (*host.Systemd, error) {
	if err := n.root.InHostNetwork(); err != nil {
		return nil, fmt.Errorf("changing the packet filter: %w", err)
	}
	return n.root.Systemd()
}

// Load goes the way that the unit goes at boot.
func (n nodeFilter) Load(ctx context.Context) error {
	s, err := n.systemd()
	if err != nil {
		return err
	}
	if err := s.DaemonReload(ctx); err != nil {
		return err
	}
	return s.ReloadUnit(ctx, harden.FilterUnit)
}

// Drop lets the unit go first, so that systemd takes it for active no more. The table goes whatever becomes of that: the unit's file
// may be gone already, and with it what it does when it stops.
func (n nodeFilter) Drop(ctx context.Context) error {
	s, err := n.systemd()
	if err != nil {
		return err
	}
	return errors.Join(s.StopUnit(ctx, harden.FilterUnit), filter.Drop(harden.FilterTable), s.ResetFailed(ctx, harden.FilterUnit), s.DaemonReload(ctx))
}

// nodeLogins are those of a live node.
type nodeLogins struct{ root *host.Root }

// Remote are the connections of SSH that are open.
func (l nodeLogins) Remote() ([]string, error) {
	open, err := l.root.Logins()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range open {
		out = append(out, c.String())
	}
	return out, nil
}

// Own is this process's.
func (l nodeLogins) Own() (string, bool, error) {
	pid, err := os.Readlink(path.Join(l.root.Proc, "self"))
	if err != nil {
		return "", false, fmt.Errorf("looking for this process: %w", err)
	}
	var number int
	if _, err := fmt.Sscan(pid, &number); err != nil {
		return "", false, fmt.Errorf("looking for this process: %w", fs.ErrInvalid)
	}
	login, err := l.root.OwnLogin(number)
	return login.Connection, login.Remote, err
}
