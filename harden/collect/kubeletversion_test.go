package collect_test

import (
	"context"
	"errors"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// running is a live node whose kubelet says its version, or does not.
type running struct {
	version harden.Version
	err     error
}

func (r running) Processes(...string) (map[string][]harden.ProcessFact, error) {
	kubelet := harden.ProcessFact{PID: 7, Args: []string{"kubelet", "--config=/var/lib/kubelet/config.yaml"}}
	return map[string][]harden.ProcessFact{string(harden.Kubelet): {kubelet}}, nil
}
func (running) Sysctl(string) (string, error)                            { return "", errors.New("none") }
func (running) Hostname() (string, error)                                { return "cp1", nil }
func (running) Machine() (harden.MachineFact, error)                     { return harden.MachineFact{}, errors.New("none") }
func (r running) KubeletVersion(context.Context) (harden.Version, error) { return r.version, r.err }

func TestTheKubeletsVersionIsLearntWithoutTheAPI(t *testing.T) {
	v136, err := harden.ParseVersion("v1.36.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		live  collect.Live
		known harden.Version // by the API
		want  string
	}{
		{"it says so", running{version: v136}, harden.Version{}, "v1.36.1"},
		{"it cannot be asked", running{err: errors.New("no")}, harden.Version{}, "unknown"},
		{"the API has told it", running{err: errors.New("nobody asks")}, harden.Version{Major: 1, Minor: 35}, "v1.35.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := collect.FromNode(hardentest.Fixture(t, "1.37"), row.live, collect.Options{Root: "/"})
			if err != nil {
				t.Fatal(err)
			}
			f.Kubelet.Version = row.known
			before := *f.Kubelet
			got := collect.AddKubeletVersion(t.Context(), f, row.live)
			if got.Kubelet.Version.String() != row.want || f.Kubelet.Version != before.Version {
				t.Errorf("version %s, want %s; the facts that were given have %s", got.Kubelet.Version, row.want, f.Kubelet.Version)
			}
			// A control of both goes by the older one: the API server is 1.37.
			both := harden.Control{Needs: []harden.Need{harden.NeedAPIServer, harden.NeedKubelet}}
			if v := harden.VersionFor(got, both); v.String() != row.want {
				t.Errorf("a control of both goes by %s, want %s", v, row.want)
			}
		})
	}
}

func TestTheKubeletsVersionOfAnOfflineRoot(t *testing.T) {
	const before = "Package: kubectl\nStatus: install ok installed\nVersion: 1.30.0-1.1\n\n"
	for _, row := range []struct{ name, status, want string }{
		{"no package database", "", "unknown"},
		{"installed", before + "Package: kubelet\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1.36.1-1.1\nDescription: a\n Version: 9.9\n", "v1.36.1"},
		{"with an epoch", "Package: kubelet\nStatus: install ok installed\nVersion: 1:1.36.1-1.1\n", "v1.36.1"},
		{"removed", before + "Package: kubelet\nStatus: deinstall ok config-files\nVersion: 1.36.1-1.1\n", "unknown"},
		{"another package", before, "unknown"},
		{"no version", "Package: kubelet\nStatus: install ok installed\nVersion: latest\n", "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			if row.status != "" {
				n.Write("/var/lib/dpkg/status", row.status, 0o644)
			}
			if got := n.Facts(t).Kubelet.Version.String(); got != row.want {
				t.Errorf("version %s, want %s", got, row.want)
			}
		})
	}
}
