package apply_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	apiserverManifest = harden.StaticPodDir + "/kube-apiserver.yaml"
	schedulerManifest = harden.StaticPodDir + "/kube-scheduler.yaml"
	kubeletConfig     = "/var/lib/kubelet/config.yaml"
	policyFile        = "/etc/kubernetes/policies/audit-policy.yaml"
	logDir            = "/var/log/kubernetes/audit"
	stateDir          = "/var/lib/kubectl-harden"
)

var (
	denyAll = harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "deny-all"}
	other   = harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "other"}
)

// control always fails, and has one remedy that asks for the intents and is proven so.
func control(id string, proofs []harden.Proof, intents ...harden.Intent) harden.Control {
	proofs = slices.Clone(proofs)
	for i := range proofs {
		proofs[i].Control = id
	}
	return harden.Control{
		ID: id, Title: id, Needs: []harden.Need{harden.NeedAPIServer},
		Assess: func(*harden.Facts) harden.Verdict { return harden.Failed(harden.Msg("it fails")) },
		Remedies: []harden.Remedy{{
			ID: "fix", Risk: harden.RiskNode,
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) { return intents, nil },
			Proofs:  func(*harden.Facts, harden.Values) []harden.Proof { return proofs },
		}},
	}
}

func areas() []harden.Area {
	proof := func(kind harden.ProofKind, p string, status int, want any) []harden.Proof {
		return []harden.Proof{{Kind: kind, Path: p, Status: status, Want: want}}
	}
	return []harden.Area{{ID: "test", Controls: []harden.Control{
		control("profiling", proof(harden.ProofAdmin, "/debug/pprof/", 404, nil), harden.SetFlag(harden.APIServer, "profiling", "false")),
		control("audit", proof(harden.ProofAuditLine, logDir+"/audit.log", 0, nil),
			harden.MakeDir("/etc/kubernetes/policies", 0o755), harden.MakeDir(logDir, 0o700),
			harden.WriteFile(policyFile, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"), 0o600, harden.APIServer),
			harden.MountPath(harden.APIServer, patches.Mount{Name: "policies", HostPath: "/etc/kubernetes/policies", MountPath: "/etc/kubernetes/policies", ReadOnly: true, Type: "Directory"}),
			harden.MountPath(harden.APIServer, patches.Mount{Name: "logs", HostPath: logDir, MountPath: logDir, Type: "DirectoryOrCreate"}),
			harden.SetFlag(harden.APIServer, "audit-log-path", logDir+"/audit.log"),
			harden.SetFlag(harden.APIServer, "audit-policy-file", policyFile)),
		control("anonymous", proof(harden.ProofAnonymous, "/api", 403, nil), harden.SetFlag(harden.APIServer, "goaway-chance", "0")),
		control("etcd", nil, harden.SetFlag(harden.Etcd, "snapshot-count", "5000")),
		control("scheduler", nil, harden.SetFlag(harden.Scheduler, "profiling", "false")),
		control("pids", proof(harden.ProofConfigz, "podPidsLimit", 0, 4096), harden.SetField(kubeletConfig, "podPidsLimit", 4096, harden.Kubelet)),
		control("port", proof(harden.ProofConfigz, "readOnlyPort", 0, 0), harden.SetField(kubeletConfig, "readOnlyPort", 0, harden.Kubelet)),
		control("mode", nil, harden.SetMode(schedulerManifest, 0o400), harden.SetMode(kubeletConfig, 0o600)),
		control("kernel", nil, harden.Sysctl("/etc/sysctl.d/90-kubelet.conf", "vm.overcommit_memory", "1")),
		control("deny", nil, harden.PutObject(denyAll, []byte("deny all\n"))),
		control("other", nil, harden.PutObject(other, []byte("other, new\n"))),
		control("key", nil, harden.MakeDir(harden.EncryptionDir, 0o700),
			harden.NewEncryptionKey(harden.EncryptionFile, "secretbox", "key1", []string{"secrets"}),
			harden.MountPath(harden.APIServer, patches.Mount{Name: "enc", HostPath: harden.EncryptionDir, MountPath: harden.EncryptionDir, ReadOnly: true, Type: "Directory"}),
			harden.SetFlag(harden.APIServer, "encryption-provider-config", harden.EncryptionFile)),
		control("encrypt", nil, harden.WriteWithKey(harden.EncryptionFile, "key1")),
		lockingOut(control("lockout", nil, harden.SetFlag(harden.APIServer, "min-request-timeout", "1801"))),
	}}}
}

func lockingOut(c harden.Control) harden.Control {
	c.Remedies[0].Risk = harden.RiskLockOut
	return c
}

// world is a node with a real control plane's files, its cluster, and a real store of transactions.
type world struct {
	t       testing.TB
	fsys    backups.FS         // what the node and the tests see
	watch   *backupstest.Watch // what the store sees of it
	clock   *clock
	node    *node
	cluster *cluster
	members *members
	etcd    *etcd
	turns   *courtesy
	applier *apply.Applier
	areas   []harden.Area
	dead    *deadMan      // nil: none can be armed
	hands   *hands        // nil: connections cannot be led
	filter  *packetFilter // nil: the packet filter is not there to change
	etcdDB  *database     // nil: nobody knows how to look at what is stored
	vault   *vault        // what is stored, where that matters
	events  []harden.Event
	before  map[string]harden.State

	free     func(dir string) uint64
	readOnly string // this directory's file system takes no writes
	unsafe   string // this path must not be written to
	offline  bool
	known    *harden.ClusterFacts // of the cluster, when planning
}

var begin = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// newWorld has the files of the fixture in memory; populate puts them on another file system.
func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOn(t, pristine().Clone())
}

var pristine = sync.OnceValue(func() *backupstest.Disk {
	d := backupstest.NewDisk(0, 0)
	populate(&testing.T{}, d, "1.37")
	d.Settle()
	return d
})

func populate(t testing.TB, fsys backups.FS, minor string) {
	t.Helper()
	files := hardentest.Fixture(t, minor).Files
	dirs := map[string]harden.State{}
	for p := range files {
		for d := path.Dir(p); d != "/"; d = path.Dir(d) {
			if s, ok := files[d]; !ok || !s.Dir {
				dirs[d] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			}
		}
	}
	maps.Copy(files, dirs)
	files["/etc/sysctl.d"], files["/var/log"] = files["/etc"], files["/etc"]
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if p != "/" {
			must(t, place(fsys, p, files[p]))
		}
	}
}

func worldOn(t testing.TB, fsys backups.FS) *world {
	w := &world{t: t, fsys: fsys, watch: &backupstest.Watch{FS: fsys}, clock: &clock{now: begin}, cluster: newCluster(), areas: areas()}
	w.node = newNode(w.clock, w.State, fsys.ReadFile)
	w.members, w.etcd = newMembers("cp1"), newEtcd("cp1")
	w.etcdDB = &database{w: w}
	w.turns = &courtesy{}
	w.cluster.now, w.cluster.node = w.clock.Now, w.node
	w.node.remove = func(p string) error { return w.fsys.Remove(p) }
	w.node.full = func(dir string) bool { names, err := w.fsys.ReadDir(dir); return err != nil || len(names) > 0 }
	w.node.mkdir = func(dir string) { _ = w.fsys.Mkdir(dir, 0o755) }
	w.before = w.snapshot()
	return w
}

// process is a new one on the same node.
func (w *world) process() *apply.Applier {
	w.t.Helper()
	s := &store{Store: backups.Open(w.watch, backups.Options{Dir: stateDir, Now: w.clock.Now})}
	var err error
	s.session, err = s.Lock(backups.Holder{PID: 1, Since: w.clock.now})
	must(w.t, err)
	w.applier = &apply.Applier{
		Node: w.node, Store: s, Clock: w.clock, Facts: w.facts(), Areas: w.areas, Files: w, StateDir: stateDir,
		NewMarker: func() string { return "marker" }, Events: func(e harden.Event) { w.events = append(w.events, e) },
	}
	if w.cluster != nil {
		w.applier.Cluster = w.cluster
	}
	if w.members != nil {
		w.applier.Members = w.members
	}
	if w.etcd != nil {
		w.applier.Etcd = w.etcd
	}
	if w.etcdDB != nil {
		w.applier.Storage = w.etcdDB
	}
	if w.vault != nil {
		w.applier.Storage, w.applier.Rewriter = w.vault, w.vault
	}
	if w.node.backOff {
		w.applier.Restarts = w.node
	}
	if w.turns != nil {
		w.applier.Courtesy, w.applier.Holder = w.turns, apply.HolderOf("cp1", 1, "alice")
	}
	if w.dead != nil {
		w.applier.Switch = w.dead
	}
	if w.filter != nil {
		w.applier.Filter, w.applier.Logins = w.filter, w.filter
	}
	if w.hands != nil {
		w.applier.Handover = w.hands
	}
	return w.applier
}

// end is the end of a process that was not killed.
func (w *world) end() { must(w.t, w.applier.Store.(*store).session.Unlock()) }

func (w *world) apply(p harden.Plan) harden.Result { return w.applyUntil(context.Background(), p) }

func (w *world) applyUntil(ctx context.Context, p harden.Plan) harden.Result {
	w.t.Helper()
	a := w.process()
	defer w.end()
	return a.Apply(ctx, p)
}

func (w *world) recover(id string, finish bool) harden.Result {
	w.t.Helper()
	a := w.process()
	defer w.end()
	return a.Recover(context.Background(), id, finish)
}

func (w *world) facts() *harden.Facts {
	w.t.Helper()
	f, err := collect.FromNode(w, nil, collect.Options{Root: "/", Offline: true, Now: w.clock.now})
	must(w.t, err)
	f.Identity.Offline, f.Identity.Node, f.Identity.MachineID = w.offline, "cp1", "0123"
	f.Sysctls = maps.Clone(w.node.sysctls)
	delete(f.Missing, harden.NeedSysctls)
	if !w.offline {
		f.Machine = &harden.MachineFact{MemAvailable: 4 << 30, Systemd: true}
		f.Firewall = &harden.FirewallFact{}
		for id, c := range f.Components {
			if p := w.node.pods[id]; p != nil && p.running != nil {
				c.Process = &harden.ProcessFact{PID: p.running.PID, Args: p.running.Args, Started: p.running.Started, Resident: 300 << 20}
			}
		}
	}
	return f
}

// plan is the first plan of the controls that is not empty.
func (w *world) plan(controls ...string) harden.Plan {
	w.t.Helper()
	in := harden.BuildInput{Facts: w.facts(), Areas: w.areas, Read: w.State, Now: w.clock.now, NewKey: func() []byte { return make([]byte, harden.EncryptionKeySize) }}
	in.Facts.Cluster = w.known
	for _, c := range controls {
		in.Choices = append(in.Choices, harden.Choice{Control: c})
	}
	in.Preview = func(ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
		before, uid, version, err := w.cluster.Object(context.Background(), ref)
		return harden.ObjectPreview{Before: before, After: harden.State{Exists: true, Data: yaml}, UID: uid, ResourceVersion: version}, err
	}
	plans, err := harden.Build(in)
	must(w.t, err)
	for _, p := range plans.InOrder() {
		if !p.Empty() {
			return p
		}
	}
	return plans.Node
}

func (w *world) undo(id, control string) harden.Plan {
	w.t.Helper()
	w.process()
	defer w.end()
	done, err := w.applier.Store.Plan(id)
	must(w.t, err)
	var only []string
	if control != "" {
		only = []string{control}
	}
	p, err := harden.Undo(harden.UndoInput{
		Done: harden.Done{ID: id, Plan: done}, Controls: only, Facts: w.facts(), Read: w.State, Now: w.clock.now,
		Object: func(ref harden.ObjectRef) (harden.State, string, string, error) {
			return w.cluster.Object(context.Background(), ref)
		},
	})
	must(w.t, err)
	return p
}

// State, List, FreeBytes, ReadOnlyFS, CheckReplace and CheckAttributes are the node's files, for facts, plans and the applier.
func (w *world) State(p string) (harden.State, error) {
	info, err := w.fsys.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return harden.State{}, nil
	}
	if err != nil {
		return harden.State{}, err
	}
	s := harden.State{Exists: true, Dir: info.Kind == fs.ModeDir, Mode: info.Mode, UID: info.UID, GID: info.GID}
	if !s.Dir {
		if s.Data, err = w.fsys.ReadFile(p); err != nil {
			return s, err
		}
	}
	s.XAttrs, err = w.fsys.XAttrs(p)
	return s, err
}

func (w *world) List(dir string) ([]string, error) {
	names, err := w.fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

func (w *world) Unit(string) (collect.Unit, error) { return collect.Unit{}, nil }

func (w *world) ReadOnlyFS(dir string) (bool, error) { return dir == w.readOnly, nil }

func (w *world) FreeBytes(dir string) (uint64, error) {
	if w.free != nil {
		return w.free(dir), nil
	}
	return 1 << 30, nil
}

func (w *world) CheckReplace(p string) error {
	if p == w.unsafe {
		return fmt.Errorf("refusing %q: it is immutable (lsattr shows i)", p)
	}
	return nil
}

func (w *world) CheckAttributes(p string) error { return w.CheckReplace(p) }

// snapshot reads everything but the store's own.
func (w *world) snapshot() map[string]harden.State {
	w.t.Helper()
	m := map[string]harden.State{}
	var walk func(p string)
	walk = func(p string) {
		s, err := w.State(p)
		must(w.t, err)
		if p == stateDir {
			return
		}
		m[p] = s
		names, err := w.fsys.ReadDir(p)
		if !s.Dir {
			return
		}
		must(w.t, err)
		for _, name := range names {
			walk(path.Join(p, name))
		}
	}
	walk("/etc")
	walk("/var")
	return m
}

// changes are the paths that are not as they were, sorted.
func (w *world) changes() []string {
	w.t.Helper()
	var out []string
	now := w.snapshot()
	for p, s := range now {
		if was, ok := w.before[p]; !ok || !was.Equal(s) {
			out = append(out, p)
		}
	}
	for p := range w.before {
		if _, ok := now[p]; !ok {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// kinds are the kinds of events of the last process, in order, a run of equal ones once.
func (w *world) kinds() string {
	var out []string
	for _, e := range w.events {
		if k := string(e.Kind); len(out) == 0 || out[len(out)-1] != k {
			out = append(out, k)
		}
	}
	return strings.Join(out, " ")
}

// said are the messages of events of a kind.
func (w *world) said(kind harden.EventKind) string {
	var out []string
	for _, e := range w.events {
		if e.Kind == kind {
			out = append(out, e.Message.String())
		}
	}
	return strings.Join(out, "; ")
}

// outcome is what the store says of the newest transaction, "" for none.
func (w *world) outcome() string {
	w.t.Helper()
	list, err := backups.Open(w.fsys, backups.Options{Dir: stateDir}).List()
	must(w.t, err)
	if len(list) == 0 {
		return "none"
	}
	must(w.t, list[0].Damage)
	return list[0].Outcome
}

func place(fsys backups.FS, p string, s harden.State) error {
	if s.Dir {
		if err := fsys.Mkdir(p, s.Mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return fsys.Chmod(p, s.Mode)
	}
	f, err := fsys.Create(p, s.Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(s.Data)
	return errors.Join(err, f.Close())
}

// write changes a file as somebody else would.
func (w *world) write(p, text string) {
	w.t.Helper()
	s, err := w.State(p)
	must(w.t, err)
	if s.Exists {
		must(w.t, w.fsys.Remove(p))
	} else {
		s.Mode = 0o600
	}
	s.Data, s.Dir = []byte(text), false
	must(w.t, place(w.fsys, p, s))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failing makes the store's operations of that name on that path fail, from the nth to the last.
func (w *world) failing(name, p string, nth, last int, err error) {
	seen := 0
	w.watch.Before = func(op backupstest.Op) error {
		if op.Name != name || !strings.HasSuffix(op.Path, p) {
			return nil
		}
		if seen++; seen >= nth && seen <= last {
			return fmt.Errorf("%s %s: %w", strings.ToLower(name), op.Path, err)
		}
		return nil
	}
}

const ever = 1 << 30

// on does something once, after the store's nth operation of that name on that path.
func (w *world) on(name, p string, nth int, do func()) {
	seen := 0
	w.watch.After = func(op backupstest.Op) {
		if op.Name == name && strings.HasSuffix(op.Path, p) {
			if seen++; seen == nth {
				do()
			}
		}
	}
}
