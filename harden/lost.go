package harden

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AppliedFact is what a transaction that still stands has asked of the files that kubeadm writes anew: the static pods and the
// kubelet's configuration. It has no file contents.
type AppliedFact struct {
	Transaction       string    `json:"transaction"`
	Applied           time.Time `json:"applied"`
	KubernetesVersion string    `json:"kubernetesVersion"` // then
	Asks              []Ask     `json:"asks"`
}

// Applied is the part of a transaction that an assessment compares with the node: what undone controls asked for is left out.
func Applied(d Done, undone []string) AppliedFact {
	out := AppliedFact{Transaction: d.ID, Applied: d.Plan.Created, KubernetesVersion: d.Plan.Target.KubernetesVersion}
	for _, s := range d.Plan.Steps() {
		if s.Kind != StepFile || s.Component == "" || s.Secret {
			continue
		}
		for _, a := range s.Asks {
			if a.Intent.Kind != IntentWriteFile && !slices.Contains(undone, a.Control) {
				out.Asks = append(out.Asks, a)
			}
		}
	}
	return out
}

// lost changes the verdict of a control that fails although a transaction that stands had made it pass: it says which one, what is
// gone, and why as far as that can be told.
func lost(f *Facts, control string, v Verdict) Verdict {
	if v.Status != StatusFail {
		return v
	}
	var gone []AppliedFact
	for _, a := range f.standing() {
		a.Asks = slices.DeleteFunc(a.Asks, func(ask Ask) bool { return ask.Control != control || f.holds(ask.Intent) })
		if len(a.Asks) > 0 {
			gone = append(gone, a)
		}
	}
	if len(gone) == 0 {
		return v
	}
	newest := gone[len(gone)-1]
	v.Message = Msg("%s; it was set on %s and is lost: %s", v.Message, newest.Applied.UTC().Format(time.DateOnly), f.whyLost(newest))
	for _, a := range gone {
		var slots []string
		for _, ask := range a.Asks {
			slots = append(slots, ask.Intent.wanted())
		}
		v.Evidence = append(v.Evidence, Evidence{Source: "transaction " + a.Transaction, Value: "had set " + strings.Join(slots, ", ")})
	}
	return v
}

// standing are the transactions, oldest first, without what a later one has asked otherwise of the same place.
func (f *Facts) standing() []AppliedFact {
	later := map[string]bool{}
	out := make([]AppliedFact, 0, len(f.Applied))
	for _, a := range slices.Backward(f.Applied) {
		kept := AppliedFact{Transaction: a.Transaction, Applied: a.Applied, KubernetesVersion: a.KubernetesVersion}
		var slots []string
		for _, ask := range a.Asks {
			slot := ask.Intent.slot()
			if !later[slot] {
				kept.Asks = append(kept.Asks, ask)
			}
			slots = append(slots, slot)
		}
		for _, slot := range slots {
			later[slot] = true
		}
		out = append(out, kept)
	}
	slices.Reverse(out)
	return out
}

// holds says that the file still has what the intent asked of it. What cannot be told counts as held.
func (f *Facts) holds(i Intent) bool {
	home, container, ok := f.home(i)
	if !ok {
		return true
	}
	after, err := i.render(home.State, container)
	return err != nil || after.Equal(home.State)
}

func (f *Facts) home(i Intent) (file FileFact, container string, ok bool) {
	if c := f.Component(i.Component); c != nil {
		return c.Manifest, c.Container, c.Manifest.State.Exists
	}
	if f.Kubelet != nil && i.Path != "" && i.Path == f.Kubelet.Config.Path {
		return f.Kubelet.Config, "", f.Kubelet.Config.State.Exists
	}
	return FileFact{}, "", false
}

// whyLost says what has happened since, as far as it shows: kubeadm writes its files anew at an upgrade, from its ConfigMaps.
func (f *Facts) whyLost(a AppliedFact) Message {
	now := f.Identity.KubernetesVersion
	upgraded := now != "" && a.KubernetesVersion != "" && now != a.KubernetesVersion
	kept, known := f.keptByKubeadm(a.Asks)
	switch {
	case upgraded && known && !kept:
		return Msg("Kubernetes went from %s to %s since, and kubeadm's own configuration does not have it", a.KubernetesVersion, now)
	case upgraded:
		return Msg("Kubernetes went from %s to %s since", a.KubernetesVersion, now)
	case known && !kept:
		return Msg("the file was written since, by somebody or by kubeadm, whose own configuration does not have it")
	}
	return Msg("the file was written since, by somebody else")
}

// keptByKubeadm says whether kubeadm would write all of it.
func (f *Facts) keptByKubeadm(asks []Ask) (kept, known bool) {
	if f.Cluster == nil || f.Cluster.Kubeadm == nil {
		return false, false
	}
	k := f.Cluster.Kubeadm
	for _, a := range asks {
		i, ok := persisted(f, a.Intent)
		if !ok {
			return false, true
		}
		text, edit := []byte(k.ClusterConfiguration), i.editClusterConfiguration
		if *i.Object == KubeletConfig {
			text, edit = []byte(k.KubeletConfiguration), i.editKubeletConfiguration
		}
		after, err := edit(text)
		if err != nil {
			return false, false
		}
		if !bytes.Equal(after, text) {
			return false, true
		}
	}
	return true, true
}

// wanted is what an intent asked for, in a few words.
func (i Intent) wanted() string {
	switch i.Kind {
	case IntentSetFlag:
		return fmt.Sprintf("--%s=%v", i.Key, i.Value)
	case IntentMergeList:
		var parts []string
		for _, e := range i.Add {
			parts = append(parts, "with "+e)
		}
		for _, e := range i.Remove {
			parts = append(parts, "without "+e)
		}
		return fmt.Sprintf("--%s %s", i.Key, strings.Join(parts, " and "))
	case IntentRemoveFlag:
		return "no --" + i.Key
	case IntentSetField:
		return fmt.Sprintf("%s: %v", i.Key, i.Value)
	case IntentSetMode:
		return fmt.Sprintf("mode %04o of %s", i.Mode, i.Path)
	}
	return "the " + i.slot()
}
