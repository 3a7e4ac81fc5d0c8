package apiserver

import (
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// eventRateLimit is on only with limits: without a configuration the API server does not start.
var eventRateLimit = plugin{
	name: "EventRateLimit", id: "apiserver-admission-eventratelimit", title: "Events cannot flood the API server (EventRateLimit)", optional: true,
	why: harden.Msg("Events are written by everybody and kept in etcd for an hour. A controller in a loop, or somebody who means it, can write so many that the API server and etcd have no time left. " +
		"This plugin refuses what goes beyond a limit, for the whole server, for each namespace and for each user. " +
		"It is off by default, and still called alpha; whether its limits fit depends on the size of the cluster."),
	refs:     harden.Refs{CIS: []string{"1.2.9"}},
	severity: harden.Low,
	breaks: []harden.Message{
		harden.Msg("Events beyond a limit are lost: whoever writes them gets 429 Too Many Requests. Where many pods start at once, that is when they are wanted most; monitoring that counts events sees fewer. Objects other than events are not limited."),
		harden.Msg("The limit for a user counts for the scheduler and the controller manager too, each of which writes for all of the cluster; raise it in large ones."),
		harden.Msg("The limits are each API server's own. Every control-plane node needs the file before kubeadm's own configuration may name it."),
	},
}

const eventRateKind = "eventratelimit.admission.k8s.io/v1alpha1"

// eventLimit is a kind of limit and the options that set it.
type eventLimit struct {
	kind, option string
	title        harden.Message
	qps, burst   int
}

var eventLimits = []eventLimit{
	{"Server", "server", harden.Msg("events a second, for the whole API server"), 5000, 20000},
	{"Namespace", "namespace", harden.Msg("events a second, for each namespace"), 50, 100},
	{"User", "user", harden.Msg("events a second, for each user"), 10, 50},
}

func eventRateControl() harden.Control {
	p := eventRateLimit
	c := p.control()
	c.Flags = append(c.Flags, admissionFlag)
	c.Assess = func(f *harden.Facts) harden.Verdict {
		if v := p.assess(f); v.Status != harden.StatusPass {
			return v
		}
		return assessEventLimits(f)
	}
	r := &c.Remedies[0]
	r.Title = harden.Msg("Turn EventRateLimit on with limits; other admission plugins and what is configured of them stay as they are")
	for _, l := range eventLimits {
		r.Options = append(r.Options,
			harden.Option{Name: l.option + "-qps", Title: l.title, Kind: harden.OptionNumber, Default: strconv.Itoa(l.qps), Check: positive},
			harden.Option{Name: l.option + "-burst", Title: harden.Msg("how many of them at once"), Kind: harden.OptionNumber, Default: strconv.Itoa(l.burst), Check: positive},
		)
	}
	r.Preconditions = func(f *harden.Facts, _ harden.Values) []harden.Precondition {
		return []harden.Precondition{readsRootFiles(f, admissionFile)}
	}
	r.Intents = func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
		out, err := p.intents(f, v)
		if err != nil {
			return nil, err
		}
		if _, configured := eventLimitsOf(f); configured {
			return out, nil // theirs stay
		}
		config, err := configure(f, p.name, map[string]any{"apiVersion": eventRateKind, "kind": "Configuration"}, map[string]any{"limits": limitsFrom(v)})
		return append(out, config...), err
	}
	return c
}

func positive(v string) error {
	if n, err := strconv.ParseInt(v, 10, 32); err != nil || n < 1 {
		return fmt.Errorf("%q is no number of events", v)
	}
	return nil
}

func limitsFrom(v harden.Values) []any {
	var out []any
	for _, l := range eventLimits {
		qps, _ := strconv.Atoi(v[l.option+"-qps"])
		burst, _ := strconv.Atoi(v[l.option+"-burst"])
		out = append(out, map[string]any{"type": l.kind, "qps": qps, "burst": burst})
	}
	return out
}

// eventLimitsOf says which limits the configuration has, and whether it has any.
func eventLimitsOf(f *harden.Facts) (string, bool) {
	pc, _, ok := configOf(f, eventRateLimit.name)
	if !ok {
		return "", false
	}
	var config struct {
		Limits []struct {
			Type  string `json:"type"`
			QPS   int32  `json:"qps"`
			Burst int32  `json:"burst"`
		} `json:"limits"`
	}
	if yaml.Unmarshal(pc.data, &config) != nil {
		return "", false
	}
	var all []string
	for _, l := range config.Limits {
		all = append(all, fmt.Sprintf("%s %d a second, %d at once", l.Type, l.QPS, l.Burst))
	}
	return strings.Join(all, "; "), len(all) > 0
}

func assessEventLimits(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.APIServer).Flag(admissionFlag)
	if flag.Last() == "" {
		return harden.Failed(harden.Msg("EventRateLimit is on without limits; the API server does not start like that"), flag.Evidence(admissionFlag))
	}
	pc, why, ok := configOf(f, eventRateLimit.name)
	if !ok {
		return why
	}
	limits, any := eventLimitsOf(f)
	if !any {
		return harden.Failed(harden.Msg("EventRateLimit is on without limits; the API server does not start like that"), pc.evidence(eventRateLimit.name, "no limits"))
	}
	return harden.Passed(harden.Msg("EventRateLimit is on: %s", limits), pc.evidence(eventRateLimit.name, limits))
}
