package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Filter is our own table of the node's packet filter, and the unit that loads it.
type Filter interface {
	// Try loads rules in a network of its own, in which there is nothing else, and says what is wrong with them.
	Try(ctx context.Context, rules []byte) error
	// Load lets the unit load its rules, as it will at boot. The table before is replaced in one step.
	Load(ctx context.Context) error
	// Drop stops the unit and takes the table away; what is not there is no error.
	Drop(ctx context.Context) error
	// Differs says in what the table in force is not the one that these rules make; nil: that there is one. "" for nothing.
	Differs(ctx context.Context, rules []byte) (string, error)
}

// Logins are how people are on the node.
type Logins interface {
	// Remote are the remote logins that are open now, each by both ends of its connection.
	Remote() ([]string, error)
	// Own is the one by which this process was started; remote is false at a console.
	Own() (connection string, remote bool, err error)
}

var errNoFilter = errors.New("no table of the packet filter can be loaded here")

// loginsEntry is the journal of the logins that prove nothing of a table, as they were open when it was loaded.
type loginsEntry struct {
	Connections []string `json:"connections"`
}

// tableProof is what is known of a table that was loaded, or taken away.
type tableProof struct {
	rules []byte // nil: there is to be none
	ways  []way  // that worked before it, and have to work with it
}

// way is a question to an API server, for which that may have to reach this node's kubelet.
type way struct {
	member harden.ControlPlane // zero: the one of the kubeconfig
	path   string
}

func (w way) String() string {
	if w.member.Node == "" {
		return "GET " + w.path + " by the API"
	}
	return "GET " + w.path + " by the API server of " + w.member.Node
}

// tableWait is how long loading a table, or taking it away, may take.
const tableWait = 30 * time.Second

// tryTable loads the planned rules where they reach nobody.
func (r *run) tryTable(ctx context.Context, st harden.Stage, c harden.Component) error {
	if r.Filter == nil {
		return &RehearsalError{Component: c.ID, Said: errNoFilter.Error()}
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: tableWait, Message: harden.Msg("the rules are loaded in a network of their own")})
	asking, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	err := r.Filter.Try(asking, st.TableRules())
	if interrupted := interrupted(ctx); interrupted != nil {
		return interrupted
	}
	if err != nil {
		return &RehearsalError{Component: c.ID, Said: oneLine(err), Hints: r.lookAgain()}
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("the kernel takes the rules")})
	return nil
}

// loadTable writes the files of the packet filter, brings them into force and sees that the node goes on as it did.
func (r *run) loadTable(ctx context.Context, st harden.Stage, c harden.Component) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	effect, changes := st.Effect(c.ID)
	changes = changes && r.live()
	if changes && (r.Filter == nil || r.Logins == nil) {
		return errNoFilter
	}
	proof := &tableProof{}
	if changes {
		proof.ways = r.waysNow(ctx)
	}
	for _, s := range st.ForComponent(c.ID) {
		if err := r.put(ctx, s); err != nil {
			return err
		}
	}
	if !changes {
		return nil
	}
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if err := r.tx.Log(kindEffect, effect); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	rules, err := r.Node.State(harden.FilterRules)
	if err == nil {
		err = r.inForce(ctx, rules)
	}
	if err != nil {
		return gateError(c, err)
	}
	if rules.Exists {
		proof.rules = rules.Data
		if err := r.noteLogins(); err != nil {
			return gateError(c, err)
		}
	}
	gate, _ := st.Gate(c.ID)
	if err := r.proveTable(ctx, c, gate, proof); err != nil {
		return gateError(c, err)
	}
	r.table = proof
	return nil
}

// inForce brings rules that lie on the node into force; where there are none the table goes.
func (r *run) inForce(ctx context.Context, rules harden.State) error {
	acting, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	if !rules.Exists {
		if err := r.Filter.Drop(acting); err != nil {
			return fmt.Errorf("taking the table away: %w", err)
		}
		return nil
	}
	if err := r.Filter.Load(acting); err != nil {
		return fmt.Errorf("loading the table: %w", err)
	}
	return nil
}

// noteLogins writes down who is on the node, once the table is there: what is opened from now on has come through it.
func (r *run) noteLogins() error {
	open, err := r.Logins.Remote()
	if err != nil {
		return fmt.Errorf("which remote logins are open cannot be told, and so not which one is new: %w", err)
	}
	if err := r.tx.Log(kindLogins, loginsEntry{open}); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// waysThrough are what is asked of the API servers, and by each of them of this node's kubelet.
func (r *run) waysThrough(ctx context.Context) []way {
	if r.Cluster == nil {
		return nil
	}
	kubelet := "/api/v1/nodes/" + r.plan.Target.Node + "/proxy/healthz"
	out := []way{{path: "/readyz"}, {path: kubelet}}
	others, err := r.others(ctx)
	if err != nil {
		r.unproven(harden.PacketFilter, harden.Msg("whether other control planes reach this node's kubelet is not asked: %s", oneLine(err)))
	}
	for _, m := range others {
		out = append(out, way{m, kubelet})
	}
	return out
}

func (r *run) waysNow(ctx context.Context) []way {
	return slices.DeleteFunc(r.waysThrough(ctx), func(w way) bool {
		why := r.askWay(ctx, w)
		if why != "" {
			r.unproven(harden.PacketFilter, harden.Msg("%s did not work before either: %s", w, why))
		}
		return why != ""
	})
}

func (r *run) askWay(ctx context.Context, w way) string {
	asking, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if w.member.Node != "" {
		if err := r.Members.AskAt(asking, w.member.Address, w.path); err != nil {
			return oneLine(err)
		}
		return ""
	}
	status, err := r.Cluster.AdminGet(asking, w.path, "")
	switch {
	case err != nil:
		return oneLine(err)
	case status != 200:
		return fmt.Sprintf("it answers %d", status)
	}
	return ""
}

// proveTable wants the table as it was written, and everything that worked before, for a while.
func (r *run) proveTable(ctx context.Context, c harden.Component, g harden.Gate, p *tableProof) error {
	if len(p.ways) < 2 {
		r.unproven(c.ID, harden.Msg("whether API servers still reach this node's kubelet is not asked: there is no API to ask, or they did not before"))
	}
	want, found := harden.Msg("the table is in force, and the node goes on as before"), harden.Msg("the table is in force as it was written; what worked before works")
	if p.rules == nil {
		want, found = harden.Msg("the table is gone, and the node goes on as before"), harden.Msg("the table is gone; what worked before works")
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Timeout: g.Timeout, Message: want})
	r.table = p
	var since time.Time
	err := r.poll(ctx, r.Clock.Now().Add(g.Timeout), func() (bool, string, error) {
		miss, err := r.lookAtTable(ctx, g)
		if miss != "" || err != nil {
			since = time.Time{}
			return false, miss, err
		}
		if since.IsZero() {
			since = r.Clock.Now()
		}
		return r.Clock.Now().Sub(since) >= holdFor, "it was not so for long enough", nil
	})
	if err == nil {
		r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: found})
	}
	return err
}

// lookAtTable asks once for all that is to hold with the table. A table that is another one than was written stays so: that is final.
func (r *run) lookAtTable(ctx context.Context, g harden.Gate) (miss string, err error) {
	asking, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	switch why, err := r.Filter.Differs(asking, r.table.rules); {
	case err != nil:
		return oneLine(err), nil
	case why != "":
		return "", errors.New(why)
	}
	for _, p := range g.Probes {
		if p, res := r.probe(ctx, p); !res.Healthy(p) {
			return fmt.Sprintf("the probe %s %s", p.Name, describe(p, res)), nil
		}
	}
	for _, w := range r.table.ways {
		why := r.askWay(ctx, w)
		if why != "" && w.member.Node != "" && r.askWay(ctx, way{w.member, "/readyz"}) != "" {
			continue // it answers nothing: what another machine lacks is not this one's fault
		}
		if why != "" {
			return fmt.Sprintf("%s, which worked before: %s", w, why), nil
		}
	}
	return "", nil
}

// undoTable brings the files back and then what they say into force. A table that is to go goes whatever becomes of the files: it
// may be what keeps the operator out.
func (r *run) undoTable(ctx context.Context, undo harden.Stage, c harden.Component, touched map[string]bool) error {
	steps := slices.DeleteFunc(undo.ForComponent(c.ID), func(s harden.Step) bool { return !touched[s.ID] })
	_, begun := r.effectBegun(harden.EffectTable, c.ID)
	if len(steps) == 0 && !begun || r.undone[c.ID] && !slices.ContainsFunc(steps, r.away) {
		return nil
	}
	was, err := r.rulesOf(undo)
	errs := []error{err}
	for _, s := range steps {
		if err := r.revert(s); err != nil {
			errs = append(errs, err)
		}
	}
	if !r.live() {
		return errors.Join(errs...)
	}
	if r.Filter == nil {
		return errors.Join(append(errs, errNoFilter)...)
	}
	effect, _ := undo.Effect(c.ID)
	_ = r.tx.Log(kindEffect, effect)
	if err := errors.Join(err, r.inForce(ctx, was)); err != nil {
		return errors.Join(append(errs, err)...)
	}
	asking, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	rules := was.Data
	if !was.Exists {
		rules = nil
	}
	switch why, err := r.Filter.Differs(asking, rules); {
	case err != nil:
		errs = append(errs, fmt.Errorf("looking at the table: %w", err))
	case why != "":
		errs = append(errs, errors.New("after putting its files back: "+why))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Component: c.ID, Message: harden.Msg("the packet filter is as before")})
	_ = r.tx.Log(kindUndone, undoneEntry{c.ID})
	return nil
}

// rulesOf are the rules that a stage leaves on the node.
func (r *run) rulesOf(st harden.Stage) (harden.State, error) {
	for _, s := range st.ForComponent(harden.PacketFilter) {
		if s.Path == harden.FilterRules {
			return s.After, nil
		}
	}
	return r.Node.State(harden.FilterRules)
}

// tableState compares the table in force with what it was and what it was to become.
func (r *run) tableState(ctx context.Context, st harden.Stage) harden.TargetState {
	t := harden.TargetState{Target: "table inet " + harden.FilterTable, Is: harden.TargetOtherwise}
	for _, s := range st.ForComponent(harden.PacketFilter) {
		if s.Path != harden.FilterRules {
			continue
		}
		if r.Filter == nil {
			t.Is, t.Why = harden.TargetUnknown, harden.Msg("%s", errNoFilter.Error())
			return t
		}
		for _, side := range []struct {
			state harden.State
			is    harden.TargetIs
		}{{s.Before, harden.TargetBefore}, {s.After, harden.TargetPlanned}} {
			rules := side.state.Data
			if !side.state.Exists {
				rules = nil
			}
			why, err := r.Filter.Differs(ctx, rules)
			if err != nil {
				t.Is, t.Why = harden.TargetUnknown, harden.Msg("%s", oneLine(err))
				return t
			}
			if why == "" {
				t.Is, t.Why = side.is, harden.Message{}
				return t
			}
			t.Why = harden.Msg("%s", why)
		}
	}
	return t
}

// newLogin wants whoever confirms to have come since the table was loaded: a connection from before goes on whatever is refused to
// new ones.
func (r *run) newLogin() error {
	if r.Logins == nil {
		return errors.New("how you are logged in cannot be told here")
	}
	entries, err := r.tx.Entries()
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	var before []string
	for _, e := range entries {
		var l loginsEntry
		if e.Kind != kindLogins {
			continue
		}
		if err := json.Unmarshal(e.Data, &l); err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		before = append(before, l.Connections...)
	}
	own, remote, err := r.Logins.Own()
	if err != nil {
		return fmt.Errorf("how you are logged in cannot be told: %w; open another SSH connection, or go to a console", err)
	}
	if !remote {
		return nil
	}
	now, err := r.Logins.Remote()
	if err != nil {
		return fmt.Errorf("which remote logins are open cannot be told: %w", err)
	}
	return provesItself(own, before, now)
}

// provesItself says why a connection does not prove that new ones can be made.
func provesItself(own string, before, now []string) error {
	switch {
	case slices.Contains(before, own):
		return fmt.Errorf("you are here by a connection that was open before the table was loaded (%s), which proves nothing: open another one, not shared with it, and confirm there", own)
	case !slices.Contains(now, own):
		return fmt.Errorf("the connection that you have come by (%s) is not open any more, as in a terminal that outlives its login, or is none of this node's own: open another one and confirm there", strings.TrimSpace(own))
	}
	return nil
}
