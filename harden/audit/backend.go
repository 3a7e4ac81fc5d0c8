package audit

import (
	"fmt"
	"path"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	modeFlag = "audit-log-mode"

	batch, blocking, strict = "batch", "blocking", "blocking-strict"
)

// modes that the API server knows.
var modes = []string{batch, blocking, strict}

// backendControls are about how events get to the log and out of the node.
var backendControls = []harden.Control{
	{
		ID: "audit-log-mode", Title: "A full disk costs the log, not the API", Severity: harden.Medium,
		Why: harden.Msg("By default a request waits until its event is written, and goes on where that fails. " +
			"With blocking-strict it fails too: when the log's disk is full, nobody can use the API, not even to make room. " +
			"With batch events are written later and together, and those that wait are lost when the API server ends."),
		Refs:      harden.Refs{NSA: []string{nsaTopic}, Seed: []string{seed}, Docs: []string{docsPage}},
		Component: harden.APIServer, Flags: []string{modeFlag, pathFlag},
		Needs: needs, Applies: applies, Assess: assessMode,
		Remedies: []harden.Remedy{{
			ID: "blocking", Title: harden.Msg("Take the flag away, so that requests wait for the log and do not fail with it"), Risk: harden.RiskNode,
			Impact: harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute."),
			Breaks: []harden.Message{harden.Msg("Where a rule wants that nothing happens unrecorded, it is not kept any more: a request whose event cannot be written goes on.")},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.RemoveFlag(harden.APIServer, modeFlag)}, nil
			},
		}},
	},
	{
		ID: "audit-log-disk", Title: "The disk has room for all audit logs that are kept", Severity: harden.Medium,
		Why: harden.Msg("The logs grow until the oldest is removed. Where the disk is full before, nothing is recorded any more, the kubelet evicts pods, and etcd may be on the same disk. " +
			"Twice the room is wanted, as others write there too."),
		Refs:      harden.Refs{NSA: []string{nsaTopic}, Seed: []string{seed}, Docs: []string{docsPage}},
		Component: harden.APIServer, Flags: []string{pathFlag, "audit-log-maxsize", "audit-log-maxbackup"},
		Needs: needs, Applies: applies, Assess: assessDisk,
	},
	webhookControl,
	falcoControl,
}

func assessMode(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, log := c.Flag(modeFlag), c.Flag(pathFlag)
	seen := flag.Evidence(modeFlag)
	switch mode := flag.Last(); {
	case flag.Set && !slices.Contains(modes, mode):
		return harden.Failed(harden.Msg("there is no mode %q; the API server does not start with it", mode), seen)
	case log.Last() == "":
		return harden.NotFor(harden.Msg("there is no audit log"), log.Evidence(pathFlag))
	case mode == strict:
		return harden.NeedsPerson(harden.Msg("requests fail while the log cannot be written: a full disk takes the API away; decide whether that is wanted"), seen)
	case mode == batch:
		return harden.NeedsPerson(harden.Msg("events are written later, and those that wait are lost when the API server ends; decide whether that is wanted"), seen)
	}
	return harden.Passed(harden.Msg("requests wait for the log, and go on where it cannot be written"), seen)
}

func assessDisk(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	log := c.Flag(pathFlag)
	seen := log.Evidence(pathFlag)
	switch log.Last() {
	case "":
		return harden.NotFor(harden.Msg("there is no audit log"), seen)
	case stdout:
		return harden.NotFor(harden.Msg("the audit log goes to standard output, and the container runtime rotates that"), seen)
	}
	host, mounted := c.HostPath(log.Last())
	if !mounted {
		return harden.NeedsPerson(harden.Msg("the log is in the container, where its room cannot be seen"), seen)
	}
	kept := map[part]int{}
	for _, l := range limits {
		n, err := l.inForce(c)
		if err != nil || !c.Flag(l.flag).Set && c.Version.IsZero() {
			return harden.NeedsPerson(harden.Msg("what --%s means here is not known", l.flag), seen)
		}
		if n == 0 && l.zeroIs100 && !c.Version.AtLeast(1, 36) {
			n = 100
		}
		kept[l.part] = n
	}
	if kept[partMaxsize] == 0 || kept[partMaxbackup] == 0 {
		return harden.Failed(harden.Msg("nothing bounds the logs: they grow until the disk is full"), seen)
	}
	dir := path.Dir(host)
	disk, known := f.Disks[dir]
	if !known {
		return harden.NeedsPerson(harden.Msg("how much is free at %s is not known", dir), seen)
	}
	all := uint64(kept[partMaxsize]) << 20 * uint64(kept[partMaxbackup]+1)
	room := harden.Evidence{Source: dir, Value: fmt.Sprintf("%s free, %s taken by logs, which may take %s", gigabytes(disk.Free), gigabytes(disk.Logs), gigabytes(all))}
	switch {
	case disk.Free+disk.Logs < all:
		return harden.Failed(harden.Msg("the disk is full before the oldest log is removed: lower maxbackup or maxsize, or move the log"), seen, room)
	case disk.Free+disk.Logs < 2*all:
		return harden.NeedsPerson(harden.Msg("the logs fit, and leave little for others; decide whether that is enough"), seen, room)
	}
	return harden.Passed(harden.Msg("logs of at most %s fit twice", gigabytes(all)), seen, room)
}
