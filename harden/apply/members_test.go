package apply_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// members are the API servers of all control planes.
type members struct {
	nodes     []string
	down      error                   // of who is asked for them
	sick      func(node string) error // why one is not ready
	only      string                  // the path for which it is not
	endpoints func() ([]string, error)
	keys      func(node string) (string, error) // the digest of what one encrypts with; nil: nobody does
}

func newMembers(nodes ...string) *members { return &members{nodes: nodes} }

func (m *members) ControlPlanes(context.Context) ([]harden.ControlPlane, error) {
	var out []harden.ControlPlane
	for _, n := range m.nodes {
		out = append(out, harden.ControlPlane{Node: n, Address: n + ":6443"})
	}
	return out, m.down
}

func (m *members) AskAt(_ context.Context, address, path string) error {
	if m.sick == nil || m.only != "" && path != m.only {
		return nil
	}
	return m.sick(strings.TrimSuffix(address, ":6443"))
}

func (m *members) Encryption(_ context.Context, c harden.ControlPlane) (string, error) {
	if m.keys == nil {
		return "", nil
	}
	return m.keys(c.Node)
}

func (m *members) Endpoints(context.Context) ([]string, error) {
	if m.endpoints != nil {
		return m.endpoints()
	}
	return nil, m.down
}

// etcd is a cluster of etcd with these members.
type etcd struct {
	names []string
	down  func() error
	sick  func(name string) string
}

func newEtcd(names ...string) *etcd { return &etcd{names: names} }

func (e *etcd) Members(context.Context) ([]apply.EtcdMember, error) {
	if e.down != nil {
		if err := e.down(); err != nil {
			return nil, err
		}
	}
	var out []apply.EtcdMember
	for _, n := range e.names {
		m := apply.EtcdMember{Name: n, Learner: strings.HasPrefix(n, "learner")}
		if e.sick != nil {
			m.Ailing = e.sick(n)
		}
		out = append(out, m)
	}
	return out, nil
}

// ill makes some of the members ill, for as long as the node's manifest of a component has the text.
func ill(who, how string) func(string) string {
	return func(name string) string {
		if name == who {
			return how
		}
		return ""
	}
}

const etcdManifest, newCount = harden.StaticPodDir + "/etcd.yaml", "--snapshot-count=5000"

func TestMembers(t *testing.T) {
	runs := func(w *world) bool {
		p := w.node.pods[harden.Etcd]
		return p.running != nil && strings.Contains(p.runs, newCount)
	}
	one, api := []string{"etcd"}, []string{"anonymous"}
	runRows(t, []row{
		{name: "etcd, the only member", controls: one, outcome: harden.OutcomeApplied, event: "etcd has a quorum, and each of its 1 members is well"},
		{name: "etcd, one of three", controls: one, outcome: harden.OutcomeApplied, event: "each of its 3 members is well",
			arrange: func(w *world, _ func()) { w.etcd.names = []string{"cp1", "cp2", "cp3"} }},
		{name: "etcd, one of two", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "etcd cannot restart now: etcd has 2 members and no quorum without this one",
			arrange: func(w *world, _ func()) { w.etcd.names = []string{"cp1", "cp2"} }},
		{name: "etcd, one of two and a learner", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "no quorum without this one",
			arrange: func(w *world, _ func()) { w.etcd.names = []string{"cp1", "cp2", "learner"} }},
		{name: "etcd, one of three of which one is ill", controls: one, outcome: harden.OutcomeRefused, refuses: true,
			says: "2 of the 3 members of etcd are well and it needs 2 without this one: cp2: it has no leader",
			arrange: func(w *world, _ func()) {
				w.etcd.names, w.etcd.sick = []string{"cp1", "cp2", "cp3"}, ill("cp2", "it has no leader")
			}},
		{name: "etcd, one of five of which one is ill", controls: one, outcome: harden.OutcomeApplied,
			event: "of its 5 members not well: cp2: it has no leader", arrange: func(w *world, _ func()) {
				w.etcd.names, w.etcd.sick = []string{"cp1", "cp2", "cp3", "cp4", "cp5"}, ill("cp2", "it has no leader")
			}},
		{name: "etcd, alone and ill", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "cp1: alarm:NOSPACE",
			arrange: func(w *world, _ func()) { w.etcd.sick = ill("cp1", "alarm:NOSPACE") }},
		{name: "etcd without a quorum", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "whether etcd has a quorum without this one is not known: timed out",
			arrange: func(w *world, _ func()) { w.etcd.down = func() error { return errors.New("timed out") } }},
		{name: "etcd that cannot be asked", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "how etcd can be asked is not known",
			arrange: func(w *world, _ func()) { w.etcd = nil }},
		{name: "a member falls ill when etcd is about to be touched", controls: one, outcome: harden.OutcomeRolledBack, says: "checking the other members: 2 of the 3",
			arrange: func(w *world, _ func()) {
				w.etcd.names = []string{"cp1", "cp2", "cp3"}
				w.on("Write", "restore.sh", 1, func() { w.etcd.sick = ill("cp3", "no leader") })
			}},
		{name: "etcd has no quorum afterwards", controls: one, outcome: harden.OutcomeRolledBack, says: "gate of etcd: etcd: timed out: no quorum",
			arrange: func(w *world, _ func()) {
				w.etcd.down = func() error {
					if runs(w) {
						return errors.New("no quorum")
					}
					return nil
				}
			}},
		{name: "this node's member is ill afterwards", controls: one, outcome: harden.OutcomeRolledBack, says: "this node's member, cp1: no leader",
			arrange: func(w *world, _ func()) {
				w.etcd.sick = func(string) string {
					if runs(w) {
						return "no leader"
					}
					return ""
				}
			}},
		{name: "an API server, and etcd cannot be asked", controls: api, outcome: harden.OutcomeApplied, event: "etcd's members could not be asked: 404",
			arrange: func(w *world, _ func()) { w.etcd.down = func() error { return errors.New("404") } }},
		{name: "an API server, and nobody knows how to ask etcd", controls: api, outcome: harden.OutcomeApplied, event: "etcd's members are not asked",
			arrange: func(w *world, _ func()) { w.etcd = nil }},
		{name: "an API server, one of three", controls: api, outcome: harden.OutcomeApplied, event: "the API servers of cp2, cp3 are ready",
			arrange: func(w *world, _ func()) { w.members.nodes = []string{"cp1", "cp2", "cp3"} }},
		{name: "an API server while another one is not ready", controls: api, outcome: harden.OutcomeRefused, refuses: true,
			says: "kube-apiserver cannot restart now: the API server of cp2 is not ready: connection refused", hint: "kubectl get pods",
			arrange: func(w *world, _ func()) {
				w.members.nodes = []string{"cp1", "cp2"}
				w.members.sick = func(node string) error { return map[string]error{"cp2": errors.New("connection refused")}[node] }
			}},
		{name: "an API server, and another one falls ill before it is touched", controls: api, outcome: harden.OutcomeRolledBack,
			says: "checking the other members: the API server of cp2 is not ready", arrange: func(w *world, _ func()) {
				w.members.nodes = []string{"cp1", "cp2"}
				w.on("Write", "restore.sh", 1, func() { w.members.sick = func(string) error { return errors.New("503") } })
			}},
		{name: "an API server, and another one is ill afterwards", controls: api, outcome: harden.OutcomeApplied, event: "the API server of cp2 is not ready: 503",
			arrange: func(w *world, _ func()) {
				w.members.nodes = []string{"cp1", "cp2"}
				w.clock.in(10*time.Second, func() { w.members.sick = func(string) error { return errors.New("503") } })
			}},
		{name: "an API server, and nobody can be asked for the others", controls: api, outcome: harden.OutcomeApplied,
			event: "whether other control planes serve meanwhile is not known: no route", arrange: func(w *world, _ func()) { w.members.down = errors.New("no route") }},
		{name: "an API server without an API to ask", controls: api, outcome: harden.OutcomeApplied, event: "there is no API to ask for the other control planes",
			arrange: func(w *world, _ func()) { w.members = nil }},
	})
}

// An undo restarted etcd with one of three members gone, and with it went the quorum.
func TestUndoLeavesEtcdItsQuorum(t *testing.T) {
	for _, row := range []struct {
		name    string
		arrange func(*etcd)
		accept  bool
		outcome harden.Outcome
		says    string
	}{
		{"all three are well", func(*etcd) {}, false, harden.OutcomeApplied, ""},
		{"one of the others is ill", func(e *etcd) { e.sick = ill("cp2", "no leader") }, false, harden.OutcomeRefused, "etcd cannot restart now: 2 of the 3"},
		{"the same, and accepted", func(e *etcd) { e.sick = ill("cp2", "no leader") }, true, harden.OutcomeApplied, ""},
		{"two are left", func(e *etcd) { e.names = []string{"cp1", "cp2"} }, false, harden.OutcomeRefused, "no quorum without this one"},
		{"this one is ill, perhaps by what is undone", func(e *etcd) { e.names, e.sick = []string{"cp1", "cp2"}, ill("cp1", "no leader") }, false, harden.OutcomeApplied, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.etcd.names = []string{"cp1", "cp2", "cp3"}
			res := w.apply(w.plan("etcd"))
			must(t, errorOf(res))
			p := w.undo(res.Transaction, "")
			if row.accept {
				p = p.Accept(harden.Etcd)
			}
			row.arrange(w.etcd)
			live := *w.node.pods[harden.Etcd].running
			w.on("Rename", "etcd.yaml", 1, func() { w.etcd.sick = nil }) // what ails this one is gone with the change
			res = w.apply(p)
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			if refused := row.outcome == harden.OutcomeRefused; refused {
				if now := w.node.pods[harden.Etcd].running; now == nil || now.ID != live.ID {
					t.Error("refused, and etcd was restarted")
				}
				if want := "rollback " + p.Undoes + " --accept etcd"; !strings.Contains(strings.Join(res.Hints, "\n"), want) {
					t.Errorf("hints %q, want %q", res.Hints, want)
				}
			}
		})
	}
}

func errorOf(res harden.Result) error {
	if res.Outcome != harden.OutcomeApplied {
		return fmt.Errorf("%s: %s", res.Outcome, res.Message)
	}
	return nil
}
