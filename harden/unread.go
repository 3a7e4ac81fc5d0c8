package harden

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rereads is whether a static pod's process reads a file again by itself when it was changed.
type rereads int

const (
	readsOnce  rereads = iota // only when it starts
	readsSome                 // not all of it, or not in every version that it may be
	readsAgain                // within minutes
)

// startFiles are files that static pods are given by flags and read when they start.
var startFiles = []struct {
	id   ComponentID
	flag string
	// again is nil where the file is never read again.
	again func(*ComponentFacts) rereads
}{
	{APIServer, AdmissionFlag, nil},
	{APIServer, "audit-policy-file", nil},
	{APIServer, "audit-webhook-config-file", nil},
	// Both are watched since 1.30; of the authentication configuration what it says of anonymous requests counts from the start on, and
	// a file in which that has changed is not taken (k8s.io/kubernetes: pkg/kubeapiserver/options/authentication.go).
	{APIServer, "authentication-config", since30(readsSome)},
	{APIServer, "authorization-config", since30(readsAgain)},
	{APIServer, EncryptionFlag, func(c *ComponentFacts) rereads {
		if on, err := strconv.ParseBool(c.Flag(EncryptionFlag + "-automatic-reload").Last()); err == nil && on {
			return readsAgain
		}
		return readsOnce
	}},
	{ControllerManager, "kubeconfig", nil},
	{ControllerManager, "authentication-kubeconfig", nil},
	{ControllerManager, "authorization-kubeconfig", nil},
	{Scheduler, "config", nil},
	{Scheduler, "kubeconfig", nil},
	{Scheduler, "authentication-kubeconfig", nil},
	{Scheduler, "authorization-kubeconfig", nil},
	{Etcd, etcdConfigFlag, nil},
}

func since30(then rereads) func(*ComponentFacts) rereads {
	return func(c *ComponentFacts) rereads {
		switch {
		case c.Version.IsZero():
			return readsSome
		case c.Version.AtLeast(1, 30):
			return then
		}
		return readsOnce
	}
}

// UnreadFile is a file that was changed after the component's process started, which has not read it as it is.
type UnreadFile struct {
	Flag string // leads to it
	File StatFact
	// Perhaps: the process may have read again what counts.
	Perhaps bool
	names   []string // files that it names, and that are read with it
}

// Unread are all of them that the component is given by flags, or by the files that those name.
func (f *Facts) Unread(id ComponentID) []UnreadFile {
	c := f.Component(id)
	if c == nil || c.Process == nil {
		return nil
	}
	var out []UnreadFile
	note := func(u UnreadFile, file string) {
		var there bool
		if u.File, there = f.Stat(file); there && c.Process.StartedBefore(u.File) {
			out = append(out, u)
		}
	}
	for _, row := range startFiles {
		if row.id != id {
			continue
		}
		again := readsOnce
		if row.again != nil {
			again = row.again(c)
		}
		at := c.Flag(row.flag).Last()
		if row.flag == etcdConfigFlag {
			at = c.EtcdConfigFile()
		}
		host, ok := c.HostPath(at)
		if !ok || again == readsAgain {
			continue
		}
		u := UnreadFile{Flag: row.flag, Perhaps: again == readsSome}
		if row.flag == AdmissionFlag {
			u.names = f.AdmissionFiles(host, at)
		}
		note(u, host)
		for _, named := range u.names {
			note(UnreadFile{Flag: row.flag}, named)
		}
	}
	return out
}

// AdmissionFlag gives the API server the configurations of its admission plugins.
const AdmissionFlag = "admission-control-config-file"

// AdmissionFiles are the files of the host that an admission configuration names for its plugins, beside it where their paths are
// relative. It lies on the host, and in the API server's container.
func (f *Facts) AdmissionFiles(onHost, inContainer string) []string {
	var config struct {
		Plugins []struct {
			Path string `json:"path"`
		} `json:"plugins"`
	}
	c := f.Component(APIServer)
	if c == nil || ReadYAML(f.Files[onHost].State.Data, &config) != nil {
		return nil
	}
	var out []string
	for _, p := range config.Plugins {
		at := p.Path
		if at != "" && !path.IsAbs(at) {
			at = path.Join(path.Dir(inContainer), at)
		}
		if host, ok := c.HostPath(at); ok && path.IsAbs(at) {
			out = append(out, host)
		}
	}
	return out
}

// unreadBy are the files that a verdict goes by, as its evidence shows, and that the control's component has not read as they are.
func (f *Facts) unreadBy(c Control, v Verdict) []UnreadFile {
	var out []UnreadFile
	for _, u := range f.Unread(c.Component) {
		given := f.Component(c.Component).Flag(u.Flag)
		if slices.ContainsFunc(v.Evidence, func(e Evidence) bool {
			return e.Source == u.File.Path || slices.Contains(u.names, e.Source) || given.Set && e == given.Evidence(u.Flag)
		}) {
			out = append(out, u)
		}
	}
	return out
}

// asRead changes a verdict that goes by what lies in a file, where the process that counts has not read the file as it is.
func asRead(f *Facts, c Control, v Verdict) Verdict {
	if v.Status == StatusNotApplicable || v.Status == StatusUnknown {
		return v
	}
	unread := f.unreadBy(c, v)
	if len(unread) == 0 {
		return v
	}
	p := f.Component(c.Component).Process
	v.Evidence = slices.Clip(v.Evidence)
	for _, u := range unread {
		v.Evidence = append(v.Evidence, Evidence{
			Source: fmt.Sprintf("process %d (%s)", p.PID, c.Component),
			Value:  fmt.Sprintf("started %s, before %s was changed at %s", instant(p.Started), u.File.Path, instant(u.File.Modified)),
		})
	}
	byHand := fmt.Sprintf("crictl stop $(crictl ps --quiet --name '^%s$')", c.Component)
	if v.Status != StatusPass {
		if len(v.Hints) > 0 { // they count on what lies there
			v.Hints = append([]string{byHand}, v.Hints...)
		}
		return v
	}
	if i := slices.IndexFunc(unread, func(u UnreadFile) bool { return !u.Perhaps }); i >= 0 {
		v.Status = StatusFail
		v.Message = Msg("%s, once %s reads it: it started before %s was changed, and reads that only when it starts", v.Message, c.Component, unread[i].File.Path)
	} else {
		v.Status = StatusManual
		v.Message = Msg("%s, if %s has it so: it started before %s was changed, and may not have read it again", v.Message, c.Component, unread[0].File.Path)
	}
	_, remedied := DefaultRemedy(f, c)
	if _, only := AssessOnly(f); only || !remedied {
		v = v.ByHand(byHand)
	}
	return v
}

// instant is a time as evidence tells it.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// start is what a control asks for that passes but for what its component has not read; nil where it is not so.
func (f *Facts) start(c Control) []Intent {
	if v := judged(f, c); v.Status != StatusPass || len(f.unreadBy(c, v)) == 0 {
		return nil
	}
	return []Intent{f.RestartUnread(c.Component)}
}

// RestartUnread asks that a component has started since the last one of its files was changed that it has not read as it is.
// It is the same whichever control asks.
func (f *Facts) RestartUnread(id ComponentID) Intent {
	var newest StatFact
	for _, u := range f.Unread(id) {
		if u.File.Modified.After(newest.Modified) {
			newest = u.File
		}
	}
	return Restart(id, newest.Path+" of "+instant(newest.Modified))
}

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
