package collect_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// filtering is a machine with a packet filter.
type filtering struct {
	differs string
	err     error
	asked   []byte
	peers   error
}

func (filtering) Processes(...string) (map[string][]harden.ProcessFact, error) { return nil, nil }
func (filtering) Sysctl(string) (string, error)                                { return "", errors.New("none") }
func (filtering) Hostname() (string, error)                                    { return "cp1", nil }
func (filtering) Machine() (harden.MachineFact, error)                         { return harden.MachineFact{Systemd: true}, nil }
func (filtering) Listeners() ([]harden.ListenerFact, error)                    { return nil, nil }
func (filtering) NFT() string                                                  { return "/usr/sbin/nft" }
func (filtering) InputHooks() ([]harden.HookFact, []string, error) {
	return nil, nil, nil
}
func (filtering) KubeletVersion(context.Context) (harden.Version, error) {
	return harden.Version{}, errors.New("none")
}

func (f *filtering) TableDiffers(_ context.Context, rules []byte) (string, error) {
	f.asked = rules
	return f.differs, f.err
}

func (f *filtering) Peers() ([]harden.PeerFact, error) {
	return []harden.PeerFact{{Address: netip.MustParseAddr("192.0.2.21"), Port: 10250}}, f.peers
}

func TestOurTable(t *testing.T) {
	for name, tt := range map[string]struct {
		rules   string
		live    filtering
		there   bool
		differs string
	}{
		"none":                      {"", filtering{}, false, ""},
		"in force":                  {"rules\n", filtering{}, true, ""},
		"another one":               {"rules\n", filtering{differs: "chain input is another one"}, true, "chain input is another one"},
		"without rules":             {"", filtering{differs: "table is there"}, true, "table is there"},
		"not to be seen":            {"", filtering{err: errors.New("operation not permitted")}, false, ""},
		"rules, and not to be seen": {"rules\n", filtering{err: errors.New("operation not permitted")}, true, "operation not permitted"},
	} {
		n := hardentest.Fixture(t, "1.37")
		if tt.rules != "" {
			n.Write(harden.FilterRules, tt.rules, 0o600)
		}
		live := tt.live
		f, err := collect.FromNode(n, &live, collect.Options{Root: "/", Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		fw := f.Firewall
		if (fw.Table != nil) != tt.there || fw.NFT != "/usr/sbin/nft" || len(fw.Peers) != 1 || !fw.PeersUnread.IsZero() {
			t.Errorf("%s: %+v", name, fw)
		}
		if tt.there && (fw.Table.Differs.String() != tt.differs || string(fw.Table.Rules.State.Data) != tt.rules) {
			t.Errorf("%s: %+v", name, fw.Table)
		}
		// No rules are no empty script: that would make no table.
		if want := []byte(tt.rules); (live.asked == nil) != (tt.rules == "") || tt.rules != "" && !reflect.DeepEqual(live.asked, want) {
			t.Errorf("%s: asked for %q", name, live.asked)
		}
	}
	live := filtering{peers: errors.New("no such file")}
	f, err := collect.FromNode(hardentest.Fixture(t, "1.37"), &live, collect.Options{Root: "/", Now: time.Now()})
	if err != nil || f.Firewall.PeersUnread.String() != "no such file" {
		t.Errorf("%v %+v", err, f.Firewall)
	}
}
