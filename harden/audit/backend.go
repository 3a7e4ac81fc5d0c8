package audit

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	modeFlag        = "audit-log-mode"
	webhookFlag     = "audit-webhook-config-file"
	webhookModeFlag = "audit-webhook-mode"

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
	{
		ID: "audit-webhook", Title: "What is sent away of the audit log arrives, and cannot stop the API", Severity: harden.Medium,
		Why: harden.Msg("A log on the node is in the hands of whoever takes the node over; a copy that the API server sends elsewhere is not. " +
			"Unless its mode is batch, every request waits for the receiver. " +
			"The API server is in the host's network, where names of Services mean nothing. " +
			"Falco's k8saudit plugin needs no webhook: it reads the log itself, as open_params \"file://\" with the log's path, from a pod on each control-plane node."),
		Refs:      harden.Refs{NSA: []string{nsaTopic}, Docs: []string{docsPage}},
		Component: harden.APIServer, Flags: []string{webhookFlag, webhookModeFlag},
		Needs: needs, Applies: applies, Assess: assessWebhook,
	},
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

func assessWebhook(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, mode := c.Flag(webhookFlag), c.Flag(webhookModeFlag)
	seen := []harden.Evidence{flag.Evidence(webhookFlag), mode.Evidence(webhookModeFlag)}
	if mode.Set && !slices.Contains(modes, mode.Last()) {
		return harden.Failed(harden.Msg("there is no mode %q; the API server does not start with it", mode.Last()), seen...)
	}
	if flag.Last() == "" {
		return harden.NotFor(harden.Msg("the API server sends nothing away; what else ships the log cannot be seen here"), seen...)
	}
	w := f.AuditWebhook
	switch {
	case w == nil:
		return harden.NeedsPerson(harden.Msg("where it is sent is not known"), seen...)
	case !w.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("where it is sent is not known: %s", w.Unread), seen...)
	}
	seen = append(seen, harden.Evidence{Source: w.Path, Value: "server " + w.Server})
	if mode.Last() == blocking || mode.Last() == strict {
		return harden.Failed(harden.Msg("every request waits for the receiver: the API is slow when that is, and with blocking-strict away"), seen...)
	}
	u, err := url.Parse(w.Server)
	if err != nil || u.Hostname() == "" {
		return harden.Failed(harden.Msg("%s names no server", w.Path), seen...)
	}
	at, notAddress := netip.ParseAddr(u.Hostname())
	switch local := notAddress == nil && at.IsLoopback() || u.Hostname() == "localhost"; {
	case strings.HasSuffix(u.Hostname(), ".svc") || strings.Contains(u.Hostname(), ".svc."):
		return harden.Failed(harden.Msg("the API server is in the host's network and does not find %s: use the Service's address", u.Hostname()), seen...)
	case u.Scheme != "https" && !local:
		return harden.NeedsPerson(harden.Msg("events go to %s unencrypted; decide who may read along", net.JoinHostPort(u.Hostname(), u.Port())), seen...)
	}
	return harden.Passed(harden.Msg("events are sent to %s, and no request waits for it", u.Hostname()), seen...)
}
