package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// readBy are the other control planes by the digest of the encryption configuration that their API servers have read; the error says
// of which of them it is not known.
func (a *Applier) readBy(ctx context.Context) (map[string][]string, error) {
	others, err := a.others(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	var unknown []error
	for _, m := range others {
		sum, err := a.Members.Encryption(ctx, m)
		if err != nil {
			unknown = append(unknown, fmt.Errorf("%s: %w", m.Node, err))
			continue
		}
		out[sum] = append(out[sum], m.Node)
	}
	return out, errors.Join(unknown...)
}

// apart says why a stage would leave a control plane unable to read what another one writes, or would write anew what one of them
// goes on to write otherwise. Each of them has to have read what is here before the stage, or what it leaves here.
func (a *Applier) apart(ctx context.Context, p harden.Plan, st harden.Stage) error {
	was, now, ok := harden.KeyFile(st.Steps)
	if !ok || p.Target.Offline {
		return nil
	}
	found, err := a.readBy(ctx)
	for sum, nodes := range found {
		if sum != was && sum != now {
			return fmt.Errorf("%s encrypts with another configuration than this node has, or will have", strings.Join(nodes, ", "))
		}
	}
	behind := slices.Sorted(slices.Values(found[was]))
	switch {
	case err != nil && p.Undoes != "" && !st.NoReturn:
		return nil // an undo works without the API; what is in etcd is looked at all the same
	case err != nil:
		return fmt.Errorf("what the other control planes encrypt with is not known: %w", err)
	case st.WritesAtOnce() && len(behind) > 0:
		return fmt.Errorf("%s has not read the key that would be written with here", strings.Join(behind, ", "))
	case !st.NoReturn:
		return nil
	}
	var planned []string
	if st.Sharing != nil {
		planned = slices.Sorted(slices.Values(st.Sharing.Behind))
	}
	if !slices.Equal(behind, planned) {
		return fmt.Errorf("of the other control planes %s would have to follow, and the plan says %s: plan again", listed(behind), listed(planned))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// keysAgree is apart once more, right before the stage: another control plane may have had its turn meanwhile.
func (r *run) keysAgree(ctx context.Context, st harden.Stage) error {
	if !r.live() || r.resumed && st.Sharing == nil {
		return nil
	}
	return r.apart(ctx, r.plan, st)
}

// beforeRestart and afterRestart are keysAgree around the restart of an API server: of two that restart at once, at least one sees the
// other.
func (r *run) beforeRestart(ctx context.Context, st harden.Stage, c harden.Component) error {
	if c.ID != harden.APIServer {
		return nil
	}
	return r.keysAgree(ctx, st)
}

func (r *run) afterRestart(ctx context.Context, st harden.Stage, c harden.Component) error {
	if c.ID != harden.APIServer {
		return nil
	}
	err := r.retried(ctx, func(ctx context.Context) error { return r.keysAgree(ctx, st) })
	return wrapUnlessInterrupted(err, "asking the other control planes")
}

var errNotAll = errors.New("not all of them write as this node does")

// allWriteSo wants all control planes to have read what the plan leaves here.
func (r *run) allWriteSo(ctx context.Context) error {
	_, now, ok := harden.KeyFile(r.plan.Steps())
	if !ok {
		return nil
	}
	found, err := r.readBy(ctx)
	if err != nil {
		return err
	}
	for sum, nodes := range found {
		if sum != now {
			return fmt.Errorf("%w: %s", errNotAll, strings.Join(nodes, ", "))
		}
	}
	return nil
}

// writingStill are the control planes that have read what a stage which is undone has left here. Any other one that has not read what
// the stage found here is an error: what it can read is not known.
func (r *run) writingStill(ctx context.Context, st harden.Stage) ([]string, error) {
	was, now, ok := harden.KeyFile(st.Steps)
	if !ok {
		return nil, nil
	}
	found, err := r.readBy(ctx)
	if err != nil {
		return nil, nil // what cannot be written anew is owed
	}
	for sum, nodes := range found {
		if sum != was && sum != now {
			return nil, fmt.Errorf("%s encrypts with another configuration, and may not be able to read it", strings.Join(nodes, ", "))
		}
	}
	return slices.Sorted(slices.Values(found[now])), nil
}

// keysNeeded says why keys that were made here must not go with an undo: others have gone on with them. An open transaction holds back
// what comes after it on this node only. Where neither the others nor etcd can be asked, a run that has just failed goes back all the
// same: nobody has had the time.
func (r *run) keysNeeded(ctx context.Context, last int) error {
	if !r.live() || r.plan.Undoes != "" {
		return nil
	}
	for _, st := range r.plan.Stages[:last+1] {
		needs := st.KeysNeeded()
		was, now, ok := harden.KeyFile(st.Steps)
		if needs == nil || !ok || st.Sharing == nil || !r.holds(st, now) {
			continue
		}
		found, errOthers := r.readBy(ctx)
		for sum, nodes := range found {
			if sum != was && sum != now {
				return fmt.Errorf("%s went on with the key that was made here, and the undo would take it away", strings.Join(nodes, ", "))
			}
		}
		_, wrong, errEtcd := r.count(ctx, *needs)
		switch {
		case errEtcd == nil && wrong > 0:
			return fmt.Errorf("it does not hold that %s: %d are not so, and the undo would take the key away", needs.Words(), wrong)
		case errEtcd != nil && errOthers != nil && r.resumed:
			return fmt.Errorf("whether others went on with the key that was made here is not known: %w", errors.Join(errOthers, errEtcd))
		}
	}
	return nil
}

// holds says that the encryption configuration lies here as the stage leaves it.
func (r *run) holds(st harden.Stage, now string) bool {
	for _, s := range st.KeysMade() {
		if is, err := r.Node.State(s.Path); err == nil && is.Digest() == now {
			return true
		}
	}
	return false
}

// keepKeys leaves a transaction open whose undo would take away what others need.
func (r *run) keepKeys(why error) harden.Result {
	res := harden.Result{
		Transaction: r.tx.ID(), Script: r.tx.Script(), Outcome: harden.OutcomeUnsettled, Message: harden.Msg("nothing was undone: %s", oneLine(why)),
		Hints: []string{"kubectl-harden recover --finish"},
	}
	r.hear(harden.Event{Kind: harden.EventFinished, Outcome: res.Outcome, Message: res.Message})
	return res
}
