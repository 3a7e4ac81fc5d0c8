package files

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// group is files with the same rules: a row from which two controls are made, of their modes and of their owners.
type group struct {
	id       string // "files-" and a word; "-modes" and "-owners" follow
	what     string // "static pod manifests": in titles
	why      harden.Message
	severity harden.Severity
	modes    harden.Refs
	owners   harden.Refs
	// find gives the members that are there.
	find func(*harden.Facts) []member
	// unread says why it cannot be told what the members are; nil: it always can.
	unread func(*harden.Facts) (harden.Message, harden.Evidence)
	// none says why there are no members.
	none harden.Message
	// risk of taking rights from others, and whom that may hurt.
	risk   harden.Risk
	breaks []harden.Message
	// setBack says who gives the files other modes again.
	setBack harden.Message
	// owner decides whom a member should belong to; nil: root.
	owner func(*harden.Facts) owner
	// applies limits the group beyond having members.
	applies func(*harden.Facts) (bool, harden.Message)
}

// member is one file or directory of a group.
type member struct {
	seen harden.StatFact // at the path by which it is known
	real harden.StatFact // what is there, a link followed
	want uint32          // the bits that it may have
	by   string          // the configuration that names it, where no flag needs to
	// stray says why the file is to be moved away, not to be kept in order.
	stray harden.Message
}

// owner is whom files should belong to.
type owner struct {
	uid, gid int
	name     string
	// also says whom they may belong to as well.
	also func(harden.StatFact) bool
}

var root = owner{name: "root:root"}

// at is the member at a path, if anything is there.
func at(f *harden.Facts, p string, want uint32) []member {
	seen, ok := f.Stats[p]
	if !ok {
		return nil
	}
	real, ok := f.Stat(p)
	if !ok || real.Kind != harden.StatFile && real.Kind != harden.StatDir {
		return nil
	}
	return []member{{seen: seen, real: real, want: want}}
}

// all are the members at several paths, each once.
func all(f *harden.Facts, want uint32, paths ...string) []member {
	var out []member
	for _, p := range paths {
		for _, m := range at(f, p, want) {
			if !slices.ContainsFunc(out, func(o member) bool { return o.real.Path == m.real.Path }) {
				out = append(out, m)
			}
		}
	}
	return out
}

// named says of members which configuration names them.
func named(f *harden.Facts, members []member) []member {
	for i := range members {
		members[i].by = f.NamedBy(members[i].seen.Path)
	}
	return members
}

// inDir are the paths directly in a directory that a name is taken by.
func inDir(f *harden.Facts, dir string, take func(name string) bool) []string {
	var out []string
	for p, s := range f.Stats {
		if path.Dir(p) == dir && s.Kind != harden.StatDir && take(path.Base(p)) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func anyName(string) bool { return true }

func ext(exts ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(exts, path.Ext(name)) }
}

func (m member) loose() bool { return m.real.Mode&^m.want != 0 }

// link says that the member is reached through a link that leads out of its directory: what it leads to is another's.
func (m member) link() bool {
	return m.seen.Path != m.real.Path && path.Dir(m.seen.Path) != path.Dir(m.real.Path)
}

func (m member) evidence() harden.Evidence {
	e := m.real.Evidence()
	if m.seen.Path != m.real.Path {
		e.Source = m.seen.Path
		e.Value = "a link to " + m.real.Path + ", " + e.Value
	}
	if m.by != "" {
		e.Value += "; " + m.by + " names it"
	}
	return e
}

// maxEvidence bounds how many files are named one by one.
const maxEvidence = 10

// evidence names the members that matter first.
func evidence(members []member, matters func(member) bool) []harden.Evidence {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b member) int {
		switch x, y := matters(a), matters(b); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	var out []harden.Evidence
	for i, m := range sorted {
		if i >= maxEvidence && !matters(m) {
			out = append(out, harden.Evidence{Source: path.Dir(m.seen.Path), Value: fmt.Sprintf("%d more, as they should be", len(sorted)-i)})
			break
		}
		out = append(out, m.evidence())
	}
	return out
}

func names(members []member) string {
	var out []string
	for _, m := range members {
		out = append(out, m.seen.Path)
	}
	if len(out) > 3 {
		return strings.Join(out[:3], ", ") + fmt.Sprintf(" and %d more", len(out)-3)
	}
	return strings.Join(out, ", ")
}

func filter(members []member, keep func(member) bool) []member {
	return slices.DeleteFunc(slices.Clone(members), func(m member) bool { return !keep(m) })
}

func (g group) hasMembers(f *harden.Facts) (bool, harden.Message) {
	if g.applies != nil {
		if ok, why := g.applies(f); !ok {
			return false, why
		}
	}
	if g.unread != nil {
		if why, _ := g.unread(f); !why.IsZero() {
			return true, harden.Message{}
		}
	}
	return len(g.find(f)) > 0, g.none
}

// readable is a verdict that is asked only where the members can be told.
func (g group) readable(assess func(*harden.Facts) harden.Verdict) func(*harden.Facts) harden.Verdict {
	if g.unread == nil {
		return assess
	}
	return func(f *harden.Facts) harden.Verdict {
		if why, seen := g.unread(f); !why.IsZero() {
			return harden.NeedsPerson(why, seen)
		}
		return assess(f)
	}
}

func (g group) modeControl() harden.Control {
	return harden.Control{
		ID: g.id + "-modes", Title: "Modes of the " + g.what + " grant no more than needed", Why: g.why, Refs: g.modes, Severity: g.severity,
		Needs: []harden.Need{harden.NeedFiles}, Applies: g.hasMembers,
		Assess: g.readable(func(f *harden.Facts) harden.Verdict {
			members := g.find(f)
			loose := filter(members, member.loose)
			seen := evidence(members, member.loose)
			switch {
			case len(loose) == 0:
				return harden.Passed(harden.Msg("%d looked at; none has a mode with more than it needs", len(members)), seen...)
			case rootless(f) != "":
				return harden.NeedsPerson(harden.Msg("%s does not run as root: its user may need what %s lets it do", rootless(f), names(loose)), seen...)
			case len(loose) == 1:
				return harden.Failed(harden.Msg("mode %04o of %s gives others too much; %04o is wanted", loose[0].real.Mode, loose[0].seen.Path, loose[0].real.Mode&loose[0].want), seen...)
			}
			return harden.Failed(harden.Msg("modes give others too much: %s", names(loose)), seen...)
		}),
		Remedies: []harden.Remedy{{
			ID: "restrict", Title: harden.Msg("Take away what others than root need not have"), Risk: g.risk, NodeOnly: true,
			Impact: g.impact(),
			Breaks: g.breaks, Preconditions: runsAsRoot,
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				return each(filter(g.find(f), member.loose), func(m member) (harden.Intent, string) {
					mode := m.real.Mode & m.want
					return harden.SetMode(m.real.Path, mode), fmt.Sprintf("chmod %04o %s", mode, m.real.Path)
				})
			},
		}},
	}
}

func (g group) impact() harden.Message {
	if g.setBack.IsZero() {
		return harden.Msg("Nothing restarts. Modes are changed file by file, and an undo brings each one back.")
	}
	return harden.Msg("Nothing restarts. %s: assess again afterwards.", g.setBack)
}

func (g group) wantedOwner(f *harden.Facts) owner {
	if g.owner == nil {
		return root
	}
	return g.owner(f)
}

func (o owner) owns(m member) bool {
	return m.real.UID == o.uid && m.real.GID == o.gid || o.also != nil && o.also(m.real)
}

func (g group) ownerControl() harden.Control {
	foreign := func(f *harden.Facts) func(member) bool {
		o := g.wantedOwner(f)
		return func(m member) bool { return !o.owns(m) }
	}
	return harden.Control{
		ID: g.id + "-owners", Title: "Root owns the " + g.what, Refs: g.owners, Severity: g.severity,
		Why: harden.Msg("The owner of a file can change its mode and what is in it, whatever the mode says now. " +
			"Files of the node's own components that belong to somebody else are that somebody's to change."),
		Needs: []harden.Need{harden.NeedFiles}, Applies: g.hasMembers,
		Assess: g.readable(func(f *harden.Facts) harden.Verdict {
			members, want := g.find(f), g.wantedOwner(f)
			others := filter(members, foreign(f))
			seen := evidence(members, foreign(f))
			switch {
			case len(others) == 0:
				return harden.Passed(harden.Msg("%d looked at; each belongs to whom it should", len(members)), seen...)
			case rootless(f) != "":
				return harden.NeedsPerson(harden.Msg("%s does not run as root: %s may have to belong to its user", rootless(f), names(others)), seen...)
			}
			return harden.Failed(harden.Msg("they do not belong to %s: %s", want.name, names(others)), seen...)
		}),
		Remedies: []harden.Remedy{{
			ID: "to-root", Title: harden.Msg("Give the files to their rightful owner"), Risk: g.risk, NodeOnly: true,
			Impact: harden.Msg("Nothing restarts. Owners are changed file by file, and an undo brings each one back."),
			Breaks: []harden.Message{
				harden.Msg("Whatever made the files may do so again under its own user: find out what it is. Programs that run as the present owner lose their access."),
			},
			Preconditions: runsAsRoot,
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				want := g.wantedOwner(f)
				return each(filter(g.find(f), foreign(f)), func(m member) (harden.Intent, string) {
					return harden.SetOwner(m.real.Path, want.uid, want.gid), fmt.Sprintf("chown %d:%d %s", want.uid, want.gid, m.real.Path)
				})
			},
		}},
	}
}

// each makes an intent of each member. What a link leads to elsewhere is left to the operator, with the command, and so is a file
// that is to be moved away.
func each(members []member, intent func(member) (i harden.Intent, byHand string)) ([]harden.Intent, error) {
	var out []harden.Intent
	left := ""
	for _, m := range members {
		i, byHand := intent(m)
		switch {
		case !m.stray.IsZero():
			left = fmt.Sprintf("%s: %s; move it out of the directory", m.seen.Path, m.stray)
			continue
		case m.link():
			left = fmt.Sprintf("%s is a link to %s, which is not changed through it: if that is right, run \"%s\"", m.seen.Path, m.real.Path, byHand)
			continue
		case m.real.Kind == harden.StatDir:
			i = harden.OfDir(i)
		}
		out = append(out, i)
	}
	if len(out) == 0 && left != "" {
		return nil, errors.New(left)
	}
	return out, nil
}

// rootless names a component that runs as another user than root, as kubeadm's RootlessControlPlane sets it up; "" for none.
func rootless(f *harden.Facts) harden.ComponentID {
	for _, c := range harden.Components {
		if facts := f.Component(c.ID); facts != nil && !facts.RunsAsRoot() {
			return c.ID
		}
	}
	return ""
}

func runsAsRoot(f *harden.Facts, _ harden.Values) []harden.Precondition {
	p := harden.Precondition{ID: "control-plane-runs-as-root", Title: harden.Msg("the control plane runs as root, and keeps its access"), State: harden.Met}
	if id := rootless(f); id != "" {
		p.State, p.Message = harden.Unmet, harden.Msg("%s runs as another user, which may need these files", id)
	}
	return []harden.Precondition{p}
}
