package harden

import (
	"slices"
	"strings"
	"time"
)

// Stored is how values of some resources are to lie in etcd.
type Stored struct {
	Resources []string `json:"resources"` // "secrets"
	// Begins is how each value begins; "": anyhow.
	Begins string `json:"begins,omitempty"`
	// Without are beginnings that none has.
	Without []string `json:"without,omitempty"`
}

// Holds says that a value which begins so is as it should be.
func (s Stored) Holds(begins string) bool {
	return strings.HasPrefix(begins, s.Begins) && !slices.ContainsFunc(s.Without, func(w string) bool { return strings.HasPrefix(begins, w) })
}

// Words say it of the values.
func (s Stored) Words() Message {
	what := strings.Join(s.Resources, ", ")
	switch {
	case s.Begins != "":
		return Msg("each of the %s in etcd is encrypted, and begins with %s", what, s.Begins)
	case slices.Equal(s.Without, []string{Encrypted}):
		return Msg("none of the %s in etcd is encrypted", what)
	}
	return Msg("none of the %s in etcd begins with %s", what, strings.Join(s.Without, " or "))
}

// storedBy is what an API server with this configuration writes.
func storedBy(c EncryptionConfig) *Stored {
	s := &Stored{Resources: c.Resources, Begins: c.Writes()}
	if s.Begins == "" {
		s.Without = []string{Encrypted}
	}
	return s
}

// storedWait is how long etcd may take to be looked through.
const storedWait = 10 * time.Minute

// keyChange is what a change of the encryption configuration means for what is stored, forward and back alike.
type keyChange struct {
	needs    *Stored // before it: nothing that only a key which goes could read
	was, now *Stored // what is written; both nil where that does not change
	controls []string
}

func keyChangeOf(steps []Step) keyChange {
	var out keyChange
	for _, s := range steps {
		if !s.ofKeys() || !s.Before.Exists {
			continue
		}
		was, ours := ParseEncryption(s.Before.Data)
		if !ours {
			continue
		}
		out.controls = s.Controls()
		if !s.After.Exists {
			out.needs = &Stored{Resources: was.Resources, Without: []string{Encrypted}}
			continue
		}
		now, _ := ParseEncryption(s.After.Data)
		var gone []string
		for _, k := range was.Keys {
			if !now.has(k.Name) {
				gone = append(gone, was.begins(k))
			}
		}
		if gone != nil {
			out.needs = &Stored{Resources: was.Resources, Without: gone}
		}
		if was.Writes() != now.Writes() {
			out.was, out.now = storedBy(was), storedBy(now)
		}
	}
	return out
}

// WayBack is what has to be stored before a stage that has passed its point of no simple return is undone: its files alone do
// not bring that back. Nil for other stages.
func (st Stage) WayBack() *Stored { return keyChangeOf(st.Steps).was }

// WritesAtOnce says that the stage brings an encryption configuration to where there was none, and that it writes with its key: the
// others have to be that far already.
func (st Stage) WritesAtOnce() bool {
	return slices.ContainsFunc(st.Steps, func(s Step) bool {
		c, ours := ParseEncryption(s.After.Data)
		return s.ofKeys() && !s.Before.Exists && ours && !c.Plain
	})
}

// KeysNeeded is how everything in etcd lies that needs none of the keys which the stage has made; nil where it makes none.
func (st Stage) KeysNeeded() *Stored { return keyChangeOf(backwards(st.Steps)).needs }

// backwards are the steps of going back.
func backwards(steps []Step) []Step {
	out := slices.Clone(steps)
	for i := range out {
		out[i].Before, out[i].After = out[i].After, out[i].Before
	}
	return out
}

// KeysMade are the steps whose way back takes an encryption key away.
func (st Stage) KeysMade() []Step {
	var out []Step
	for _, s := range st.Steps {
		if keyChangeOf(backwards([]Step{s})).needs != nil {
			out = append(out, s)
		}
	}
	return out
}

// EncryptionAsked are the steps that give the API server an encryption configuration, in its manifest or in what kubeadm renders that
// from: once anything is encrypted, taking that back makes it unreadable, now or at the next upgrade.
func EncryptionAsked(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		return slices.ContainsFunc(s.Asks, func(a Ask) bool { return a.Intent.Kind == IntentSetFlag && a.Intent.Key == EncryptionFlag })
	})
}

// needsNothing is the stage in front of one that takes keys away, or the configuration that names them.
func needsNothing(keys keyChange, steps []Step, undo bool) []Stage {
	if keys.needs == nil && undo && EncryptionAsked(steps) {
		keys.needs = &Stored{Resources: []string{"secrets", "configmaps"}, Without: []string{Encrypted}}
	}
	if keys.needs == nil {
		return nil
	}
	return []Stage{{
		Title: Msg("nothing needs the key"), Steps: []Step{}, Effects: []Effect{}, Gates: []Gate{{Stored: keys.needs, Timeout: storedWait}},
	}}
}

// savesEtcd are the controls for which a snapshot of etcd comes first: who writes with another key, and who restarts etcd. Where nothing
// runs, nobody gives one.
func savesEtcd(st Stage, keys keyChange, f *Facts) []string {
	if st.NoReturn {
		return keys.controls
	}
	if e, restarts := st.Effect(Etcd); restarts && !f.Identity.Offline {
		return e.Controls
	}
	return nil
}

// unsavedChecks tell that etcd may give no snapshot before it restarts: of a certificate that has ended, nobody may take it for etcd.
func unsavedChecks(f *Facts, st Stage) []Check {
	_, restarts := st.Effect(Etcd)
	if !restarts || !slices.ContainsFunc(st.Steps, func(s Step) bool { return s.mends(f.CollectedAt) }) {
		return nil
	}
	return []Check{{Component: Etcd, Precondition: Precondition{
		ID: "snapshot", Title: Msg("a snapshot of etcd can be taken before it restarts"), State: PreconditionUnknown,
		Message: Msg("with a certificate that has ended it may answer nobody; it is tried, and where none can be taken, etcd restarts without one and that is told"),
	}}}
}

// stagesOf are the stage of these steps, and around it what an encryption key wants: proof that nothing needs the one that goes,
// and everything written anew where what is written with changes, here and, by then, on the other control planes. main is the place of
// the stage with the steps.
func stagesOf(title Message, steps []Step, f *Facts, proofs []Proof, shared *Sharing, undo bool) (stages []Stage, main int, err error) {
	st, err := stageOf(title, steps, f, proofs)
	if err != nil {
		return nil, 0, err
	}
	keys := keyChangeOf(steps)
	stages = needsNothing(keys, steps, undo)
	main = len(stages)
	st.NoReturn = keys.now != nil
	if controls := savesEtcd(st, keys, f); controls != nil && !undo {
		st.Effects = append([]Effect{{Kind: EffectSnapshot, Controls: controls}}, st.Effects...)
	}
	if _, _, changed := KeyFile(steps); changed {
		st.Sharing = shared
	}
	stages = append(stages, st)
	if keys.now != nil && shared.whole() {
		stages = append(stages, Stage{
			Title: Msg("everything is written anew"), Steps: []Step{},
			Effects: []Effect{{Kind: EffectRewrite, Stored: keys.now, Controls: keys.controls}},
			Gates:   []Gate{{Stored: keys.now, Timeout: storedWait}},
		})
	}
	return stages, main, nil
}
