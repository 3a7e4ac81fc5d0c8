package harden

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// State is what a target holds. For files: content, mode, owner and extended attributes, or absence. For objects: Data
// is the YAML of its labels, annotations and spec.
type State struct {
	Exists bool              `json:"exists"`
	Dir    bool              `json:"dir,omitempty"`
	Data   []byte            `json:"data,omitempty"`
	Mode   uint32            `json:"mode,omitempty"` // as in chmod(2)
	UID    int               `json:"uid,omitempty"`
	GID    int               `json:"gid,omitempty"`
	XAttrs map[string][]byte `json:"xattrs,omitempty"`
}

// Digest is the sha256 of the content, in hex; "" for what does not exist and for directories.
func (s State) Digest() string {
	if !s.Exists || s.Dir {
		return ""
	}
	sum := sha256.Sum256(s.Data)
	return hex.EncodeToString(sum[:])
}

// Equal compares everything that an undo must bring back.
func (s State) Equal(o State) bool {
	if !s.Exists || !o.Exists {
		return s.Exists == o.Exists
	}
	if s.Dir != o.Dir || s.Mode != o.Mode || s.UID != o.UID || s.GID != o.GID || string(s.Data) != string(o.Data) || len(s.XAttrs) != len(o.XAttrs) {
		return false
	}
	for k, v := range s.XAttrs {
		if w, ok := o.XAttrs[k]; !ok || string(v) != string(w) {
			return false
		}
	}
	return true
}

// Scope is what a plan acts on.
type Scope string

const (
	ScopeNode    Scope = "node"
	ScopeCluster Scope = "cluster"
)

// Plan is what would be done, exactly: a value that apply takes and nobody recomputes.
type Plan struct {
	APIVersion string    `json:"apiVersion"` // "harden/v1"
	Kind       string    `json:"kind"`       // "Plan"
	Scope      Scope     `json:"scope"`
	Target     Identity  `json:"target"`
	Created    time.Time `json:"created"`
	Tool       string    `json:"tool"` // version of the binary that made it
	// Choices that were taken; a plan of the same choices after apply is empty.
	Choices []Choice `json:"choices"`
	Stages  []Stage  `json:"stages"`
	// Accepted are components that were accepted by name although not all of them can be rehearsed.
	Accepted []ComponentID `json:"accepted,omitempty"`
	// Preflight are the preconditions of all remedies and of the components touched.
	Preflight []Check `json:"preflight"`
	// Skipped are choices that are not in the plan, with the reason.
	Skipped []Skip `json:"skipped"`
	// Switch is nil where the plan can lock nobody out.
	Switch *Switch `json:"switch,omitempty"`
	// Handover is nil where nobody asked for one, or the API server does not restart.
	Handover *Handover `json:"handover,omitempty"`
	// Run joins the plans that were confirmed and applied together.
	Run string `json:"run,omitempty"`
	// Undoes is the transaction that this plan undoes, wholly or what UndoesControls asked for.
	Undoes         string   `json:"undoes,omitempty"`
	UndoesControls []string `json:"undoesControls,omitempty"`
	// Undone are controls whose part in that transaction was undone before.
	Undone []string `json:"undone,omitempty"`
}

// Stage is steps, then effects, then gates. Before the first effect its components are rehearsed.
type Stage struct {
	Title Message `json:"title"`
	// NoReturn: once this stage has begun, bringing its files back does not bring back what it changes. WayBack says what does.
	NoReturn bool `json:"noReturn,omitempty"`
	// Sharing is nil where the stage does not change what the API server encrypts with, or no other control plane has to follow.
	Sharing    *Sharing    `json:"sharing,omitempty"`
	Steps      []Step      `json:"steps"`
	Rehearsals []Rehearsal `json:"rehearsals,omitempty"`
	Effects    []Effect    `json:"effects"`
	Gates      []Gate      `json:"gates"`
}

// StepKind is what a step changes.
type StepKind string

const (
	StepFile   StepKind = "file"
	StepDir    StepKind = "directory"
	StepObject StepKind = "object"
)

// Step is one target of a stage.
type Step struct {
	ID     string     `json:"id"` // the path, or the object's name: unique in the plan
	Kind   StepKind   `json:"kind"`
	Path   string     `json:"path,omitempty"`
	Object *ObjectRef `json:"object,omitempty"`
	// UID and ResourceVersion are preconditions of replacing or deleting an object that existed.
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Component whose effect follows this step; empty for files that nothing reads by itself.
	Component ComponentID `json:"component,omitempty"`
	Before    State       `json:"before"`
	After     State       `json:"after"`
	// Asks are the intents of this step with the control that asked, in the order in which they were rendered.
	Asks []Ask `json:"asks"`
	// Marks say which control asked for which line of the difference.
	Marks []Mark `json:"marks,omitempty"`
	// Secret content is never shown; it is named by its fingerprint.
	Secret bool `json:"secret,omitempty"`
}

// Ask is an intent and the control that asked for it.
type Ask struct {
	Control string `json:"control"`
	Intent  Intent `json:"intent"`
}

// Mark attributes a line: New counts lines of After, Old lines of Before (1-based; the other one is 0).
type Mark struct {
	New      int      `json:"new,omitempty"`
	Old      int      `json:"old,omitempty"`
	Controls []string `json:"controls"`
}

// EffectKind is what happens because of the steps.
type EffectKind string

const (
	EffectStaticPod EffectKind = "static pod restarts" // the kubelet does it when the manifest changed
	EffectUnit      EffectKind = "unit restarts"
	EffectSysctl    EffectKind = "kernel settings are loaded"
	EffectTable     EffectKind = "the table of the packet filter is loaded, or taken away"
	EffectSnapshot  EffectKind = "a snapshot of etcd is saved"
	EffectRewrite   EffectKind = "stored objects are written anew"
)

// Effect is one consequence of a stage; each component at most once.
type Effect struct {
	Kind      EffectKind        `json:"kind"`
	Component ComponentID       `json:"component,omitempty"`
	Sysctls   map[string]string `json:"sysctls,omitempty"`
	Prior     map[string]string `json:"prior,omitempty"` // live values before, for the undo
	// Stored is how objects that are written anew lie in etcd then.
	Stored   *Stored  `json:"stored,omitempty"`
	Controls []string `json:"controls"`
}

// Words say what happens, of what is no component's own effect.
func (e Effect) Words() Message {
	if e.Kind == EffectSnapshot {
		return Msg("a snapshot of etcd is saved first, in the transaction's folder and for root only; it holds Secrets in plain text, unless they are encrypted at rest")
	}
	return Msg("%s", string(e.Kind))
}

// Gate is the proof wanted after an effect.
type Gate struct {
	Component ComponentID `json:"component,omitempty"`
	// Args that the new process must have, exactly, in any order; empty where they are not known (kubelet).
	Args []string `json:"args,omitempty"`
	// Probes are asked anonymously, as the kubelet asks.
	Probes []Probe `json:"probes,omitempty"`
	// Prior are the probes of what was there before, where the change moves them: an undo is gated by them.
	Prior []Probe `json:"prior,omitempty"`
	// Proofs assert the changes themselves.
	Proofs []Proof `json:"proofs,omitempty"`
	// Objects are read back and compared.
	Objects []ObjectRef `json:"objects,omitempty"`
	// Traffic is of these namespaces the one that the objects can cut: what worked before them has to work with them.
	Traffic []string `json:"traffic,omitempty"`
	// Stored is looked for in etcd.
	Stored *Stored `json:"stored,omitempty"`
	// Timeout for the whole gate.
	Timeout time.Duration `json:"timeout"`
}

// Probe is a health question as in a pod's probe.
type Probe struct {
	Name   string `json:"name"`   // liveness, readiness, startup, healthz
	Scheme string `json:"scheme"` // HTTP, HTTPS, TCP
	Host   string `json:"host"`
	Port   int    `json:"port"`
	Path   string `json:"path,omitempty"`
}

// ProofKind is how a change is asserted.
type ProofKind string

const (
	ProofAnonymous ProofKind = "anonymous request"               // GET Path without credentials answers Status
	ProofAdmin     ProofKind = "admin request"                   // GET Path with the node's admin credentials answers Status
	ProofAuditLine ProofKind = "audit line"                      // an own request without credentials for Request shows up in the log at Path
	ProofAdminLine ProofKind = "audit line of the administrator" // the same with the node's admin credentials
	ProofAuditLog  ProofKind = "audit log"                       // there is a log at Path: its policy records nothing that may be asked for
	ProofRefused   ProofKind = "access review"                   // somebody without any role is refused what Path says: "list secrets"
	ProofAdmission ProofKind = "admission plugin"                // the admission plugin Path has looked at requests
	// ProofOldToken: GET Request with a token from the file at Path, which is to be none any more, answers Status.
	ProofOldToken ProofKind = "request with a token from"
	// ProofTokenLife: a token that a pod asks an hour for is good for an hour.
	ProofTokenLife ProofKind = "life of a new token"
	// ProofPodRefused: a pod that keeps no Pod Security Standard is refused in the namespace Path.
	ProofPodRefused ProofKind = "privileged pod in the namespace"
	// ProofServing: the kubelet serves with a certificate of the cluster's CA. Its request for one is checked and approved for that.
	ProofServing ProofKind = "serving certificate"
	// ProofServed: Component serves with the certificate that lies in the file Path, at the address Request, or at its own.
	ProofServed  ProofKind = "it serves with"
	ProofConfigz ProofKind = "kubelet configz" // field Path of the kubelet's live configuration is Want
	// ProofHandshake: at the address Request, or at its own, Component agrees to TLS handshakes from version Path on, and refuses an
	// older one. Where Want has suites, those are asked instead: each that fits its key is agreed to, and no other one of TLS 1.2.
	ProofHandshake ProofKind = "handshakes from"
	// ProofGranted: the user Path, in the groups Want, is allowed what Request says: "create pods/binding".
	ProofGranted ProofKind = "access review of"
)

// Proof asserts one change on the live component.
type Proof struct {
	Control string    `json:"control"`
	Kind    ProofKind `json:"kind"`
	// Component that is asked, where its kind does not say it.
	Component ComponentID `json:"component,omitempty"`
	Path      string      `json:"path"`
	Status    int         `json:"status,omitempty"`
	// Request is the path of the GET that shows up in an audit log, or that a token is sent with; or as its kind says.
	Request string `json:"request,omitempty"`
	Want    any    `json:"want,omitempty"`
}

// NoProfiles wants a component to answer the administrator that there are no profiles of it.
func NoProfiles(control string, c ComponentID) Proof {
	return Proof{Control: control, Kind: ProofAdmin, Component: c, Path: "/debug/pprof/", Status: 404}
}

// Check is a precondition and the control, or component, that it belongs to.
type Check struct {
	Control   string      `json:"control,omitempty"`
	Component ComponentID `json:"component,omitempty"`
	// Blocks says that the plan may not be applied while this is not met.
	Blocks bool `json:"blocks"`
	Precondition
}

// Skip is a choice that is not in the plan.
type Skip struct {
	Control string  `json:"control"`
	Remedy  string  `json:"remedy,omitempty"`
	Reason  Message `json:"reason"`
	Way     Way     `json:"way,omitempty"`
	// Named says that the operator named it, so that leaving it out is worth an exit code.
	Named bool `json:"named,omitempty"`
	// Refused says that a target does not take what is asked, as it is now. Hints are what to do about that, by hand or by
	// commands.
	Refused bool     `json:"refused,omitempty"`
	Hints   []string `json:"hints,omitempty"`
}

// Way is by which word of the operator a choice that was left out is taken all the same; empty: by none.
type Way string

const (
	ByAccept  Way = "accept"  // what is unknown of it is accepted
	ByControl Way = "control" // the control is named
	ByRemedy  Way = "remedy"  // the remedy is named
)

// String is the reason with the flag that takes it all the same.
func (s Skip) String() string {
	switch s.Way {
	case ByAccept:
		return s.Reason.String() + "; accept it with --accept " + s.Control
	case ByControl:
		return s.Reason.String() + "; take it by name with --control " + s.Control
	case ByRemedy:
		return s.Reason.String() + "; take it by name with --remedy " + s.Control + "=" + s.Remedy
	}
	return s.Reason.String()
}

// Empty says that there is nothing to do.
func (p Plan) Empty() bool {
	for _, s := range p.Stages {
		if len(s.Steps) > 0 {
			return false
		}
	}
	return true
}

// Steps of all stages, in order.
func (p Plan) Steps() []Step {
	var all []Step
	for _, s := range p.Stages {
		all = append(all, s.Steps...)
	}
	return all
}

// Filters says that the plan loads or takes away our table of the packet filter.
func (p Plan) Filters() bool {
	return slices.ContainsFunc(p.Stages, func(st Stage) bool { _, ok := st.Effect(PacketFilter); return ok })
}

// Blocking are the checks that forbid applying the plan.
func (p Plan) Blocking() []Check {
	var out []Check
	for _, c := range p.Preflight {
		if c.Blocks && c.State != Met {
			out = append(out, c)
		}
	}
	return out
}

// Controls that have a part in the plan, in its order.
func (p Plan) Controls() []string {
	var out []string
	for _, s := range p.Steps() {
		out = union(out, s.Controls())
	}
	return out
}
