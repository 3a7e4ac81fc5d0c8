package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"kubectl-harden.io/kubectl-harden/harden"
)

// objectEntry is the journal of one mutation of an object: written before it, and again when it is done.
type objectEntry struct {
	Step            string `json:"step"`
	Done            bool   `json:"done"`
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

func (r *run) putObjects(ctx context.Context, st harden.Stage) error {
	for _, s := range st.Steps {
		if s.Kind != harden.StepObject {
			continue
		}
		if err := interrupted(ctx); err != nil {
			return err
		}
		if err := r.putObject(ctx, s); err != nil {
			return err
		}
		r.tell(harden.Event{Kind: harden.EventWritten, Target: s.ID, Message: written(s)})
	}
	for _, s := range st.Steps {
		if s.Kind == harden.StepObject {
			if err := r.readBack(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// putObject makes, replaces or deletes an object, only if it still is what the plan was made for.
func (r *run) putObject(ctx context.Context, s harden.Step) error {
	if r.Cluster == nil {
		return fmt.Errorf("writing %s: the cluster's API is not there", s.ID)
	}
	if err := r.tx.Log(kindObject, objectEntry{Step: s.ID}); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	done := objectEntry{Step: s.ID, Done: true, UID: s.UID}
	var err error
	switch {
	case !s.Before.Exists:
		done.UID, done.ResourceVersion, err = r.Cluster.Create(ctx, *s.Object, s.After.Data)
	case !s.After.Exists:
		err = r.Cluster.Delete(ctx, *s.Object, s.UID, s.ResourceVersion)
	default:
		done.ResourceVersion, err = r.Cluster.Replace(ctx, *s.Object, s.After.Data, s.UID, s.ResourceVersion)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.ID, err)
	}
	if err := r.tx.Log(kindObject, done); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

func (r *run) readBack(ctx context.Context, s harden.Step) error {
	now, _, _, err := r.Cluster.Object(ctx, *s.Object)
	if err != nil {
		return fmt.Errorf("reading %s back: %w", s.ID, err)
	}
	if !now.Equal(s.After) {
		return fmt.Errorf("reading %s back: the server holds something else than was shown", s.ID)
	}
	return nil
}

// owedError is an object that could not be put back because the API could not be asked.
type owedError struct {
	step string
	err  error
}

func (e *owedError) Error() string { return fmt.Sprintf("putting %s back: %v", e.step, e.err) }
func (e *owedError) Unwrap() error { return e.err }

// revertObjects puts back every object that the journal says may have been touched, last one first.
func (r *run) revertObjects(ctx context.Context, st harden.Stage) error {
	touched, err := r.touchedObjects()
	if err != nil {
		return err
	}
	var errs []error
	for k := len(st.Steps) - 1; k >= 0; k-- {
		s := st.Steps[k]
		entry, ok := touched[s.ID]
		if s.Kind != harden.StepObject || !ok {
			continue
		}
		if err := r.revertObject(ctx, s, entry); err != nil {
			errs = append(errs, err)
			r.tell(harden.Event{Kind: harden.EventOwed, Target: s.ID, Message: harden.Msg("%s", err.Error())})
			continue
		}
		r.tell(harden.Event{Kind: harden.EventReverted, Target: s.ID, Message: harden.Msg("%s is as before", s.ID)})
	}
	return errors.Join(errs...)
}

func (r *run) touchedObjects() (map[string]objectEntry, error) {
	entries, err := r.tx.Entries()
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	out := map[string]objectEntry{}
	for _, e := range entries {
		if e.Kind != kindObject {
			continue
		}
		var o objectEntry
		if err := json.Unmarshal(e.Data, &o); err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		out[o.Step] = o
	}
	return out, nil
}

func (r *run) revertObject(ctx context.Context, s harden.Step, entry objectEntry) error {
	if r.Cluster == nil {
		return &owedError{s.ID, errors.New("the cluster's API is not there")}
	}
	now, uid, version, err := r.Cluster.Object(ctx, *s.Object)
	if err != nil {
		return &owedError{s.ID, err}
	}
	switch {
	case now.Equal(s.Before):
		return nil
	case !now.Equal(s.After):
		return fmt.Errorf("putting %s back: somebody changed it since", s.ID)
	case entry.Done && s.Before.Exists == s.After.Exists && entry.UID != uid:
		return fmt.Errorf("putting %s back: it is another object of that name now", s.ID)
	case !s.Before.Exists:
		err = r.Cluster.Delete(ctx, *s.Object, uid, version)
	case !s.After.Exists:
		_, _, err = r.Cluster.Create(ctx, *s.Object, s.Before.Data)
	default:
		_, err = r.Cluster.Replace(ctx, *s.Object, s.Before.Data, uid, version)
	}
	if err != nil {
		return &owedError{s.ID, err}
	}
	return nil
}
