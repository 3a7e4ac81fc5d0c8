package apply

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// ask is a question for a proof: whether it is answered as it should be, or else what was answered.
type ask = func(ctx context.Context, q question, p harden.Proof) (bool, string, error)

// patience bears a few failures in a row to ask at all. They say nothing about the change.
type patience struct{ failures int }

func (p *patience) after(ctx context.Context, err error) (bool, string, error) {
	if p.failures++; p.failures >= unaskable && interrupted(ctx) == nil {
		return false, "", fmt.Errorf("%w: %w", errUnaskable, err)
	}
	return false, oneLine(err), nil
}

// byAdmin asks with the administrator's credentials, and fails the proof by an answer only.
func byAdmin(answer func(ctx context.Context, api API, p harden.Proof) (bool, string, error)) ask {
	patience := patience{}
	return func(ctx context.Context, q question, p harden.Proof) (bool, string, error) {
		if q.api == nil {
			return false, "", fmt.Errorf("%w: there are no administrator's credentials", errUnaskable)
		}
		done, pending, err := answer(ctx, q.api, p)
		if err != nil && !errors.Is(err, errUnaskable) {
			return patience.after(ctx, err)
		}
		return done, pending, err
	}
}

// askAdmission looks for a plugin among those that have looked at requests, after one that all of them look at. What becomes of that
// one does not matter.
func (r *run) askAdmission() ask {
	return byAdmin(func(ctx context.Context, api API, p harden.Proof) (bool, string, error) {
		_ = api.TrialWrite(ctx)
		seen, err := api.AdmissionPlugins(ctx)
		return slices.Contains(seen, p.Path), fmt.Sprintf("%s has looked at no request, and %s have", p.Path, strings.Join(seen, ", ")), err
	})
}

// askOldToken tries the first token of a file that is to let nobody in any more. It is sent to the API server that it is for, and
// to nobody else.
func (r *run) askOldToken() ask {
	return byAdmin(func(ctx context.Context, api API, p harden.Proof) (bool, string, error) {
		token, err := r.firstToken(p.Path)
		if err != nil {
			return false, "", fmt.Errorf("%w: %w", errUnaskable, err)
		}
		status, err := api.GetWith(ctx, token, p.Request)
		return status == p.Status, fmt.Sprintf("GET %s with a token from %s: wanted %d, got %d", p.Request, p.Path, p.Status, status), err
	})
}

// firstToken of a file of tokens: its lines are token, user and more.
func (r *run) firstToken(file string) (string, error) {
	s, err := r.Node.State(file)
	if err != nil {
		return "", err
	}
	lines := csv.NewReader(strings.NewReader(string(s.Data)))
	lines.FieldsPerRecord = -1
	first, err := lines.Read()
	if err != nil || first[0] == "" {
		return "", fmt.Errorf("%s has no token in its first line", file) // what a parser says may have a token in it
	}
	return first[0], nil
}

// tokenHour is what a pod's token has at most unless it is extended: the kubelet asks for 3607 seconds.
const tokenHour = 2 * time.Hour

func (r *run) askTokenLife() ask {
	return byAdmin(func(ctx context.Context, api API, _ harden.Proof) (bool, string, error) {
		life, asked, err := api.TokenLife(ctx)
		if err == nil && !asked {
			err = fmt.Errorf("%w: there is no pod with a service account to ask for", errUnaskable)
		}
		return life <= tokenHour, fmt.Sprintf("a pod's new token is good for %s", harden.Spell(life)), err
	})
}

// askPodRefused goes by the words of the Pod Security plugin: others refuse pods too.
func (r *run) askPodRefused() ask {
	return byAdmin(func(ctx context.Context, api API, p harden.Proof) (bool, string, error) {
		refusal, err := api.TrialPod(ctx, p.Path)
		if err == nil && refusal != "" && !strings.Contains(refusal, "violates PodSecurity") {
			err = fmt.Errorf("the pod is refused for another reason: %s", refusal)
		}
		return refusal != "", fmt.Sprintf("a privileged pod is not refused in the namespace %s", p.Path), err
	})
}
