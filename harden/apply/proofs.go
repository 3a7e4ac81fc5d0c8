package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// proofWait is how long a change may take to show in a component that is healthy.
const proofWait = 20 * time.Second

// errUnaskable is a proof that nobody could be asked for.
var errUnaskable = errors.New("not asked")

// question is where a proof is asked for: at a gate's probes, and by an API server with the administrator's credentials, nil
// where there is none to ask so.
type question struct {
	gate   harden.Gate
	api    API
	canary bool
}

// liveQuestion asks this node's own server: the administrator's credentials may name a load balancer, behind which another
// member answers.
func (r *run) liveQuestion(g harden.Gate) question {
	at, ok := r.ownAddress(g)
	switch {
	case r.Cluster == nil:
		return question{gate: g} // a nil Cluster is no nil API
	case g.Component != harden.APIServer || !ok || at.Host == "":
		return question{gate: g, api: r.Cluster}
	}
	return question{gate: g, api: r.Cluster.At(at.Host, at.Port)}
}

// ownAddress is a probe that tells where a component listens.
func (r *run) ownAddress(g harden.Gate) (harden.Probe, bool) {
	i := slices.IndexFunc(g.Probes, func(p harden.Probe) bool { return p.Port > 0 })
	if i < 0 {
		return harden.Probe{}, false
	}
	return r.addressed(g.Probes[i]), true
}

// say is what to say of the live one, or of a canary.
func (q question) say(live, canary harden.Message) harden.Message {
	if q.canary {
		return canary
	}
	return live
}

// assert asks for one change, until it shows.
func (r *run) assert(ctx context.Context, q question, p harden.Proof) error {
	ask, ok := map[harden.ProofKind]func(context.Context, question, harden.Proof) (bool, string, error){
		harden.ProofAnonymous: r.askAnonymous,
		harden.ProofAdmin:     r.askAdmin(),
		harden.ProofAuditLine: r.askAudit(r.recordedAnonymous),
		harden.ProofAdminLine: r.askAudit(r.recordedAdmin),
		harden.ProofAuditLog:  r.askAuditLog,
		harden.ProofRefused:   r.askRefused,
		harden.ProofConfigz:   r.askConfigz(),
		harden.ProofServing:   r.askServing(),
		harden.ProofServed:    r.askServed,
		harden.ProofGranted:   r.askGranted,

		harden.ProofHandshake:  r.askHandshakes,
		harden.ProofAdmission:  r.askAdmission(),
		harden.ProofOldToken:   r.askOldToken(),
		harden.ProofTokenLife:  r.askTokenLife(),
		harden.ProofPodRefused: r.askPodRefused(),
	}[p.Kind]
	if !ok {
		return fmt.Errorf("proving %s: unknown proof %q", p.Control, p.Kind)
	}
	within := proofWait
	if p.Kind == harden.ProofServing {
		within = servingWait
	}
	r.tell(harden.Event{
		Kind: harden.EventAwaiting, Component: q.gate.Component, Timeout: within,
		Message: q.say(harden.Msg("proof for %s: %s %s", p.Control, string(p.Kind), p.Path), harden.Msg("proof for %s at the second one: %s %s", p.Control, string(p.Kind), p.Path)),
	})
	err := r.poll(ctx, r.Clock.Now().Add(within), func() (bool, string, error) { return ask(ctx, q, p) })
	switch {
	case err == nil:
		r.tell(harden.Event{
			Kind: harden.EventPassed, Component: q.gate.Component,
			Message: q.say(harden.Msg("proven for %s: %s %s", p.Control, string(p.Kind), p.Path), harden.Msg("proven for %s at the second one: %s %s", p.Control, string(p.Kind), p.Path)),
		})
		return nil
	case errors.Is(err, errUnaskable):
		r.unproven(q.gate.Component, harden.Msg("not proven for %s: %s", p.Control, oneLine(err)))
		return nil
	case errors.Is(err, errInterrupted):
		return err
	}
	return fmt.Errorf("proving %s: %w", p.Control, err)
}

// askAnonymous asks the API server without credentials, where its probes are asked.
func (r *run) askAnonymous(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
	res, err := r.anonymous(ctx, q.gate, p.Path)
	if err != nil {
		return false, "", err
	}
	got := fmt.Sprint(res.Status)
	if res.Err != nil {
		got = oneLine(res.Err)
	}
	return res.Err == nil && res.Status == p.Status, fmt.Sprintf("anonymous GET %s: wanted %d, got %s", p.Path, p.Status, got), nil
}

// askAdmin asks the API server, or another component of this node. That one asks the API server who the administrator is: that it
// refuses them says nothing about the change.
func (r *run) askAdmin() ask {
	patience := patience{}
	return func(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
		if q.api == nil {
			return false, "", fmt.Errorf("%w: there are no administrator's credentials", errUnaskable)
		}
		own := q.gate.Component != harden.APIServer
		status, err := 0, error(nil)
		if own {
			status, err = r.getAt(ctx, q.gate, p.Path)
		} else {
			status, err = q.api.AdminGet(ctx, p.Path, "kubectl-harden")
		}
		switch {
		case own && err != nil:
			return patience.after(ctx, err)
		case own && (status == 401 || status == 403):
			return patience.after(ctx, fmt.Errorf("GET %s: it refuses the administrator with %d", p.Path, status))
		case err != nil:
			return false, fmt.Sprintf("GET %s: %s", p.Path, oneLine(err)), nil
		}
		return status == p.Status, fmt.Sprintf("GET %s: wanted %d, got %d", p.Path, p.Status, status), nil
	}
}

// getAt asks a component where it listens, by the loopback address.
func (r *run) getAt(ctx context.Context, g harden.Gate, path string) (status int, err error) {
	at, ok := r.ownAddress(g)
	if !ok {
		return 0, errors.New("the component has no probe to learn its port from")
	}
	if ip, err := netip.ParseAddr(at.Host); err != nil || !ip.IsLoopback() {
		at.Host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return r.Cluster.GetAt(ctx, at.Host, at.Port, path)
}

// askAudit makes a request that the planned policy records, and looks for it in the log.
func (r *run) askAudit(ask func(ctx context.Context, q question, path, marker string) (asked bool, pending string, err error)) func(context.Context, question, harden.Proof) (bool, string, error) {
	marker, sent := "", false
	return func(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
		if marker == "" {
			marker = r.NewMarker()
		}
		if !sent {
			path := p.Request
			if path == "" {
				path = "/api/v1/namespaces"
			}
			asked, pending, err := ask(ctx, q, path, marker)
			if !asked {
				return false, pending, err
			}
			sent = true
		}
		has, err := r.Node.LogHas(p.Path, marker)
		if err != nil {
			return false, oneLine(err), nil
		}
		return has, "our own request is not in " + p.Path, nil
	}
}

func (r *run) recordedAnonymous(ctx context.Context, q question, path, marker string) (bool, string, error) {
	res, err := r.anonymous(ctx, q.gate, path+"?kubectl-harden="+marker)
	if err != nil {
		return false, "", err
	}
	if res.Err != nil {
		return false, "asking for a line in the log: " + oneLine(res.Err), nil
	}
	return true, "", nil
}

func (r *run) recordedAdmin(ctx context.Context, q question, path, marker string) (bool, string, error) {
	if q.api == nil {
		return false, "", fmt.Errorf("%w: the policy records the administrator's requests only, and there are no such credentials", errUnaskable)
	}
	if _, err := q.api.AdminGet(ctx, path+"?kubectl-harden="+marker, "kubectl-harden"); err != nil {
		return false, "asking for a line in the log: " + oneLine(err), nil
	}
	return true, "", nil
}

// askAuditLog says what it cannot prove: no request that may be made is recorded.
func (r *run) askAuditLog(_ context.Context, q question, p harden.Proof) (bool, string, error) {
	if _, err := r.Node.LogHas(p.Path, ""); err != nil {
		return false, oneLine(err), nil
	}
	r.unproven(q.gate.Component, harden.Msg("the policy records no request that may be made to prove it: %s is there, and whether lines are written to it is not shown", p.Path))
	return true, "", nil
}

// stranger is nobody's name, and has no role and no group.
const stranger = "kubectl-harden:stranger"

func (r *run) askRefused(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
	if q.api == nil {
		return false, "", fmt.Errorf("%w: there are no administrator's credentials", errUnaskable)
	}
	allowed, err := q.api.Allowed(ctx, stranger, nil, p.Path)
	if err != nil {
		return false, fmt.Sprintf("asking who may %s: %s", p.Path, oneLine(err)), nil
	}
	return !allowed, fmt.Sprintf("somebody without any role may %s", p.Path), nil
}

func (r *run) askGranted(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
	if q.api == nil {
		return false, "", fmt.Errorf("%w: there are no administrator's credentials", errUnaskable)
	}
	allowed, err := q.api.Allowed(ctx, p.Path, texts(p.Want), p.Request)
	if err != nil {
		return false, fmt.Sprintf("asking whether %s may %s: %s", p.Path, p.Request, oneLine(err)), nil
	}
	return allowed, fmt.Sprintf("%s may not %s", p.Path, p.Request), nil
}

// askConfigz asks through the API server, which may have lost the kubelet for a moment.
func (r *run) askConfigz() func(context.Context, question, harden.Proof) (bool, string, error) {
	patience := patience{}
	return func(ctx context.Context, _ question, p harden.Proof) (bool, string, error) {
		if r.Cluster == nil {
			return false, "", fmt.Errorf("%w: there is no API to ask", errUnaskable)
		}
		live, err := r.Cluster.Configz(ctx, r.plan.Target.Node)
		if err != nil {
			return patience.after(ctx, err)
		}
		got := at(live, p.Path)
		return sameValue(got, p.Want), fmt.Sprintf("the kubelet's %s is %v, wanted %v", p.Path, got, p.Want), nil
	}
}

func (r *run) anonymous(ctx context.Context, g harden.Gate, path string) (ProbeResult, error) {
	p, ok := r.ownAddress(g)
	if !ok {
		return ProbeResult{}, errors.New("the component has no probe to learn its address from")
	}
	_, res := r.probe(ctx, harden.Probe{Name: "proof", Scheme: "HTTPS", Host: p.Host, Port: p.Port, Path: path})
	return res, nil
}

// at follows a dotted path; nil where it leads nowhere.
func at(m map[string]any, path string) any {
	var v any = m
	for _, k := range strings.Split(path, ".") {
		next, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = next[k]
	}
	return v
}

// sameValue compares as JSON. The kubelet leaves out fields that hold their type's zero, and writes durations its own way.
func sameValue(got, want any) bool {
	x, errX := json.Marshal(got)
	y, errY := json.Marshal(want)
	if errX != nil || errY != nil {
		return false
	}
	if string(x) == string(y) {
		return true
	}
	if got == nil {
		return slices.Contains([]string{"false", "0", `""`, "[]", "{}"}, string(y))
	}
	a, isA := got.(string)
	b, isB := want.(string)
	if !isA || !isB {
		return false
	}
	da, errA := time.ParseDuration(a)
	db, errB := time.ParseDuration(b)
	return errA == nil && errB == nil && da == db
}
