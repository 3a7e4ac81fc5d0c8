package harden

import "time"

// EventKind is one kind of progress of a transaction. The journal holds events; every voice reads them there.
type EventKind string

const (
	EventBegun    EventKind = "begun"    // originals saved, restore.sh written
	EventArmed    EventKind = "armed"    // the dead man's switch is armed, for at most Timeout
	EventWritten  EventKind = "written"  // a step's target is as planned
	EventAwaiting EventKind = "awaiting" // something is awaited, for at most Timeout
	EventPassed   EventKind = "passed"   // a gate, or part of it, is proven
	EventUnproven EventKind = "unproven" // a part of a gate that could not be asked; Message says why
	EventFailed   EventKind = "failed"   // a step, effect or gate failed; Message says how
	EventNoReturn EventKind = "beyond"   // a stage's point of no simple return is passed: its own way back is used from now on
	EventUndoing  EventKind = "undoing"  // the undo has begun
	EventReverted EventKind = "reverted" // a step's target is as before
	EventKept     EventKind = "kept"     // a directory that is to go, and holds what others put there
	EventOwed     EventKind = "owed"     // an object that could not be put back yet
	EventSoaking  EventKind = "soaking"  // watching health for Timeout
	EventWaiting  EventKind = "waiting"  // for confirm, for Timeout; then it is undone
	EventFinished EventKind = "finished" // Outcome says how
)

// Event is one line of progress.
type Event struct {
	Time      time.Time     `json:"time"`
	Kind      EventKind     `json:"kind"`
	Stage     int           `json:"stage,omitempty"`
	Target    string        `json:"target,omitempty"` // a step's id; of what has begun, its restore.sh
	Component ComponentID   `json:"component,omitempty"`
	Message   Message       `json:"message"`
	Timeout   time.Duration `json:"timeout,omitempty"`
	Outcome   Outcome       `json:"outcome,omitempty"`
}

// Outcome is how a transaction ended.
type Outcome string

const (
	OutcomeApplied    Outcome = "applied"
	OutcomeWaiting    Outcome = "waiting"     // every gate has passed; undone by itself unless it is confirmed in time
	OutcomeRolledBack Outcome = "rolled back" // a gate failed, or it was interrupted: everything is as before
	OutcomeMixed      Outcome = "mixed"       // the undo failed too: restore.sh
	OutcomeOwed       Outcome = "owed"        // files are back, objects are owed
	OutcomeUnsettled  Outcome = "unsettled"   // interrupted: recover
	OutcomeRefused    Outcome = "refused"     // preflight or rehearsal; nothing was changed
	OutcomeLocked     Outcome = "locked"      // another run holds the lock; nothing was changed
)

// Result is what became of a plan.
type Result struct {
	Transaction string   `json:"transaction,omitempty"`
	Outcome     Outcome  `json:"outcome"`
	Message     Message  `json:"message"`
	Hints       []string `json:"hints,omitempty"`  // commands that can be pasted
	Script      string   `json:"script,omitempty"` // path of restore.sh
	// Drift is set when a target is no longer what the plan was made for.
	Drift *Drift `json:"drift,omitempty"`
	// Targets say what state each target, and each component that was to restart, is in. Set when the undo failed too.
	Targets []TargetState `json:"targets,omitempty"`
}

// TargetIs is what a target was found to be after an undo that failed.
type TargetIs string

const (
	TargetBefore    TargetIs = "as before"
	TargetPlanned   TargetIs = "as planned"
	TargetOtherwise TargetIs = "unlike both"
	TargetUnknown   TargetIs = "not known"
)

// TargetState is what state a target is in: a step's, or a component.
type TargetState struct {
	Target string   `json:"target"`
	Is     TargetIs `json:"is"`
	Why    Message  `json:"why,omitzero"`
}

// Drift is the three-way picture of a target that changed since the plan was made.
type Drift struct {
	Target  string `json:"target"`
	Planned State  `json:"planned"` // what the plan was made for
	After   State  `json:"after"`   // what it would write
	Now     State  `json:"now"`     // what is there
	// Secret: the states are without their contents.
	Secret bool `json:"secret,omitempty"`
}

// TransactionSummary is a line of the history.
type TransactionSummary struct {
	ID       string    `json:"id"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Scope    Scope     `json:"scope"`
	Who      string    `json:"who"`
	Reason   string    `json:"reason,omitempty"`
	Controls []string  `json:"controls"`
	Targets  []string  `json:"targets"`
	Outcome  Outcome   `json:"outcome"`
	Undoes   string    `json:"undoes,omitempty"`
	UndoneBy []string  `json:"undoneBy,omitempty"`
	// UndoneControls are those whose part was undone by itself.
	UndoneControls []string `json:"undoneControls,omitempty"`
	// Keeps says that it is of kubeadm's own configuration.
	Keeps bool `json:"keeps,omitempty"`
	// Restored says that restore.sh has brought everything back after it was settled, or could not be settled any more.
	Restored bool   `json:"restored,omitempty"`
	Script   string `json:"script"`
	Damage   string `json:"damage,omitempty"` // what cannot be read of it any more, and why
	// ByHand says that only restore.sh can undo it.
	ByHand bool `json:"byHand,omitempty"`
}

// State is how a transaction stands today, which is more than how it ended.
func (t TransactionSummary) State() Message {
	switch {
	case t.ByHand && t.Restored:
		return Msg("undone by hand")
	case t.Damage != "":
		return Msg("damaged")
	case t.Outcome != OutcomeApplied:
		return Msg("%s", string(t.Outcome))
	case t.Undoes != "" && len(t.UndoneBy) > 0:
		return Msg("undo, redone")
	case t.Undoes != "":
		return Msg("undo")
	case len(t.UndoneBy) > 0:
		return Msg("undone")
	case t.Restored:
		return Msg("undone by hand")
	case len(t.UndoneControls) > 0:
		return Msg("partly undone")
	}
	return Msg("applied")
}

// Where is what a transaction acted on, in a word.
func (t TransactionSummary) Where() Message {
	if t.Keeps {
		return Msg("kubeadm")
	}
	return Msg("%s", string(t.Scope))
}
