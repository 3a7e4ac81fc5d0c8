package harden

import (
	"encoding/json"
	"slices"
)

// Assess gives every control's verdict on the facts, areas and controls in their order. It is pure.
func Assess(f *Facts, areas []Area) []Finding {
	var out []Finding
	for _, a := range areas {
		for _, c := range a.Controls {
			out = append(out, assessOne(f, a, c))
		}
	}
	return out
}

func assessOne(f *Facts, a Area, c Control) Finding {
	v := waived(f, c.ID, lost(f, c.ID, verdict(f, c)))
	out := Finding{
		Control: c.ID, Area: a.ID, Status: v.Status, Severity: c.Severity, Title: c.Title,
		Message: v.Message, Evidence: v.Evidence, Hints: v.Hints, Refs: c.Refs, Benchmarks: c.Refs.Recommendations(), Remedies: []string{},
	}
	if f.Components[c.Component] != nil && v.Status != StatusUnknown && v.Status != StatusNotApplicable {
		out.Evidence = append(slices.Clip(out.Evidence), disagreements(f, c, out.Evidence)...)
	}
	if len(c.Fields) > 0 && f.Kubelet != nil && v.Status != StatusUnknown && v.Status != StatusNotApplicable {
		out.Evidence = append(slices.Clip(out.Evidence), fieldSources(f, c.Fields, out.Evidence)...)
	}
	if out.Evidence == nil {
		out.Evidence = []Evidence{}
	}
	for _, r := range c.Remedies {
		if _, only := AssessOnly(f); only {
			break
		}
		if r.Versions.Contains(VersionFor(f, c)) {
			out.Remedies = append(out.Remedies, r.ID)
		}
	}
	return out
}

// verdict is the control's, of what the component has read.
func verdict(f *Facts, c Control) Verdict { return asRead(f, c, judged(f, c)) }

// judged is the control's verdict of what lies there.
func judged(f *Facts, c Control) Verdict {
	if NotANode(f) {
		return NotFor(noNode)
	}
	for _, need := range c.Needs {
		if why, missing := f.Missing[need]; missing {
			if why, none := absent(f, c); none {
				return NotFor(why)
			}
			return Verdict{Status: StatusUnknown, Message: why}
		}
	}
	if c.Applies != nil {
		if ok, why := c.Applies(f); !ok {
			return elsewhere(f, NotFor(why))
		}
	}
	if c.Versions != (VersionRange{}) {
		v := VersionFor(f, c)
		if v.IsZero() {
			return Verdict{Status: StatusUnknown, Message: Msg("the version of the component is not known, and this holds for %s", c.Versions)}
		}
		if !c.Versions.Contains(v) {
			return NotFor(Msg("this holds for %s; here is %s", c.Versions, v))
		}
	}
	return elsewhere(f, c.Assess(f))
}

// unread are the components whose own files a control needs and that cannot be read.
func unread(f *Facts, c Control) []ComponentID {
	var out []ComponentID
	for _, known := range Components {
		_, missing := f.Missing[Need(known.ID)]
		if missing && slices.Contains(c.Needs, Need(known.ID)) && verdict(f, c).Status == StatusUnknown {
			out = append(out, known.ID)
		}
	}
	return out
}

// VersionFor is the version that a control goes by: that of the oldest component it needs facts of. It is not known where
// one of theirs is not: that one may be the oldest.
func VersionFor(f *Facts, c Control) Version {
	var oldest Version
	for i, v := range involved(f, c) {
		if v.IsZero() {
			return Version{}
		}
		if i == 0 || !v.AtLeast(oldest.Major, oldest.Minor) {
			oldest = v
		}
	}
	return oldest
}

// involved are the versions of the components that a control needs facts of; zero ones are not known.
func involved(f *Facts, c Control) []Version {
	var out []Version
	if slices.Contains(c.Needs, NeedKubelet) && f.Kubelet != nil {
		out = append(out, f.Kubelet.Version)
	}
	for _, known := range Components {
		if comp := f.Component(known.ID); comp != nil && slices.Contains(c.Needs, Need(known.ID)) {
			out = append(out, comp.Version)
		}
	}
	if slices.Contains(c.Needs, NeedWorkloads) && f.Cluster != nil {
		out = append(out, f.Cluster.Version)
	}
	return out
}

// Untried says that a component here is newer than the newest Kubernetes that verdicts and remedies were tried with.
func Untried(f *Facts) (Message, bool) {
	for _, c := range Components {
		if comp := f.Component(c.ID); comp != nil && c.ID != Etcd && comp.Version.newerThan(NewestSupported) {
			return Msg("%s %s is newer than %s, the newest version that verdicts and remedies were tried with", c.ID, comp.Version, NewestSupported), true
		}
	}
	if k := f.Kubelet; k != nil && k.Version.newerThan(NewestSupported) {
		return Msg("kubelet %s is newer than %s, the newest version that verdicts and remedies were tried with", k.Version, NewestSupported), true
	}
	return Message{}, false
}

// tried is the precondition of every remedy that acts on a newer Kubernetes than remedies were tried with (promise 14): what it
// does there is not known. A component whose version is not known may be as new as the API server.
func tried(f *Facts, c Control) (Precondition, bool) {
	versions := involved(f, c)
	if api := f.Component(APIServer); api != nil && slices.Contains(versions, Version{}) {
		versions = append(versions, api.Version)
	}
	for _, v := range versions {
		if v.newerThan(NewestSupported) && v.Major == NewestSupported.Major { // etcd counts on its own
			return Precondition{
				ID: "tried-version", Title: Msg("this remedy was tried with the version that runs here"), State: PreconditionUnknown,
				Message: Msg("%s is newer than %s, the newest one that it was tried with", v, NewestSupported),
			}, true
		}
	}
	return Precondition{}, false
}

// Tally counts findings by status.
type Tally map[Status]int

// Count tallies findings.
func Count(findings []Finding) Tally {
	t := Tally{}
	for _, f := range findings {
		t[f.Status]++
	}
	return t
}

// MarshalJSON writes every status, also those that no finding has.
func (t Tally) MarshalJSON() ([]byte, error) {
	all := make(map[Status]int, len(Statuses))
	for _, s := range Statuses {
		all[s] = t[s]
	}
	return json.Marshal(all)
}
