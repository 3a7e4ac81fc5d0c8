package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// objectEntry is the journal of one mutation of an object: written before it, and again when it is done, or when it is known
// not to have happened.
type objectEntry struct {
	Step            string `json:"step"`
	Done            bool   `json:"done"`
	Failed          bool   `json:"failed,omitempty"`
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
		if s.Kind != harden.StepObject {
			continue
		}
		if err := r.readBack(ctx, s.ID, *s.Object, s.After); err != nil {
			return err
		}
		r.tell(harden.Event{Kind: harden.EventPassed, Target: s.ID, Message: harden.Msg("%s is as it was shown", s.ID)})
	}
	return nil
}

// putObject makes, replaces or deletes an object, only if it still is what the plan was made for. A request that has been
// sent is not given up half-way: what became of it would not be known.
func (r *run) putObject(ctx context.Context, s harden.Step) error {
	if r.Cluster == nil {
		return fmt.Errorf("writing %s: the cluster's API is not there", s.ID)
	}
	ctx = context.WithoutCancel(ctx)
	if r.resumed {
		done, err := r.doneBefore(ctx, s)
		if done || err != nil {
			return err
		}
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
		if r.untouched(ctx, s, err) {
			err = errors.Join(err, r.tx.Log(kindObject, objectEntry{Step: s.ID, Failed: true}))
		}
		return fmt.Errorf("writing %s: %w", s.ID, err)
	}
	if err := r.tx.Log(kindObject, done); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// doneBefore says that the process that died had written the object already.
func (r *run) doneBefore(ctx context.Context, s harden.Step) (bool, error) {
	touched, err := r.touchedObjects()
	if err != nil {
		return false, err
	}
	if _, ok := touched[s.ID]; !ok {
		return false, nil
	}
	now, uid, version, err := r.Cluster.Object(ctx, *s.Object)
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", s.ID, err)
	}
	if !now.Equal(s.After) {
		return false, nil
	}
	entry := objectEntry{Step: s.ID, Done: true, UID: uid, ResourceVersion: version}
	if err := r.tx.Log(kindObject, entry); err != nil {
		return false, fmt.Errorf("writing the journal: %w", err)
	}
	return true, nil
}

// requestLasts is how long an API server works on a request at most (its --request-timeout), and some more: a write that nobody
// has answered can still happen so long.
const requestLasts = 65 * time.Second

// untouched says that a write that failed has not happened: the API has answered that it did not do it, or holds something else
// than the write would have left when it cannot be at it any more.
func (r *run) untouched(ctx context.Context, s harden.Step, err error) bool {
	var answer interface{ Answered() bool }
	if errors.As(err, &answer) && answer.Answered() {
		return true
	}
	for end := r.Clock.Now().Add(requestLasts); ; {
		now, _, _, err := r.Cluster.Object(ctx, *s.Object)
		if err != nil || now.Equal(s.After) {
			return false
		}
		if !r.Clock.Now().Before(end) {
			return true
		}
		if r.Clock.Sleep(ctx, pollEvery) != nil {
			return false
		}
	}
}

func (r *run) readBack(ctx context.Context, id string, ref harden.ObjectRef, want harden.State) error {
	now, _, _, err := r.Cluster.Object(ctx, ref)
	if err != nil {
		if err := interrupted(ctx); err != nil {
			return err
		}
		return fmt.Errorf("reading %s back: %w", id, err)
	}
	if !now.Equal(want) {
		return fmt.Errorf("reading %s back: the server holds something else than was shown", id)
	}
	return nil
}

// revertObjects puts back every object that the journal says may have been touched, last one first. What cannot be asked for
// now is owed.
func (r *run) revertObjects(ctx context.Context, st harden.Stage) error {
	touched, err := r.touchedObjects()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range slices.Backward(st.Steps) {
		entry, ok := touched[s.ID]
		if s.Kind != harden.StepObject || !ok {
			continue
		}
		kept, err := r.revertObject(ctx, s, entry)
		switch {
		case err == nil:
			r.tell(harden.Event{Kind: harden.EventReverted, Target: s.ID, Message: harden.Msg("%s is as before", s.ID)})
		case kept:
			errs = append(errs, err)
			r.tell(harden.Event{Kind: harden.EventFailed, Target: s.ID, Message: harden.Msg("%s", oneLine(err))})
		default:
			r.owed = append(r.owed, err)
			r.tell(harden.Event{Kind: harden.EventOwed, Target: s.ID, Message: harden.Msg("%s", oneLine(err))})
		}
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
		if o.Failed {
			delete(out, o.Step)
		} else {
			out[o.Step] = o
		}
	}
	return out, nil
}

// revertObject makes an object what it was. kept says that it is somebody else's now, so that asking again does not help.
func (r *run) revertObject(ctx context.Context, s harden.Step, entry objectEntry) (kept bool, err error) {
	fail := func(kept bool, err error) (bool, error) { return kept, fmt.Errorf("putting %s back: %w", s.ID, err) }
	if r.Cluster == nil {
		return fail(false, errors.New("the cluster's API is not there"))
	}
	now, uid, version, err := r.Cluster.Object(ctx, *s.Object)
	if err != nil {
		return fail(false, err)
	}
	ours := s.UID
	if !s.Before.Exists {
		ours = entry.UID // unknown where the process died before it was told
	}
	// The server may have kept our write otherwise than it was shown.
	asWeLeftIt := now.Exists && entry.Done && entry.UID == uid && entry.ResourceVersion == version
	switch {
	case now.Equal(s.Before):
		return false, nil
	case !now.Equal(s.After) && !asWeLeftIt:
		return fail(true, errors.New("somebody changed it since"))
	case now.Exists && ours != "" && ours != uid:
		return fail(true, errors.New("it is another object of that name now"))
	case !s.Before.Exists:
		err = r.Cluster.Delete(ctx, *s.Object, uid, version)
	case !s.After.Exists:
		_, _, err = r.Cluster.Create(ctx, *s.Object, s.Before.Data)
	default:
		_, err = r.Cluster.Replace(ctx, *s.Object, s.Before.Data, uid, version)
	}
	if err == nil {
		err = r.readBack(ctx, s.ID, *s.Object, s.Before)
	}
	if err != nil {
		return fail(false, err)
	}
	return false, nil
}
