package kubelet

import (
	"fmt"

	"kubectl-harden.io/kubectl-harden/harden"
)

// setting is a control about one field of the kubelet's configuration: a row from which the control is made.
type setting struct {
	id, title string
	why       harden.Message
	refs      harden.Refs
	severity  harden.Severity

	field string // of KubeletConfiguration, kubelet.config.k8s.io/v1beta1
	flag  string // the deprecated flag that wins over the field; empty: there is none
	// preset is what the kubelet takes when its configuration file leaves the field out. Its type is the field's type:
	// bool, int64, string, time.Duration or []string.
	preset any
	// legacy is what it takes without any configuration file; nil: the preset.
	legacy any
	// zeroIsUnset says that a file's zero value ("0s", "", 0) means the preset, as kubeadm's files count on. A flag's
	// zero value is meant: flags are read after the defaults were filled in.
	zeroIsUnset bool
	// gate is the feature gate whose field it is, which another one may set along with all of its stage; "" for any other field.
	gate string
	// isFile says that the value is the path of a file without which the kubelet does not start.
	isFile bool

	judge  func(*harden.KubeletFacts, reading) (harden.Status, harden.Message)
	remedy harden.Remedy // all but Intents and Proofs
	want   func(harden.Values) any
	// live is want as the kubelet's configz shows it; nil: the same.
	live func(any) any
	// shows are proofs besides that one; may be nil.
	shows func(*harden.Facts, harden.Values) []harden.Proof
}

func (s setting) control() harden.Control {
	r := s.remedy
	own := r.Preconditions
	r.Preconditions = func(f *harden.Facts, v harden.Values) []harden.Precondition {
		out := []harden.Precondition{decodes(f.Kubelet)}
		if own != nil {
			out = append(out, own(f, v)...)
		}
		return out
	}
	r.Intents = s.intents
	r.Proofs = s.proofs
	return harden.Control{
		ID: s.id, Title: s.title, Why: s.why, Refs: s.refs, Severity: s.severity,
		Needs: []harden.Need{harden.NeedKubelet}, Applies: applies, Assess: s.assess, Fields: []string{s.field},
		Remedies: []harden.Remedy{r},
	}
}

func applies(f *harden.Facts) (bool, harden.Message) {
	if f.Kubelet == nil {
		return false, harden.Msg("no kubelet is set up on this node")
	}
	return true, harden.Message{}
}

func (s setting) assess(f *harden.Facts) harden.Verdict {
	k := f.Kubelet
	now := s.read(k)
	if !now.valid {
		return harden.Failed(harden.Msg("the kubelet does not accept this value for %s and will not start with it", s.field), now.evidence...)
	}
	status, message := s.judge(k, now)
	if status != harden.StatusPass {
		switch now.from {
		case fromFlag:
			flag := s.flag
			if flag == "" {
				flag = "feature-gates"
			}
			message = harden.Msg("%s (the flag --%s wins over the configuration file)", message, flag)
		case fromDropIn:
			message = harden.Msg("%s (the drop-in %s wins over %s)", message, now.home, k.Config.Path)
		}
	}
	evidence := now.evidence
	if name, ok := now.value.(string); ok && s.isFile && status == harden.StatusPass {
		switch there := isThere(f, name); there.State {
		case harden.Unmet:
			status, message = harden.StatusFail, harden.Msg("%s, and the kubelet does not start with it", there.Message)
		case harden.PreconditionUnknown:
			status, message = harden.StatusManual, harden.Msg("%s, but %s; look whether it is there", message, there.Message)
		}
	}
	// What runs may have read another text than the one that is there.
	for _, changed := range f.UnreadByKubelet() {
		if now.from != fromFlag && changed.Path == now.home {
			if status == harden.StatusPass {
				status, message = harden.StatusManual, harden.Msg("%s, once the kubelet reads it: it started before %s was changed", message, changed.Path)
			}
			evidence = append(evidence, harden.Evidence{Source: processName(k), Value: "started before " + changed.Path + " was changed, and has not read this"})
		}
	}
	return harden.Verdict{Status: status, Message: message, Evidence: evidence}
}

// intents set the field where it is decided, and take away the flag that would win over it.
func (s setting) intents(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
	k := f.Kubelet
	if k.Config.Path == "" {
		return nil, fmt.Errorf("the kubelet runs without a configuration file: write one, name it with --config, and plan again")
	}
	out, err := s.flagRemovals(k)
	if err != nil {
		return nil, err
	}
	return append(out, harden.SetField(s.read(k).home, s.field, s.want(v), harden.Kubelet)), nil
}

func (s setting) proofs(f *harden.Facts, v harden.Values) []harden.Proof {
	want := s.want(v)
	if s.live != nil {
		want = s.live(want)
	}
	out := []harden.Proof{{Control: s.id, Kind: harden.ProofConfigz, Path: s.field, Want: want}}
	if s.shows != nil {
		out = append(out, s.shows(f, v)...)
	}
	return out
}

// decodes is unknown, not unmet, where the strict decoder refuses: the kubelet then decodes leniently, and only what
// that refuses too keeps it from starting.
func decodes(k *harden.KubeletFacts) harden.Precondition {
	p := harden.Precondition{ID: "kubelet-config-decodes", Title: harden.Msg("the kubelet accepts its present configuration file"), State: harden.Met}
	if k.Decode != "" {
		p.State = harden.PreconditionUnknown
		p.Message = harden.Msg("%s: a strict decoder refuses it (%s), and the kubelet has to restart with it", k.Config.Path, k.Decode)
		p.Evidence = []harden.Evidence{{Source: k.Config.Path, Value: k.Decode}}
	}
	return p
}

// isBool judges a boolean field.
func isBool(want bool, right, wrong harden.Message) func(*harden.KubeletFacts, reading) (harden.Status, harden.Message) {
	return func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		if r.value == want {
			return harden.StatusPass, right
		}
		return harden.StatusFail, wrong
	}
}

// always is a remedy's value that no option changes.
func always(v any) func(harden.Values) any { return func(harden.Values) any { return v } }

// restart is the impact of every remedy here that changes nothing for workloads.
var restart = harden.Msg("the kubelet restarts once; running containers go on")
