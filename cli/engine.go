package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/host"
)

// engine joins the machine, the catalogue and the store: all three voices (UI, plain text, JSON) work through it.
type engine struct {
	m     *machine
	areas []harden.Area
	store *backups.Store
	meta  backups.Meta // of transactions begun here
	clock apply.Clock
	soak  time.Duration
	// within is how long there is to confirm; 0: as the plan says.
	within time.Duration
	// selected are the words of the command line that choose what is planned; none where a plan says it.
	selected []string
	// begun hears of a transaction that this process begins. May be nil.
	begun func(id string)
}

func newEngine(m *machine, areas []harden.Area, meta backups.Meta) *engine {
	return &engine{
		m: m, areas: areas, meta: meta, clock: apply.WallClock{},
		store: backups.Open(m.files, backups.Options{Dir: m.stateDir, LockPath: m.lockPath}),
	}
}

// word is a random one, unique for all practical purposes.
func word(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it cannot fail (crypto/rand)
	return hex.EncodeToString(b)
}

// disks are the places whose space remedies ask for.
var disks = []string{"/var/log/kubernetes/audit", "/var/log", "/var/lib/kubectl-harden"}

// Areas are the catalogue.
func (e *engine) Areas() []harden.Area { return e.areas }

// Facts reads the node, not the cluster.
func (e *engine) Facts(context.Context) (*harden.Facts, error) {
	f, err := collect.FromNode(e.m.files, lookOnce(e.m.live), collect.Options{
		Root: e.m.root, Offline: e.m.offline, Disks: disks, Now: observedAt(e.clock.Now().UTC()),
	})
	if err != nil {
		return nil, err
	}
	// Without them every finding counts, which is the safe side.
	if f.Waivers, err = e.waivers(); err != nil {
		f.Missing[needWaivers] = harden.Msg("%s", err.Error())
	}
	return f, nil
}

// needWaivers names the waivers among facts that could not be read. No control needs them.
const needWaivers harden.Need = "waivers"

// observedAt is the time of the facts, by which certificates end.
var observedAt = func(now time.Time) time.Time { return now } // Overridden by test.

// SlowFacts adds what the API shows. Facts that it could not give are named missing, with the reason. What the API knows of
// the kubelet is asked of the node where there is no API.
func (e *engine) SlowFacts(ctx context.Context, f *harden.Facts) (*harden.Facts, error) {
	if e.m.connect == nil {
		return collect.AddKubeletVersion(ctx, f, e.m.live), nil
	}
	c, err := e.m.connect(ctx)
	if err != nil {
		f = collect.WithoutCluster(f, err)
	} else {
		f = collect.AddCluster(ctx, f, c)
	}
	if _, live := e.m.node.(*hostNode); live && !e.m.offline {
		f = collect.AddStored(ctx, f, &nodeEtcd{files: e.m.files, facts: f})
	}
	return collect.AddKubeletVersion(ctx, f, e.m.live), err
}

// Assess gives the verdicts.
func (e *engine) Assess(f *harden.Facts) []harden.Finding { return harden.Assess(f, e.areas) }

// Plan makes the plans of the choices, in the order in which they are applied; the last one keeps the node's through upgrades.
func (e *engine) Plan(ctx context.Context, f *harden.Facts, choices []harden.Choice) ([]harden.Plan, error) {
	return e.planOf(ctx, f, choices, nil)
}

func (e *engine) planOf(ctx context.Context, f *harden.Facts, choices []harden.Choice, skipped []harden.Skip) ([]harden.Plan, error) {
	in := harden.BuildInput{
		Facts: f, Areas: e.areas, Choices: choices, Skipped: skipped,
		Read: e.m.node.State, Writes: e.m.files, Now: e.clock.Now().UTC(), Tool: e.meta.Binary.Version,
		NewKey: newKey,
	}
	if e.m.kubeadm != nil {
		in.Renew = once(func(names []string) (harden.Renewed, error) { return e.m.kubeadm.Renew(ctx, names) })
	}
	if f.Cluster != nil {
		c, err := e.m.connect(ctx)
		if err != nil {
			return nil, err
		}
		in.Preview = func(ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
			return c.Preview(ctx, ref, yaml)
		}
		in.Edited = func(ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error) {
			return c.Edited(ctx, ref, edit)
		}
	}
	built, err := harden.Build(in)
	if err != nil {
		return nil, &refusedError{err}
	}
	plans, run := built.InOrder(), word(4)
	for i := range plans {
		plans[i].Run = run
		e.setSwitch(ctx, &plans[i])
		if plans[i].Skipped == nil {
			plans[i].Skipped = []harden.Skip{} // a list in JSON, not null
		}
	}
	plans, err = harden.Persist(in, plans)
	if err != nil {
		return nil, &refusedError{err}
	}
	return plans, nil
}

// once remembers what kubeadm has made: a plan that is built again without a control has the same certificates.
func once(renew func([]string) (harden.Renewed, error)) func([]string) (harden.Renewed, error) {
	known := map[string]harden.Renewed{}
	return func(names []string) (harden.Renewed, error) {
		key := strings.Join(names, " ")
		if r, ok := known[key]; ok {
			return r, nil
		}
		r, err := renew(names)
		if err == nil {
			known[key] = r
		}
		return r, err
	}
}

// Apply runs one plan under the lock. The undo of a transaction that waits begins nothing new: it ends that one.
func (e *engine) Apply(ctx context.Context, p harden.Plan, events func(harden.Event)) harden.Result {
	var res harden.Result
	switch {
	case e.undoesWaiting(p):
		res = e.abandon(ctx, p, events)
	case e.m.start != nil:
		res = e.send(ctx, errand{Plan: &p}, events)
	default:
		res = e.applyHere(ctx, p, events)
	}
	return e.withSelection(p, res)
}

func (e *engine) applyHere(ctx context.Context, p harden.Plan, events func(harden.Event)) harden.Result {
	return e.locked(func(s *backups.Session) harden.Result {
		a, err := e.applier(ctx, e.transactions(s), p.Scope == harden.ScopeCluster)
		if err != nil {
			return refused(err)
		}
		a.Events = events
		return a.Apply(ctx, p)
	})
}

// Pending says what an earlier run has left to settle, or that one is under way.
func (e *engine) Pending() (harden.Result, bool) {
	res, open := e.pendingNow()
	if open && res.Outcome == harden.OutcomeUnsettled {
		// Another run may have begun, or ended, between the two looks: it has left nothing to settle.
		res, open = e.pendingNow()
	}
	return res, open
}

func (e *engine) pendingNow() (harden.Result, bool) {
	h, held, err := e.store.Holder()
	switch {
	case err != nil:
		return refused(err), true
	case held:
		return locked(&backups.LockedError{Path: e.m.lockPath, Holder: h}), true
	}
	return apply.Pending(e.transactions(nil))
}

// Check says by OutcomeApplied that Apply would begin the plan, or else what it would answer. It goes the way of Apply, to
// the point where the first thing is written.
func (e *engine) Check(ctx context.Context, p harden.Plan) harden.Result {
	res, open := e.Pending()
	switch {
	case open && res.Outcome == harden.OutcomeUnsettled && e.undoesWaiting(p):
		return harden.Result{Outcome: harden.OutcomeApplied}
	case open:
		return res
	}
	s := &unbegun{transactions: e.transactions(nil)}
	a, err := e.applier(ctx, s, p.Scope == harden.ScopeCluster)
	if err != nil {
		return refused(err)
	}
	a.Courtesy, a.CheckOnly = nil, true
	if res := a.Apply(ctx, p); !s.reached {
		if now, open := e.Pending(); open && res.Outcome == harden.OutcomeUnsettled {
			res = now // of a run that has begun meanwhile
		}
		return e.withSelection(p, res)
	}
	return harden.Result{Outcome: harden.OutcomeApplied}
}

// Recover settles an interrupted transaction.
func (e *engine) Recover(ctx context.Context, id string, finish bool, events func(harden.Event)) harden.Result {
	if e.m.start != nil {
		return e.send(ctx, errand{Recover: id, Finish: finish}, events)
	}
	return e.recoverHere(ctx, id, finish, events)
}

func (e *engine) recoverHere(ctx context.Context, id string, finish bool, events func(harden.Event)) harden.Result {
	return e.settled(ctx, events, func(a *apply.Applier) harden.Result { return a.Recover(ctx, id, finish) })
}

func (e *engine) abandonHere(ctx context.Context, shown harden.Plan, events func(harden.Event)) harden.Result {
	return e.settled(ctx, events, func(a *apply.Applier) harden.Result {
		if !e.waits(shown.Undoes) { // somebody was faster
			return refused(&hintedError{
				err:   fmt.Errorf("undoing: transaction %s does not wait for confirm any more; nothing was changed by this", shown.Undoes),
				hints: []string{program + " history " + shown.Undoes, program + " status"},
			})
		}
		return a.Abandon(ctx, shown)
	})
}

// settled lets an applier end a transaction under the lock.
func (e *engine) settled(ctx context.Context, events func(harden.Event), do func(*apply.Applier) harden.Result) harden.Result {
	return e.locked(func(s *backups.Session) harden.Result {
		a, err := e.applier(ctx, e.transactions(s), false)
		if err != nil {
			return refused(err)
		}
		a.Events = events
		return do(a)
	})
}

func (e *engine) locked(do func(*backups.Session) harden.Result) harden.Result {
	if e.m.cannotWrite != nil {
		return refused(e.m.cannotWrite)
	}
	s, err := e.store.Lock(e.holder())
	if errors.Is(err, backups.ErrLocked) {
		return locked(err)
	}
	if err != nil {
		return refused(err)
	}
	res := do(s)
	if err := s.Unlock(); err != nil {
		res.Hints = append(res.Hints, program+" status")
	}
	return res
}

func locked(err error) harden.Result {
	return harden.Result{Outcome: harden.OutcomeLocked, Message: harden.Msg("%s", err.Error()), Hints: []string{program + " status"}}
}

func refused(err error) harden.Result {
	res := harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("%s", err.Error())}
	var hinted *hintedError
	if errors.As(err, &hinted) {
		res.Hints = hinted.hints
	}
	return res
}

// applierWithout has no cluster to ask. It is built anew for each run: the identity is read when it acts, not when it was
// planned.
func (e *engine) applierWithout(ctx context.Context, s apply.Store) (*apply.Applier, error) {
	f, err := e.Facts(ctx)
	if err != nil {
		return nil, err
	}
	f = collect.AddKubeletVersion(ctx, f, e.m.live)
	a := &apply.Applier{
		Node: e.m.node, Store: s, Clock: e.clock, Facts: f, Areas: e.areas, Files: e.m.files, StateDir: e.m.stateDir,
		Soak: e.soak, NewMarker: func() string { return word(8) },
	}
	switch {
	case e.m.sandbox:
		etcd := sandboxEtcd{node: f.Identity.Node, files: e.m.files}
		a.Etcd, a.Storage = etcd, etcd
	case !f.Identity.Offline:
		etcd := &nodeEtcd{files: e.m.files, facts: f}
		a.Etcd, a.Storage = etcd, etcd
		if n, ok := e.m.node.(*hostNode); ok {
			a.Restarts = podRestarts{n}
			a.Handover = podHandover{n}
			a.Filter, a.Logins = nodeFilter{n}, nodeLogins{n.root}
		}
	}
	if d := e.deadMan(); d != nil {
		a.Switch = d
	}
	return a, nil
}

// ownCluster is the API, if it is that of the node's own cluster (promise 15).
func (e *engine) ownCluster(ctx context.Context, node harden.Identity) (api, error) {
	c, err := e.m.connect(ctx)
	if err == nil {
		err = c.CheckIdentity(ctx, node)
	}
	return c, err
}

func (e *engine) applier(ctx context.Context, s apply.Store, needCluster bool) (*apply.Applier, error) {
	a, err := e.applierWithout(ctx, s)
	if err != nil {
		return nil, err
	}
	f := a.Facts
	if e.m.connect != nil {
		c, err := e.ownCluster(ctx, f.Identity)
		switch {
		case err != nil && needCluster:
			return nil, err
		case err != nil:
			// A node's plan needs no cluster.
		case needCluster:
			a.Cluster, a.Members, a.Facts = c, c, collect.AddCluster(ctx, f, c)
		default:
			a.Cluster, a.Members = c, c
			a.Courtesy, _ = c.(apply.Courtesy)
			a.Rewriter, _ = c.(apply.Rewriter)
			a.Holder = apply.HolderOf(f.Identity.Node, os.Getpid(), who(e.meta.Who))
		}
	}
	return a, nil
}

// History lists the transactions, newest first.
func (e *engine) History(context.Context) ([]harden.TransactionSummary, error) {
	out, _, err := e.historyAndPlans()
	return out, err
}

// historyAndPlans also gives the plan of each transaction; that of a damaged one is empty.
func (e *engine) historyAndPlans() ([]harden.TransactionSummary, []harden.Plan, error) {
	list, err := e.store.List()
	if err != nil {
		return nil, nil, err
	}
	out := e.summaries(list)
	plans := make([]harden.Plan, len(out))
	for i := range out {
		t := &out[i]
		var p harden.Plan
		rec, err := e.store.Load(t.ID)
		if err == nil {
			p, err = decodePlan(t.ID, rec.Plan)
		} else {
			t.Damage = sentence(strings.TrimPrefix(err.Error(), "transaction "+t.ID+": "))
			p, err = e.loadPlan(t.ID) // the plan may be whole where a saved content is not
		}
		if err != nil {
			t.Damage, t.ByHand = sentence(strings.TrimPrefix(err.Error(), "transaction "+t.ID+": ")), true
			t.Restored = e.restored(t.ID)
			continue
		}
		plans[i], t.Keeps = p, p.Keeps()
		if t.Scope == harden.ScopeCluster {
			for _, s := range p.Steps() {
				t.Targets = append(t.Targets, s.ID)
			}
		}
		// What is itself undone leaves the transaction to be undone.
		if t.Undoes == "" || t.Outcome != harden.OutcomeApplied || len(t.UndoneBy) > 0 {
			continue
		}
		at := slices.IndexFunc(out[i:], func(older harden.TransactionSummary) bool { return older.ID == t.Undoes })
		if at > 0 {
			undone(&out[i+at], p, t.ID)
		}
	}
	return out, plans, nil
}

// undone notes what a plan that undoes has taken from a transaction; the last of its controls takes the rest.
func undone(t *harden.TransactionSummary, by harden.Plan, id string) {
	for _, c := range by.UndoesControls {
		if !slices.Contains(t.UndoneControls, c) {
			t.UndoneControls = append(t.UndoneControls, c)
		}
	}
	left := func(c string) bool { return !slices.Contains(t.UndoneControls, c) }
	if len(by.UndoesControls) == 0 || !slices.ContainsFunc(t.Controls, left) {
		t.UndoneBy = append(t.UndoneBy, id)
	}
}

// damaged are the settled transactions that are not what was written, newest first. Unsettled ones are recover's, unless
// restore.sh has settled them.
func (e *engine) damaged(ctx context.Context) ([]harden.TransactionSummary, error) {
	history, err := e.History(ctx)
	return settledDamage(history), err
}

func settledDamage(history []harden.TransactionSummary) []harden.TransactionSummary {
	return slices.DeleteFunc(history, func(t harden.TransactionSummary) bool {
		return t.Damage == "" || !t.Restored && (t.Outcome == harden.OutcomeUnsettled || t.Outcome == harden.OutcomeMixed)
	})
}

// blocking are the damaged transactions that are still to be settled: what restore.sh has brought back is only told.
func blocking(damaged []harden.TransactionSummary) []harden.TransactionSummary {
	return slices.DeleteFunc(slices.Clone(damaged), func(t harden.TransactionSummary) bool { return t.Restored })
}

// Events are the progress of a transaction, from its journal.
func (e *engine) Events(_ context.Context, id string) ([]harden.Event, error) {
	entries, _, err := e.store.Entries(id, 0)
	if err != nil {
		return nil, err
	}
	var out []harden.Event
	for _, entry := range entries {
		if ev, ok := eventOf(entry); ok {
			out = append(out, ev)
		}
	}
	return out, nil
}

// holder is who takes the lock.
func (e *engine) holder() backups.Holder {
	start, _ := host.ProcessTicks("/proc", os.Getpid()) // without it nobody ends this process, should it hang
	return backups.Holder{PID: os.Getpid(), Start: start, Who: who(e.meta.Who), Command: e.meta.Command, Since: e.clock.Now().UTC()}
}

// eventOf reads progress from a journal entry.
func eventOf(entry backups.Entry) (harden.Event, bool) {
	var ev harden.Event
	if entry.Kind != apply.KindEvent || json.Unmarshal(entry.Data, &ev) != nil {
		return ev, false
	}
	return ev, true
}

// ScriptPath is where restore.sh of a plan's transaction will be; its id is not known yet.
func (e *engine) ScriptPath(harden.Plan) string {
	return e.script(path.Join(e.m.stateDir, "transactions/<id>"))
}
