package apply

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Node is the machine that a plan acts on.
type Node interface {
	// State reads a path as it is, following no link in its last element.
	State(path string) (harden.State, error)
	// Instance is the newest running instance of a static pod's component; ErrNotRunning when none runs.
	Instance(ctx context.Context, c harden.Component) (Instance, error)
	// Crashes counts instances of the component that started after since and have exited, with the last one's last words.
	Crashes(ctx context.Context, c harden.Component, since time.Time) (n int, lastWords string, err error)
	// Probe asks once, anonymously, as the kubelet does.
	Probe(ctx context.Context, p harden.Probe) ProbeResult
	// Served is the first certificate that a server at the address shows, in DER.
	Served(ctx context.Context, address string) ([]byte, error)
	// Handshake offers a server one version of TLS with these suites of it, and no certificate. An error says that it answered
	// neither so nor so.
	Handshake(ctx context.Context, address string, version uint16, suites []uint16) (Handshake, error)
	// Unit describes a systemd unit.
	Unit(ctx context.Context, unit string) (Unit, error)
	RestartUnit(ctx context.Context, unit string) error
	// LoadSysctls sets live kernel settings.
	LoadSysctls(ctx context.Context, settings map[string]string) error
	// LogHas says whether the log at path has a line with the marker in it, looking at its end.
	LogHas(path, marker string) (bool, error)
	Rehearser
}

// ErrNotRunning says that no instance of a component runs.
var ErrNotRunning = errors.New("it does not run")

// ErrKept says that a directory was kept for what it holds.
var ErrKept = errors.New("it is kept")

// Instance is one life of a static pod's container.
type Instance struct {
	ID      string // container id, or process id and start time of a unit
	PID     int
	Args    []string
	Started time.Time
}

// ProbeResult is the answer to a probe. Status is 0 where there was no HTTP answer; Err says why.
type ProbeResult struct {
	Status int
	Err    error
}

// Handshake is what a server makes of an offer: the suite that it agreed to, and the key of its certificate; or the alert by which it
// refused.
type Handshake struct {
	Agreed bool
	Suite  uint16
	Key    x509.PublicKeyAlgorithm
	Alert  tls.AlertError
}

// Healthy is what the kubelet takes for success: 200 to 399, or for TCP a connection.
func (r ProbeResult) Healthy(p harden.Probe) bool {
	if p.Scheme == "TCP" {
		return r.Err == nil
	}
	return r.Err == nil && r.Status >= 200 && r.Status < 400
}

// Files tells of the node's file systems. The path, or parents of it, may be missing.
type Files interface {
	harden.WriteChecker
	FreeBytes(path string) (uint64, error)
	ReadOnlyFS(path string) (bool, error)
}

// Unit is the state of a systemd unit.
type Unit struct {
	Active   bool
	PID      int
	Restarts int // automatic ones, as systemd counts them
	Since    time.Time
}

// Cluster is the API. All of it may be down while a node's plan is applied.
type Cluster interface {
	CheckIdentity(ctx context.Context, node harden.Identity) error
	// Object gives labels, annotations and spec as YAML, as previews do.
	Object(ctx context.Context, ref harden.ObjectRef) (s harden.State, uid, resourceVersion string, err error)
	// Create makes an object that must not exist yet; Replace and Delete hold for that UID and resource version only.
	Create(ctx context.Context, ref harden.ObjectRef, yaml []byte) (uid, resourceVersion string, err error)
	Replace(ctx context.Context, ref harden.ObjectRef, yaml []byte, uid, resourceVersion string) (newVersion string, err error)
	Delete(ctx context.Context, ref harden.ObjectRef, uid, resourceVersion string) error
	// At asks the API server at another address of this node, which proves itself as the usual one does.
	At(host string, port int) API
	API
	// GetAt asks another component of this node, at a loopback address, with the administrator's certificate and nothing else: such a
	// component makes its own certificate for itself, so that it cannot prove who it is.
	GetAt(ctx context.Context, host string, port int, path string) (status int, err error)
	// NodeReady says whether the Node reports Ready with a heartbeat after since.
	NodeReady(ctx context.Context, node string, since time.Time) (ready bool, reason string, err error)
	// Working asks for what traffic of the namespaces can be needed for: by the name of each thing, what is wrong with it, "" where
	// it works. Nothing of it is kept.
	Working(ctx context.Context, namespaces []string) (map[string]string, error)
	// Leases are those of kube-system by name.
	Leases(ctx context.Context) (map[string]harden.Lease, error)
	// Configz is the kubelet's live configuration.
	Configz(ctx context.Context, node string) (map[string]any, error)
	// ServingRequests are the node's requests for serving certificates, newest first, and the names and addresses that its Node
	// shows; none while that is being deleted.
	ServingRequests(ctx context.Context, node string) (requests []harden.ServingRequest, known []string, err error)
	// Approve approves a request that still is the one that was checked.
	Approve(ctx context.Context, r harden.ServingRequest, why string) error
	// KubeletServing looks at the certificate that the node's kubelet serves with now.
	KubeletServing(ctx context.Context, node string) (harden.KubeletServingFact, error)
}

// API is one API server, asked with the administrator's credentials.
type API interface {
	AdminGet(ctx context.Context, path, userAgent string) (status int, err error)
	// Allowed asks for an access review, of which nothing is kept: may this user, in these groups and no others, do that in all
	// namespaces? "list endpointslices.discovery.k8s.io", "create pods/binding", "patch nodes/status cp1".
	Allowed(ctx context.Context, user string, groups []string, access string) (bool, error)
	// Readyz asks the server for its own checks, and names those that fail.
	Readyz(ctx context.Context) (ready bool, failing []string, err error)
	// TrialWrite asks for a write that the server checks and does not keep.
	TrialWrite(ctx context.Context) error
	Proofs
}

// Proofs are what an API server is asked to see that a change is in force. Nothing of it is kept.
type Proofs interface {
	// AdmissionPlugins are those that have looked at a request since the server began.
	AdmissionPlugins(ctx context.Context) ([]string, error)
	// GetWith asks for a path with a token instead of the administrator's credentials.
	GetWith(ctx context.Context, token, path string) (status int, err error)
	// TokenLife is for how long a token is good that a pod asks an hour for; asked is false where there is no pod with a service
	// account.
	TokenLife(ctx context.Context) (life time.Duration, asked bool, err error)
	// TrialPod asks for a pod in a namespace that keeps no Pod Security Standard, which is not kept, and gives the words in which it
	// is refused; "" where it is not.
	TrialPod(ctx context.Context, namespace string) (refusal string, err error)
}

// Store is the transaction store, its lock held.
type Store interface {
	// Unsettled are the transactions without an outcome, and those whose undo failed, newest first.
	Unsettled() ([]Unsettled, error)
	// Begin saves the originals of all file steps, writes restore.sh and the plan, all durable, or changes nothing. A target
	// that is not as the plan says gives a DriftError. own are file steps of the transaction itself, such as a canary's: they
	// are put and reverted like the plan's.
	Begin(p harden.Plan, own []harden.Step, s Script) (Tx, error)
	// Resume opens an unsettled transaction and gives the plan that it was to write.
	Resume(id string) (Tx, harden.Plan, error)
	// Plan is what a transaction was to write.
	Plan(id string) (harden.Plan, error)
}

// Unsettled is a transaction that recover has to settle.
type Unsettled struct {
	ID     string
	Script string
	// Waiting says that every gate has passed, and only confirm is awaited.
	Waiting bool
	// Mixed says that its undo failed; otherwise it was interrupted.
	Mixed bool
}

// Script are lines of restore.sh around those that bring the files back. Check comes first, whatever root the files are in.
type Script struct{ Check, Head, Tail []string }

// Tx is one transaction's journal and files.
type Tx interface {
	ID() string
	Script() string
	// Put makes a file step's target what the plan says, write-ahead; Revert brings its original back, and is no error
	// when there is nothing to bring back. Both give ErrKept for a directory that is to go and holds what others put there,
	// and a DriftError for what others have changed. Revert goes on where the journal cannot be written.
	Put(step string) error
	Revert(step string) error
	// Restored says that restore.sh was run and has brought everything back.
	Restored() bool
	// Content is what Put makes of a step's target, and Prior what Revert does; false where the transaction has no such step.
	Content(step string) (harden.State, bool)
	Prior(step string) (harden.State, bool)
	// Rebase takes what is at a step's target now for what Put has made, and lets Revert make back of it, durably: others have
	// changed it since. Recovery finds it in the journal (KindRebase).
	Rebase(step string, now, back harden.State) error
	// Log adds a durable entry to the journal; Entries are all so far.
	Log(kind string, data any) error
	Entries() ([]Entry, error)
	// Close gives an outcome. It refuses one that the journal contradicts, and may be tried again.
	Close(outcome harden.Outcome) error
}

// Entry is a journal entry of Log, or of the store itself.
type Entry struct {
	Kind   string
	Target string
	Time   time.Time
	Data   json.RawMessage
}

// Kinds of journal entries that recovery goes by.
const (
	kindObject     = "object"      // objectEntry, before and after a mutation of an object
	kindEffect     = "effect"      // harden.Effect, before it is started
	kindPassed     = "passed"      // every gate of the plan has passed
	kindArming     = "arming"      // before anything of the dead man's switch is made
	kindArmed      = "armed"       // Armed: the switch undoes when its time is over
	kindWaiting    = "waiting"     // Armed: every gate has passed, and only confirm is awaited
	kindStarted    = "started"     // startedEntry: a component as it was before its first change
	kindRehearsed  = "rehearsed"   // rehearsedEntry: a stage has passed its rehearsal
	kindCanary     = "canary"      // canaryEntry, before anything of a canary is made
	kindCanaryGone = "canary gone" // and after all of it is gone
	kindHandover   = "handover"    // handoverEntry, before anything is made that leads connections elsewhere
	kindHandedBack = "handed back" // and after all of it is gone
	kindNoReturn   = "no return"   // noReturnEntry: before a stage passes its point of no simple return
	kindSaved      = "saved"       // savedEntry: the snapshot of etcd is complete
	kindUndoing    = "undoing"     // the undo has begun
	kindLeftArmed  = "left armed"  // the undo has failed, and the dead man's switch is to try again
	kindRebase     = "rebase"      // the store's: a target that others have changed is brought back to something else
	kindUndone     = "undone"      // undoneEntry: a component is proven to run as before
	kindLogins     = "logins"      // loginsEntry: the remote logins that were open when the packet filter was changed

	// The store's own.
	kindFailed   = "failed" // a put that did not touch its target
	kindRevert   = "revert"
	kindReverted = "reverted"
)

// KindEvent is the kind of journal entries that hold a harden.Event.
const KindEvent = "event"

// Clock is time, so that tests need not wait.
type Clock interface {
	Now() time.Time
	// Sleep waits, or gives the context's error when that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is real time.
type WallClock struct{}

// Now is time.Now.
func (WallClock) Now() time.Time { return time.Now() }

// Sleep waits.
func (WallClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
