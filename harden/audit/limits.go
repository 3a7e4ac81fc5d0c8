package audit

import (
	"fmt"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
)

// limit is a flag that bounds the log, and the least that is asked of it.
type limit struct {
	part      part
	flag      string // the option is called as the flag, without "audit-log-"
	title     string
	unit      string
	option    harden.Message
	least     int
	largest   int
	default36 int            // since 1.36; 0 before
	zero      harden.Message // what 0 means
	zeroIs100 bool           // before 1.36, 0 meant 100
	cis, stig string
	why       harden.Message
}

var limits = []limit{
	{
		part: partMaxage, flag: "audit-log-maxage", title: "Audit logs are kept for at least 30 days", unit: "days",
		option: harden.Msg("Days after which an old log is removed"),
		least:  30, largest: 3650, default36: 366,
		zero: harden.Msg("0 sets no time for which logs are kept"),
		cis:  "1.2.17", stig: "V-242464",
		why: harden.Msg("Break-ins are often found weeks after they happened, and then the log of that day is needed. " +
			"A stated time also removes old logs, which hold names of people, when it has passed. " +
			"Before 1.36 logs were kept without any limit when the flag was not set."),
	},
	{
		part: partMaxbackup, flag: "audit-log-maxbackup", title: "At least 10 old audit logs are kept", unit: "files",
		option: harden.Msg("How many old logs are kept"),
		least:  10, largest: 1000, default36: 100,
		zero: harden.Msg("0 keeps every old log, until the disk is full"),
		cis:  "1.2.18", stig: "V-242463",
		why: harden.Msg("When a log is full it is put aside, and this many of those are kept. " +
			"Too few, and a busy hour pushes the interesting one out. " +
			"No bound at all, and the log fills the disk that the kubelet and etcd share with it."),
	},
	{
		part: partMaxsize, flag: "audit-log-maxsize", title: "Audit logs are rotated at 100 MB or more", unit: "MB",
		option: harden.Msg("Size at which a log is put aside"),
		least:  100, largest: 10000, default36: 100,
		zero:      harden.Msg("0 never rotates the log, until the disk is full"),
		zeroIs100: true,
		cis:       "1.2.19", stig: "V-242462",
		why: harden.Msg("Together with the number of old logs, the size at which one is put aside decides how far back the record goes and how much disk it takes. " +
			"Small files go back too little. " +
			"A log that is never put aside fills the disk."),
	},
}

func limitControls() []harden.Control {
	var out []harden.Control
	for _, l := range limits {
		out = append(out, harden.Control{
			ID: l.flag, Title: l.title, Why: l.why, Severity: harden.Medium,
			Refs:      harden.Refs{CIS: []string{l.cis}, STIG: []string{l.stig}, NSA: []string{nsaTopic}, Seed: []string{seed}, Docs: []string{docsPage}},
			Component: harden.APIServer, Flags: []string{l.flag, pathFlag},
			Needs: needs, Applies: applies, Assess: l.assess,
			Remedies: []harden.Remedy{auditLog(l.part)},
		})
	}
	return out
}

func (l limit) name() string { return l.flag[len("audit-log-"):] }

func (l limit) assess(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, log := c.Flag(l.flag), c.Flag(pathFlag)
	seen := flag.Evidence(l.flag)
	switch log.Last() {
	case "":
		return harden.Failed(harden.Msg("there is no audit log to keep: --audit-log-path is not set"), log.Evidence(pathFlag), seen)
	case stdout:
		return harden.NotFor(harden.Msg("the audit log goes to standard output, and the container runtime rotates that"), log.Evidence(pathFlag))
	}
	n, err := l.inForce(c)
	switch {
	case err != nil:
		return harden.Failed(harden.Msg("--%s: %s", l.flag, err), seen)
	case !flag.Set && c.Version.IsZero():
		return harden.NeedsPerson(harden.Msg("--%s is not set, and what that means depends on the version, which is not known", l.flag), seen)
	case !flag.Set && n >= l.least:
		return harden.Failed(harden.Msg("--%s is not set: it is %d %s by default here, which changes with versions, and which scanners do not see", l.flag, n, l.unit), seen)
	case !flag.Set:
		return harden.Failed(harden.Msg("--%s is not set, which is 0 before 1.36: %s", l.flag, l.zero), seen)
	case n == 0 && l.zeroIs100 && !c.Version.AtLeast(1, 36):
		return harden.Failed(harden.Msg("--%s is 0, which is 100 %s before 1.36; since then %s", l.flag, l.unit, l.zero), seen)
	case n == 0:
		return harden.Failed(l.zero, seen)
	case n < l.least:
		return harden.Failed(harden.Msg("--%s is %d %s, less than the %d asked for", l.flag, n, l.unit, l.least), seen)
	}
	return harden.Passed(harden.Msg("--%s is %d %s", l.flag, n, l.unit), seen)
}

// inForce is the flag's number, or its default in this version.
func (l limit) inForce(c *harden.ComponentFacts) (int, error) {
	flag := c.Flag(l.flag)
	if !flag.Set {
		switch {
		case c.Version.AtLeast(1, 36):
			return l.default36, nil
		case l.zeroIs100 && !c.Version.IsZero():
			return 100, nil
		}
		return 0, nil
	}
	n, err := strconv.Atoi(flag.Last())
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a number of %s", flag.Last(), l.unit)
	}
	return n, nil
}

func (l limit) asOption() harden.Option {
	return harden.Option{
		Name: l.name(), Title: l.option, Kind: harden.OptionNumber, Default: strconv.Itoa(l.least), Keeps: true, Unit: l.unit,
		Check: func(v string) error {
			if n, err := strconv.Atoi(v); err != nil || n < l.least || n > l.largest {
				return fmt.Errorf("%q is not between %d and %d %s", v, l.least, l.largest, l.unit)
			}
			return nil
		},
	}
}
