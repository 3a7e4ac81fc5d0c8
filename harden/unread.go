package harden

import (
	"slices"
	"strings"
	"time"
)

// UnreadByKubelet are the files of its configuration that were written after the live kubelet started: it has not read them as
// they are. None where no kubelet was seen.
func (f *Facts) UnreadByKubelet() []StatFact {
	k := f.Kubelet
	if k == nil || k.Process == nil {
		return nil
	}
	var out []StatFact
	for _, file := range slices.Concat([]FileFact{k.Config}, k.DropIns) {
		if s, ok := f.Stat(file.Path); ok && k.Process.StartedBefore(s) {
			out = append(out, s)
		}
	}
	return out
}

// StartedBefore says that a process started before a file was written, and has not read it as it is. The start is known to a second
// only.
func (p *ProcessFact) StartedBefore(s StatFact) bool {
	return s.Modified.After(p.Started.Add(2 * time.Second))
}

// OtherFlags says that the live kubelet has other flags than its unit and environment files give. Without the unit's own files
// nobody knows what it would start.
func (k *KubeletFacts) OtherFlags() bool {
	return k.Process != nil && len(k.UnitFiles) > 0 && !SameArgs(k.Process.Args, k.Args)
}

// kubeletRuns is whether a restart of the kubelet puts into force what was shown, and nothing that waits for it unseen.
func kubeletRuns(f *Facts) Precondition {
	pre := Precondition{ID: "file-is-running", Title: Msg("the live kubelet runs what its files say"), State: Met}
	var unread []string
	for _, s := range f.UnreadByKubelet() {
		unread = append(unread, s.Path)
	}
	switch {
	case f.Kubelet.OtherFlags():
		pre.State = Unmet
		pre.Message = Msg("process %d has other flags than its unit and environment files, which a restart would put into force unseen: systemctl restart kubelet first", f.Kubelet.Process.PID)
	case len(unread) > 0:
		pre.State = Unmet
		pre.Message = Msg("%s was changed after process %d started, and what is there now would be put into force unseen: systemctl restart kubelet first", strings.Join(unread, ", "), f.Kubelet.Process.PID)
	}
	return pre
}
