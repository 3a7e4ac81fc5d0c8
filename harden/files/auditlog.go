package files

import (
	"path"

	"kubectl-harden.io/kubectl-harden/harden"
)

// auditLog goes by what can be reached: a log that anybody may read is safe in a directory that nobody else may enter. Its
// remedy closes the directory, because the log itself changes all the time.
var auditLog = harden.Control{
	ID: "files-audit-log", Title: "Only root reads the audit log", Severity: harden.Medium,
	Why: harden.Msg("The audit log tells who did what, and with bodies also what was in it. Whoever can write it can take their own traces out. " +
		"The API server makes it for root alone, and keeps the mode of one that is there already."),
	Refs:  harden.Refs{NSA: []string{nsaAudit}, Seed: []string{seedAudit}, Docs: []string{docsAudit}},
	Needs: []harden.Need{harden.NeedFiles, harden.NeedAPIServer},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return len(logs(f)) > 0, harden.Msg("this node has no audit log")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		for _, l := range logs(f) {
			seen = append(seen, l.file.Evidence(), l.dir.Evidence())
		}
		for _, l := range logs(f) {
			switch {
			case rootless(f) == "" && (l.file.UID != 0 || l.dir.UID != 0):
				return harden.NeedsPerson(harden.Msg("%s or its directory does not belong to root: find out who made it", l.file.Path), seen...)
			case l.open():
				return harden.Failed(harden.Msg("others than root can reach %s (mode %04o in a directory with mode %04o)", l.file.Path, l.file.Mode, l.dir.Mode), seen...)
			}
		}
		return harden.Passed(harden.Msg("nobody but root reaches it"), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "close-directory", Title: harden.Msg("Close the log's directory to others"), Risk: harden.RiskWorkloads, NodeOnly: true,
		Impact: harden.Msg("Nothing restarts. The directory that holds the log can be entered by root alone."),
		Breaks: []harden.Message{
			harden.Msg("Log shippers that read the audit log without being root (Fluent Bit, Promtail or Vector as a service of their own): \"permission denied\". Let them run as root, or take the log from an audit webhook."),
		},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return append(runsAsRoot(f, v), ownDirectory(f))
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, l := range logs(f) {
				if l.open() {
					out = append(out, harden.OfDir(harden.SetMode(l.dir.Path, l.dir.Mode&closed)))
				}
			}
			return out, nil
		},
	}},
}

type logFile struct{ file, dir harden.StatFact }

// logs are the audit logs that are there, by the process and by the manifest.
func logs(f *harden.Facts) []logFile {
	var out []logFile
	for _, p := range hostFiles(f, harden.APIServer, "audit-log-path") {
		file, ok := f.Stat(p)
		dir, known := f.Stat(path.Dir(p))
		if ok && known && file.Kind == harden.StatFile {
			out = append(out, logFile{file, dir})
		}
	}
	return out
}

func (l logFile) open() bool { return l.file.Mode&0o077 != 0 && l.dir.Mode&0o011 != 0 }

// shared are directories that many programs keep their logs in.
var shared = []string{"/var/log", "/tmp", "/var/tmp", "/var", "/"}

func ownDirectory(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "log-has-its-own-directory", Title: harden.Msg("the log has a directory of its own"), State: harden.Met}
	for _, l := range logs(f) {
		for _, dir := range shared {
			if l.dir.Path == dir {
				p.State = harden.Unmet
				p.Message = harden.Msg("%s is everybody's: move the log first (audit-log-path), or run \"chmod 0600 %s\"", dir, l.file.Path)
			}
		}
	}
	return p
}
