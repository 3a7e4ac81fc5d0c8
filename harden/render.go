package harden

import (
	"fmt"
	"reflect"
	"slices"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Render applies an intent that needs no container to the state of its home: a pure function.
func (i Intent) Render(s State) (State, error) { return i.render(s, "") }

// render applies an intent to the state of its home: a pure function State -> State.
func (i Intent) render(s State, container string) (State, error) {
	if i.edits() {
		return i.renderConfigMap(s)
	}
	switch i.Kind {
	case IntentMakeDir:
		if !s.Exists {
			return State{Exists: true, Dir: true, Mode: i.Mode}, nil
		}
		if !s.Dir {
			return s, fmt.Errorf("%s: it is a file, and a directory is needed there", i.Path)
		}
		return s, nil
	case IntentWriteFile:
		if !s.Exists {
			return State{Exists: true, Data: i.Data, Mode: i.Mode}, nil
		}
		s.Data, s.Mode = i.Data, i.Mode
		return s, nil
	case IntentPutObject:
		return State{Exists: true, Data: i.Data}, nil
	case IntentNewKey, IntentFirstKey, IntentDropKey:
		return i.renderEncryption(s)
	case IntentAdoptKeys:
		return i.renderAdopted(s)
	case IntentRemoveFile:
		if s.Dir {
			return s, fmt.Errorf("%s: it is a directory, and only a file would be removed", i.Path)
		}
		return State{}, nil
	case IntentRenew:
		return i.renderRenewal(s)
	case IntentSetMode, IntentSetOwner:
		switch {
		case !s.Exists:
			return s, fmt.Errorf("%s: it does not exist", i.Path)
		case s.Dir != i.Dir:
			return s, fmt.Errorf("%s: it is not the kind of file that it was", i.Path)
		case i.Kind == IntentSetMode:
			s.Mode = i.Mode
		case i.Owner == nil:
			return s, fmt.Errorf("%s: who it should belong to is not said", i.Path)
		default:
			s.UID, s.GID = i.Owner.UID, i.Owner.GID
		}
		return s, nil
	}
	if s.Dir {
		return s, fmt.Errorf("%s: it is a directory, and a file is needed there", i.Path)
	}
	data, err := i.edit(s.Data, container)
	if err != nil {
		return s, err
	}
	if !s.Exists {
		if i.Kind != IntentSysctl && i.Kind != IntentSetEnvFlag {
			return s, fmt.Errorf("%s: it does not exist", i.Path)
		}
		s = State{Exists: true, Mode: 0o644}
	}
	s.Data = data
	return s, nil
}

func (i Intent) edit(data []byte, container string) ([]byte, error) {
	text, _ := i.Value.(string)
	switch i.Kind {
	case IntentSetFlag:
		return patches.SetFlag(data, container, i.Key, text)
	case IntentRemoveFlag:
		return patches.RemoveFlag(data, container, i.Key)
	case IntentMergeList:
		return patches.MergeList(data, container, i.Key, i.Add, i.Remove)
	case IntentMount:
		return patches.AddMount(data, container, *i.Mount)
	case IntentProbeHost:
		return patches.SetProbeHost(data, container, text)
	case IntentAddItem:
		path, err := patches.ParsePath(i.Key)
		if err != nil {
			return nil, err
		}
		return patches.Insert(data, path, i.Value)
	case IntentTCPProbes:
		return patches.SetProbeTCP(data, container)
	case IntentAnnotate:
		return patches.SetAnnotation(data, i.Key, text)
	case IntentSetField:
		path, err := patches.ParsePath(i.Key)
		if err != nil {
			return nil, err
		}
		return patches.Set(data, path, i.Value)
	case IntentSetEnvFlag:
		return patches.SetEnvFlag(data, i.Variable, i.Key, text)
	case IntentRemoveEnvFlag:
		return patches.RemoveEnvFlag(data, i.Variable, i.Key)
	case IntentSysctl:
		return patches.SetKeyValue(data, i.Key, text)
	}
	return nil, fmt.Errorf("rendering an intent: unknown kind %q", i.Kind)
}

// wish is one intent of a target with all the controls that ask for it.
type wish struct {
	intent   Intent
	controls []string
}

// ConflictError is two controls that ask for different things of one slot.
type ConflictError struct{ Slot, First, Second string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("planning: %s: %s and %s ask for different things", e.Slot, e.First, e.Second)
}

// wishes joins equal intents and refuses conflicting ones, keeping the order.
func wishes(asks []Ask) ([]wish, error) {
	var out []wish
	for _, a := range asks {
		slot := a.Intent.slot()
		joined := false
		for k := range out {
			if out[k].intent.slot() != slot {
				continue
			}
			if !out[k].intent.agrees(a.Intent) {
				return nil, &ConflictError{slot, out[k].controls[0], a.Control}
			}
			if reflect.DeepEqual(out[k].intent, a.Intent) {
				if !slices.Contains(out[k].controls, a.Control) {
					out[k].controls = append(out[k].controls, a.Control)
				}
				joined = true
				break
			}
		}
		if !joined {
			out = append(out, wish{a.Intent, []string{a.Control}})
		}
	}
	return out, nil
}

// renderAll folds asks over a state and attributes the lines of the difference. What the state does not take is told all at once, as
// refusals.
func renderAll(before State, asks []Ask, container string) (State, []Mark, error) {
	ws, err := wishes(asks)
	if err != nil {
		return before, nil, err
	}
	s := before
	tracker := newAttribution(before.Data)
	var not refusals
	for _, w := range ws {
		next, err := w.intent.render(s, container)
		if err != nil {
			not = append(not, refusal{controls: w.controls, err: err})
			continue
		}
		if err := tracker.advance(s.Data, next.Data, w.controls); err != nil {
			return before, nil, err
		}
		s = next
	}
	if not != nil {
		return before, nil, not
	}
	return s, tracker.marks(), nil
}
