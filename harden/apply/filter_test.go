package apply_test

import (
	"bytes"
	"context"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	filterUnit = "/etc/systemd/system/" + harden.FilterUnit
	filterHook = "/etc/systemd/system/kubelet.service.d/50-test.conf"
)

// packetFilter is our table on a machine that only pretends, and who is logged in there. It outlives the processes of a world.
type packetFilter struct {
	w       *world
	rules   []byte // in force; nil: there is no table
	tried   int
	refuses error                  // of trying
	loads   func() error           // more of loading
	differs func() (string, error) // more of looking
	open    []string               // logins
	own     string                 // by which whoever confirms is here; "": at a console
	lost    error                  // of telling that
}

func (f *packetFilter) Try(context.Context, []byte) error {
	f.tried++
	return f.refuses
}

func (f *packetFilter) Load(context.Context) error {
	rules, err := f.w.fsys.ReadFile(harden.FilterRules)
	if err == nil {
		_, err = f.w.fsys.ReadFile(filterUnit)
	}
	if err == nil && f.loads != nil {
		err = f.loads()
	}
	if err == nil {
		f.rules = rules
	}
	return err
}

func (f *packetFilter) Drop(context.Context) error {
	f.rules = nil
	return nil
}

func (f *packetFilter) Differs(_ context.Context, rules []byte) (string, error) {
	if (f.rules == nil) != (rules == nil) || !bytes.Equal(f.rules, rules) {
		return "it is another one", nil
	}
	if f.differs != nil && rules != nil {
		return f.differs()
	}
	return "", nil
}

func (f *packetFilter) Remote() ([]string, error) { return slices.Clone(f.open), nil }

func (f *packetFilter) Own() (string, bool, error) { return f.own, f.own != "", f.lost }
