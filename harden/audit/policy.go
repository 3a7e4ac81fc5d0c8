package audit

import (
	"fmt"
	"path"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

var policyControl = harden.Control{
	ID:    string(partPolicy),
	Title: "An audit policy says what is recorded, and keeps secrets out",
	Why: harden.Msg("Without a policy nothing is recorded, even where a log path is set, and nothing says so. " +
		"A good one records who did what to secrets, roles, pods and shells in them, and leaves out what only fills the disk. " +
		"A policy that records bodies of everything, as some benchmarks ask to the letter, copies every Secret into the log. " +
		"One that does not load keeps the API server from starting."),
	Refs: harden.Refs{
		CIS:  []string{"3.2.1", "3.2.2"},
		STIG: []string{"V-242401", "V-242403", "V-242461"},
		NSA:  []string{nsaTopic},
		Seed: []string{seed},
		Docs: []string{docsPage, "https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/"},
	},
	Severity:  harden.High,
	Component: harden.APIServer, Flags: []string{policyFlag},
	Needs:    needs,
	Applies:  applies,
	Assess:   assessPolicy,
	Remedies: []harden.Remedy{auditLog(partPolicy), replacePolicy()},
}

// replacePolicy is the same change, and replaces a policy that is there.
func replacePolicy() harden.Remedy {
	r := auditLog(partPolicy)
	r.ID = "replace-policy"
	r.Title = harden.Msg("Replace the audit policy that is there, and record requests by the new one")
	r.Breaks = append([]harden.Message{
		harden.Msg("What the present policy records and the new one does not is no longer in the log: compare the two in the diff, and ask who reads it, such as a SIEM or Falco with rules that need bodies."),
	}, r.Breaks...)
	r.Intents = func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
		return intents(f, v, partPolicy, true)
	}
	r.Proofs = func(f *harden.Facts, v harden.Values) []harden.Proof { return proofs(f, v, partPolicy, true) }
	return r
}

func assessPolicy(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag := c.Flag(policyFlag)
	seen := flag.Evidence(policyFlag)
	if flag.Last() == "" {
		return harden.Failed(harden.Msg("nothing is recorded: --audit-policy-file is not set"), seen, c.Flag(pathFlag).Evidence(pathFlag))
	}
	file := f.Referred(harden.APIServer, flag.Last())
	switch {
	case !file.Mounted:
		return harden.Failed(harden.Msg("no mount shows %s to the API server, which needs it to start", flag.Last()), seen)
	case !file.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("%s could not be read: %s", file.Path, file.Unread), seen)
	case !file.Known:
		return harden.NeedsPerson(harden.Msg("what %s says is not known here; look at it", file.Path), seen)
	case !file.State.Exists:
		return harden.Failed(harden.Msg("%s does not exist, and the API server needs it to start", file.Path), seen)
	}
	j := judge(file.State.Data, c.Version)
	evidence := append([]harden.Evidence{seen}, j.evidence(file.Path)...)
	switch {
	case len(j.fatal) > 0:
		return harden.Failed(harden.Msg("%s keeps the API server from starting: %s", file.Path, j.fatal[0]), evidence...)
	case len(j.leaks) > 0:
		return harden.Failed(harden.Msg("%s copies secrets into the log: %s", file.Path, j.leaks[0]), evidence...)
	case len(j.gaps) > 0:
		return harden.NeedsPerson(harden.Msg("%s leaves out what is often needed; decide whether that is meant: %s", file.Path, j.gaps[0]), evidence...)
	}
	return harden.Passed(harden.Msg("%s records what matters and keeps secrets out", file.Path), evidence...)
}

// judgement is what is wrong with a policy.
type judgement struct {
	fatal []harden.Message // the API server does not start with it
	leaks []harden.Message // secrets get into the log
	gaps  []harden.Message // what matters is not recorded
}

func (j judgement) evidence(source string) []harden.Evidence {
	var out []harden.Evidence
	for _, group := range [][]harden.Message{j.fatal, j.leaks, j.gaps} {
		for _, m := range group {
			out = append(out, harden.Evidence{Source: source, Value: m.String()})
		}
	}
	return out
}

// policyIntents leaves a policy that is there as it is, puts ours where there is none, and refuses what it would have
// to replace. own says that the policy's control asks, so that leaving it as it is would not help.
func policyIntents(f *harden.Facts, own, replace bool) ([]harden.Intent, error) {
	c := f.Component(harden.APIServer)
	named := c.Flag(policyFlag).Last()
	if named == "" {
		return policyAt(f, PolicyFile, replace)
	}
	file := f.Referred(harden.APIServer, named)
	switch {
	case !file.Mounted && replace:
		return policyAt(f, PolicyFile, true)
	case !file.Mounted && (named == PolicyFile || f.Files[named].State.Exists):
		return policyAt(f, named, false)
	case !file.Mounted:
		return nil, fmt.Errorf("no mount shows %s to the API server; mount its directory in the manifest by hand, or take --remedy audit-policy=replace-policy", named)
	case replace || file.Known && !file.State.Exists:
		return []harden.Intent{
			harden.MakeDir(path.Dir(file.Path), 0o700),
			harden.WriteFile(file.Path, patches.AuditPolicy(), 0o600, harden.APIServer),
		}, nil
	case !file.Known && own:
		return nil, fmt.Errorf("the audit policy in %s could not be judged; %w", file.Path, errNotUnasked)
	case !file.Known:
		return nil, nil
	}
	j := judge(file.State.Data, c.Version)
	if len(j.fatal) > 0 || own && len(j.leaks)+len(j.gaps) > 0 {
		return nil, fmt.Errorf("the audit policy in %s: %s; %w", file.Path, j.first(), errNotUnasked)
	}
	return nil, nil
}

// inForce is the policy that the API server will have; false where it is not known.
func inForce(f *harden.Facts, replace bool) (auditv1.Policy, bool) {
	asked, err := policyIntents(f, false, replace)
	if err != nil {
		return auditv1.Policy{}, false
	}
	c := f.Component(harden.APIServer)
	at := c.Flag(policyFlag).Last()
	file := f.Referred(harden.APIServer, at).FileFact
	for _, i := range asked {
		if i.Kind == harden.IntentWriteFile {
			p, err := decode(i.Data)
			return p, err == nil
		}
		if i.Kind == harden.IntentSetFlag && i.Key == policyFlag {
			at, _ = i.Value.(string)
			file = f.Files[at]
		}
	}
	p, err := decode(file.State.Data)
	return p, err == nil && file.Unread.IsZero() && file.State.Exists
}

// policyAt lets the API server use the policy at a path of the host, and writes ours there where there is none.
func policyAt(f *harden.Facts, at string, replace bool) ([]harden.Intent, error) {
	there := f.Files[at]
	dir := path.Dir(at)
	var out []harden.Intent
	switch {
	case replace || there.Unread.IsZero() && !there.State.Exists:
		out = append(out, harden.MakeDir(dir, 0o700), harden.WriteFile(at, patches.AuditPolicy(), 0o600, ""))
	case !there.Unread.IsZero():
		return nil, fmt.Errorf("an audit policy is at %s already and could not be read: %s", at, there.Unread)
	default:
		if j := judge(there.State.Data, f.Component(harden.APIServer).Version); len(j.fatal)+len(j.leaks) > 0 {
			return nil, fmt.Errorf("an audit policy is at %s already: %s; %w", at, j.first(), errNotUnasked)
		}
	}
	return append(out,
		harden.SetFlag(harden.APIServer, policyFlag, at),
		harden.MountPath(harden.APIServer, harden.MountDir("audit-policy", dir, "Directory", true)),
	), nil
}

func (j judgement) first() string {
	var all []string
	for _, group := range [][]harden.Message{j.fatal, j.leaks, j.gaps} {
		for _, m := range group {
			all = append(all, m.String())
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s (and %d more)", all[0], len(all)-1)
}
