package harden

import "slices"

// Area is a group of controls, in walking order.
type Area struct {
	ID       string // "apiserver"
	Title    string // "API server"
	About    Message
	Controls []Control
}

// Control is one recommendation, as data.
type Control struct {
	ID       string // "apiserver-profiling": lower case, area first, stable
	Title    string // what is right: "Profiling is off"
	Why      Message
	Refs     Refs
	Severity Severity
	// Versions it holds for, judged by the oldest component involved; elsewhere it is NotApplicable.
	Versions VersionRange
	// Component and Flags say from which command line the verdict is read. Where the running process, its manifest and
	// kubeadm's configuration disagree about one of these flags, the engine says so in the evidence. Where the evidence names a file that
	// the component reads only when it starts, and that was changed since, the engine changes the verdict and has the component restart.
	Component ComponentID
	Flags     []string
	// Fields of the kubelet's configuration from which the verdict is read. The engine adds what the running kubelet and the cluster's
	// ConfigMap say about them, and where they disagree.
	Fields []string
	// Needs are the facts without which the engine sets Unknown and does not call Assess.
	Needs []Need
	// Applies is nil where the control applies wherever its facts are; the message says why it does not.
	Applies func(*Facts) (bool, Message)
	// Assess is pure. It returns Pass, Fail, Manual or NotApplicable; Unknown and Waived are the engine's.
	Assess func(*Facts) Verdict
	// Ends are what the verdict goes by in time, where it does; nil else.
	Ends func(*Facts) []End
	// Remedies in order of recommendation; the first one that holds for the version is the default.
	Remedies []Remedy
}

// Refs are where a recommendation comes from.
type Refs struct {
	CIS       []string `json:"cis,omitempty"`       // the newest of Benchmarks; AskedBy has what the others ask
	FormerCIS []string `json:"formerCIS,omitempty"` // of older ones, where the newest has none
	STIG      []string `json:"stig,omitempty"`      // DISA Kubernetes STIG
	NSA       []string `json:"nsa,omitempty"`       // NSA/CISA Kubernetes Hardening Guide 1.2, topic
	Seed      []string `json:"seed,omitempty"`      // the area of the document that the product grew from
	Docs      []string `json:"docs,omitempty"`      // kubernetes.io pages, KEPs
}

// Severity orders findings.
type Severity string

const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Status is a control's verdict in one word.
type Status string

const (
	StatusPass          Status = "pass"
	StatusFail          Status = "fail"
	StatusManual        Status = "manual"  // a person must decide
	StatusUnknown       Status = "unknown" // a needed fact is missing
	StatusNotApplicable Status = "notApplicable"
	StatusWaived        Status = "waived"
)

// Statuses in the order in which they are tallied.
var Statuses = []Status{StatusFail, StatusManual, StatusUnknown, StatusPass, StatusNotApplicable, StatusWaived}

// Verdict is what a control's Assess returns.
type Verdict struct {
	Status   Status
	Message  Message
	Evidence []Evidence
	Hints    []string
}

// ByHand adds commands that can be pasted to settle it by hand.
func (v Verdict) ByHand(commands ...string) Verdict {
	v.Hints = append(slices.Clip(v.Hints), commands...)
	return v
}

// Evidence is one thing seen, and where: a running process, a file with its line, an object.
type Evidence struct {
	Source string `json:"source"`
	Value  string `json:"value"`
}

// Passed, Failed, NeedsPerson and NotFor make verdicts.
func Passed(m Message, e ...Evidence) Verdict      { return verdictOf(StatusPass, m, e) }
func Failed(m Message, e ...Evidence) Verdict      { return verdictOf(StatusFail, m, e) }
func NeedsPerson(m Message, e ...Evidence) Verdict { return verdictOf(StatusManual, m, e) }
func NotFor(m Message, e ...Evidence) Verdict      { return verdictOf(StatusNotApplicable, m, e) }

func verdictOf(s Status, m Message, e []Evidence) Verdict {
	return Verdict{Status: s, Message: m, Evidence: e}
}

// Risk says what a remedy can hurt.
type Risk string

const (
	RiskNode      Risk = "node"      // a component of this node restarts
	RiskWorkloads Risk = "workloads" // workloads or their users may be cut off
	RiskLockOut   Risk = "lock-out"  // operators may lose access
	RiskOneWay    Risk = "one-way"   // undone by its own way only
)

// Remedy is one way to fix a failing control.
type Remedy struct {
	ID     string // unique within the control: "health-endpoints-only"
	Title  Message
	Impact Message   // one line: what restarts, what changes for whom
	Breaks []Message // what it may break, and how that shows
	Risk   Risk
	// Versions it holds for.
	Versions VersionRange
	// NodeOnly remedies are never rendered into kubeadm-config or kubelet-config.
	NodeOnly bool
	// Literal remedies follow the benchmark's letter where a safer form exists: chosen only by name.
	Literal bool
	Options []Option
	// Shares names a set of options that remedies of several controls have in common: what is set on one of them holds
	// for all that are chosen, and two that disagree are an error. Empty: the options are the remedy's own.
	Shares string
	// Preconditions is nil where there is nothing to check. Values have every option set that does not keep.
	Preconditions func(*Facts, Values) []Precondition
	// Intents renders the remedy; it is pure. An error is a sentence for the operator.
	Intents func(*Facts, Values) ([]Intent, error)
	// Proofs are assertions of the change itself, asked after the component's own gate. May be nil.
	Proofs func(*Facts, Values) []Proof
	// Next says what is left to do when a remedy that takes several runs has been applied; nothing after the last one. May be nil.
	Next func(*Facts, Values) Message
}

// OptionKind says how an option is asked for and checked.
type OptionKind string

const (
	OptionText   OptionKind = "text"
	OptionNumber OptionKind = "number"
	OptionSwitch OptionKind = "switch" // "true" or "false"
	OptionOneOf  OptionKind = "one of"
	OptionList   OptionKind = "list" // comma separated
)

// Option is a value that the operator may set.
type Option struct {
	Name    string // "maxage"
	Title   Message
	Kind    OptionKind
	Default string
	// Keeps says that what is in force and right is kept where the option is not set: the remedy has no value of it then, and the
	// default is for where nothing is in force.
	Keeps bool
	// Found is the value that the facts, and the options before this one, give where it is not set; the plan says it, so that it is
	// applied as it was seen. May be nil. Whatever a remedy takes from the cluster for a node has to come by here: when a node's plan
	// is applied, the cluster is not read.
	Found   func(*Facts, Values) string
	Choices []string // for OptionOneOf
	Unit    string   // "days", "MB"; for people
	// Check refuses a value with a sentence; nil accepts what the kind accepts.
	Check func(string) error
}

// Values are a remedy's option values by name.
type Values map[string]string

// PreconditionState is Met, Unmet or Unknown.
type PreconditionState string

const (
	Met                 PreconditionState = "met"
	Unmet               PreconditionState = "unmet"
	PreconditionUnknown PreconditionState = "unknown"
)

// Precondition is something that must hold before a remedy is safe. Unmet blocks; unknown blocks risky remedies until
// the operator accepts it by the control's name.
type Precondition struct {
	ID       string            `json:"id"`
	Title    Message           `json:"title"`
	State    PreconditionState `json:"state"`
	Message  Message           `json:"message,omitzero"`
	Evidence []Evidence        `json:"evidence,omitempty"`
	// Hints are commands that can be pasted to settle it by hand.
	Hints []string `json:"hints,omitempty"`
	// Needed says that a component or its users are lost where it does not hold: unknown, it blocks remedies of the node's own risk too.
	Needed bool `json:"needed,omitempty"`
}

// Finding is a control's verdict on a node, by the engine.
type Finding struct {
	Control  string     `json:"control"`
	Area     string     `json:"area"`
	Status   Status     `json:"status"`
	Severity Severity   `json:"severity"`
	Title    string     `json:"title"`
	Message  Message    `json:"message"`
	Evidence []Evidence `json:"evidence"`
	Refs     Refs       `json:"refs"`
	// Hints are commands that can be pasted to settle it by hand.
	Hints []string `json:"hints,omitempty"`
	// Benchmarks are what each CIS benchmark asks of it, newest first.
	Benchmarks []Recommendation `json:"benchmarks,omitempty"`
	Remedies   []string         `json:"remedies"` // ids that hold for this version
}

// Choice is which remedy and options the operator took for a control.
type Choice struct {
	Control string `json:"control"`
	Remedy  string `json:"remedy,omitempty"` // empty: the default
	Options Values `json:"options,omitempty"`
	// Accept takes unknown preconditions on the operator's word.
	Accept bool `json:"accept,omitempty"`
	// Named says that the operator named this control or remedy, as opposed to taking all.
	Named bool `json:"-"`
}
