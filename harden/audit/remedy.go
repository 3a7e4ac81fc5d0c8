package audit

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
)

// part is what one control asks for on its own account; it is called as the control.
type part string

const (
	partPolicy    part = "audit-policy"
	partPath      part = "audit-log-path"
	partMaxage    part = "audit-log-maxage"
	partMaxbackup part = "audit-log-maxbackup"
	partMaxsize   part = "audit-log-maxsize"
)

// auditLog is the remedy of every control here. The control's own part is asked on its own account; the others come
// along where they are not right yet, because no part works without them. Options are the same on all controls.
func auditLog(own part) harden.Remedy {
	return harden.Remedy{
		ID:     "audit-log",
		Title:  harden.Msg("Record requests by a policy, in a log that is rotated"),
		Impact: harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute. From then on every request that the policy names is written to the log."),
		Breaks: []harden.Message{
			harden.Msg("The log takes maxsize times (maxbackup + 1) of the disk, 1.1 GB unless set otherwise. On a full disk the kubelet evicts pods, and etcd may be on the same one."),
			harden.Msg("A path directly in /var/log, such as /var/log/audit.log, mounts all of /var/log into the API server, to be written: whoever takes that over can change every log of the node. /var/log/audit belongs to auditd."),
			harden.Msg("Where SELinux is enforced, the API server's container must be allowed to read the policy and to write the log; else it does not start, and the change is taken back."),
			harden.Msg("Every control-plane node needs the policy and the directories before kubeadm's own configuration may name them: a missing one keeps the API server from starting there."),
			harden.Msg("The log names people and what they did; who may read it is a matter of privacy too. Secrets and tokens are never in it."),
		},
		Risk:          harden.RiskNode,
		Shares:        "audit",
		Options:       options(),
		Preconditions: preconditions,
		Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
			return intents(f, v, own, false)
		},
		Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof { return proofs(f, v, own, false) },
	}
}

func options() []harden.Option {
	out := []harden.Option{{
		Name: "path", Title: harden.Msg("Log file; its directory is mounted into the API server"), Kind: harden.OptionText, Default: LogFile, Keeps: true,
		Check: checkPath,
	}}
	for _, l := range limits {
		out = append(out, l.asOption())
	}
	return out
}

// outcome is what will be in force: what is right already stays, unless an option is set.
type outcome struct {
	path    string // in the container
	newPath bool
	host    string // of the log; empty for standard output
	numbers map[part]int
	new     map[part]bool
}

func outcomeOf(f *harden.Facts, v harden.Values) outcome {
	c := f.Component(harden.APIServer)
	o := outcome{path: c.Flag(pathFlag).Last(), numbers: map[part]int{}, new: map[part]bool{}}
	if asked, given := v["path"]; given && asked != o.path {
		o.path, o.newPath = asked, true
	} else if assessPath(f).Status != harden.StatusPass {
		if !given {
			asked = LogFile
		}
		o.path, o.newPath = asked, true
	}
	if o.path == stdout {
		return o
	}
	o.host = o.path
	if m, ok := mountOf(c, o.path); ok {
		o.host = m.host
	}
	for _, l := range limits {
		value, given := v[l.name()]
		n, err := l.inForce(c)
		set := c.Flag(l.flag).Set
		switch right := err == nil && n >= l.least; {
		case given:
			asked, _ := strconv.Atoi(value)
			o.numbers[l.part], o.new[l.part] = asked, true
		case right && set:
			o.numbers[l.part] = n
		case right && !set && !o.newPath: // what is in force is written down
			o.numbers[l.part], o.new[l.part] = n, true
		default:
			o.numbers[l.part], o.new[l.part] = l.least, true
		}
	}
	return o
}

// intents asks for the control's own part, and for the others along.
func intents(f *harden.Facts, v harden.Values, own part, replace bool) ([]harden.Intent, error) {
	o := outcomeOf(f, v)
	policy, err := policyIntents(f, own == partPolicy, replace)
	if err != nil {
		return nil, err
	}
	log, err := o.pathIntents(f)
	if err != nil {
		return nil, err
	}
	parts := map[part][]harden.Intent{partPolicy: policy, partPath: log}
	order := []part{partPolicy, partPath}
	for _, l := range limits {
		order = append(order, l.part)
		if o.new[l.part] {
			parts[l.part] = []harden.Intent{harden.SetFlag(harden.APIServer, l.flag, strconv.Itoa(o.numbers[l.part]))}
		}
	}
	var out []harden.Intent
	for _, p := range order {
		if p == own {
			out = append(out, parts[p]...)
		} else {
			out = append(out, harden.Along(parts[p])...)
		}
	}
	return out, nil
}

// pathIntents leave the log's directory to the kubelet (DirectoryOrCreate): on Ubuntu the group of /var/log may write there,
// and a directory is not made by us where others can change the path to it.
func (o outcome) pathIntents(f *harden.Facts) ([]harden.Intent, error) {
	if !o.newPath {
		return nil, nil
	}
	c := f.Component(harden.APIServer)
	dir := path.Dir(o.path)
	out := []harden.Intent{harden.SetFlag(harden.APIServer, pathFlag, o.path)}
	m, mounted := mountOf(c, o.path)
	switch {
	case mounted && m.file:
		return nil, fmt.Errorf("%s is mounted as a single file; remove that mount from the manifest by hand, or set another path", o.path)
	case mounted && m.readOnly && m.at == dir:
		return nil, fmt.Errorf("%s is mounted read-only; change that in the manifest by hand, or set another path", dir)
	case mounted && !m.readOnly:
		return out, nil
	}
	return append(out, harden.MountPath(harden.APIServer, harden.MountDir("audit-log", dir, "DirectoryOrCreate", false))), nil
}

func preconditions(f *harden.Facts, v harden.Values) []harden.Precondition {
	o := outcomeOf(f, v)
	out := []harden.Precondition{readsRootFiles(f)}
	if o.path == stdout {
		return out
	}
	out = append(out, diskBudget(f, o))
	if pre, ok := sharedDirectory(o); ok {
		out = append(out, pre)
	}
	return out
}

func readsRootFiles(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID:      "runs-as-root",
		Title:   harden.Msg("the API server may read and write files of root"),
		State:   harden.Met,
		Message: harden.Msg("it runs as root"),
	}
	if !f.Component(harden.APIServer).RunsAsRoot() {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("its manifest lets it run as another user, who could neither read the policy nor write the log")
	}
	return pre
}

// diskBudget wants twice of what the logs may take to be free: the disk has other users.
func diskBudget(f *harden.Facts, o outcome) harden.Precondition {
	need := 2 * uint64(o.numbers[partMaxsize]) << 20 * uint64(o.numbers[partMaxbackup]+1)
	dir := path.Dir(o.host)
	pre := harden.Precondition{
		ID:      "disk-space",
		Title:   harden.Msg("%s are free for the logs", gigabytes(need)),
		State:   harden.PreconditionUnknown,
		Message: harden.Msg("how much is free at %s is not known", dir),
	}
	disk, ok := f.Disks[dir]
	if !ok {
		disk, ok = f.Disks[path.Dir(o.path)]
	}
	if !ok {
		return pre
	}
	pre.Evidence = []harden.Evidence{{Source: dir, Value: gigabytes(disk.Free) + " free"}}
	pre.State, pre.Message = harden.Met, harden.Msg("%s are free at %s", gigabytes(disk.Free), dir)
	if disk.Free < need {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("only %s are free at %s, and logs of %d MB, %d old ones with the current one, take half of what is wanted; set a lower maxbackup or maxsize, or another path",
			gigabytes(disk.Free), dir, o.numbers[partMaxsize], o.numbers[partMaxbackup])
	}
	return pre
}

func gigabytes(n uint64) string { return fmt.Sprintf("%.1f GB", float64(n)/(1<<30)) }

// sharedDirectory says what it means that the log's directory is not the log's own.
func sharedDirectory(o outcome) (harden.Precondition, bool) {
	pre := harden.Precondition{ID: "log-directory", Title: harden.Msg("the log's directory may be mounted into the API server"), State: harden.Met}
	switch path.Dir(o.host) {
	case "/var/log":
		pre.Message = harden.Msg("as asked, all of /var/log is mounted to be written: the API server could change every log of the node")
	case "/var/log/audit":
		pre.Message = harden.Msg("as asked, although /var/log/audit is auditd's, and SELinux keeps others out of it where it is enforced")
	default:
		return pre, false
	}
	return pre, true
}

func proofs(f *harden.Facts, v harden.Values, own part, replace bool) []harden.Proof {
	o := outcomeOf(f, v)
	if o.host == "" {
		return nil
	}
	proof := harden.Proof{Control: string(own), Kind: harden.ProofAuditLog, Path: o.host}
	if p, ok := inForce(f, replace); ok {
		proof.Kind, proof.Request = recorded(p)
	}
	return []harden.Proof{proof}
}

var errNotUnasked = errors.New("it is somebody's own and not replaced unasked; take --remedy audit-policy=replace-policy to replace it")
