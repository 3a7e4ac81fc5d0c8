package cli

import (
	"fmt"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// plansView is what plan -o json prints: digests in place of contents (docs/schema/plan.json).
type plansView struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Plans      []planView `json:"plans"`
}

type planView struct {
	Scope   harden.Scope    `json:"scope"`
	Target  harden.Identity `json:"target"`
	Created time.Time       `json:"created"`
	Tool    string          `json:"tool"` // version of the program that made it
	Choices []harden.Choice `json:"choices"`
	Stages  []stageView     `json:"stages"`
	// Accepted are components that were accepted although not all of them can be rehearsed.
	Accepted  []harden.ComponentID `json:"accepted,omitempty"`
	Preflight []harden.Check       `json:"preflight"`
	Skipped   []harden.Skip        `json:"skipped"`
	// Switch is absent where the plan can lock nobody out.
	Switch *harden.Switch `json:"switch,omitempty"`
	// Handover is absent where nobody asked for one.
	Handover *harden.Handover `json:"handover,omitempty"`
	// Undoes is the transaction that this plan undoes, wholly or what UndoesControls asked for.
	Undoes         string   `json:"undoes,omitempty"`
	UndoesControls []string `json:"undoesControls,omitempty"`
}

type stageView struct {
	Title      harden.Message     `json:"title"`
	NoReturn   bool               `json:"noReturn"` // beyond it, its own way back is used
	Sharing    *harden.Sharing    `json:"sharing,omitempty"`
	Steps      []stepView         `json:"steps"`
	Rehearsals []harden.Rehearsal `json:"rehearsals"`
	Effects    []harden.Effect    `json:"effects"`
	Gates      []harden.Gate      `json:"gates"`
}

type stepView struct {
	ID        string             `json:"id"`
	Kind      harden.StepKind    `json:"kind"`
	Path      string             `json:"path,omitempty"`
	Object    *harden.ObjectRef  `json:"object,omitempty"`
	Component harden.ComponentID `json:"component,omitempty"`
	Controls  []string           `json:"controls"`
	Before    stateView          `json:"before"`
	After     stateView          `json:"after"`
	Secret    bool               `json:"secret,omitempty"` // its content is never shown
	// Certificates is of a target that kubeadm renews.
	Certificates *harden.CertificateChange `json:"certificates,omitempty"`
}

type stateView struct {
	Exists bool   `json:"exists"`
	SHA256 string `json:"sha256,omitempty"`
	Size   int    `json:"size"`
	Mode   string `json:"mode,omitempty"` // octal: "0600"
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
}

func viewPlans(plans []harden.Plan) plansView {
	out := plansView{APIVersion: "harden/v1", Kind: "Plans", Plans: []planView{}}
	for _, p := range plans {
		v := planView{
			Scope: p.Scope, Target: p.Target, Created: p.Created, Tool: p.Tool, Choices: p.Choices, Stages: []stageView{},
			Accepted: p.Accepted, Preflight: p.Preflight, Skipped: p.Skipped, Switch: p.Switch, Handover: p.Handover,
			Undoes: p.Undoes, UndoesControls: p.UndoesControls,
		}
		for _, st := range p.Stages {
			sv := stageView{Title: st.Title, NoReturn: st.NoReturn, Sharing: st.Sharing, Steps: []stepView{}, Rehearsals: st.Rehearsals, Effects: st.Effects, Gates: st.Gates}
			if sv.Rehearsals == nil {
				sv.Rehearsals = []harden.Rehearsal{}
			}
			for _, s := range st.Steps {
				sv.Steps = append(sv.Steps, stepView{
					ID: s.ID, Kind: s.Kind, Path: s.Path, Object: s.Object, Component: s.Component, Controls: s.Controls(),
					Before: viewState(s.Before), After: viewState(s.After), Secret: s.Secret,
					Certificates: s.Certificates(),
				})
			}
			v.Stages = append(v.Stages, sv)
		}
		out.Plans = append(out.Plans, v)
	}
	return out
}

func viewState(s harden.State) stateView {
	v := stateView{Exists: s.Exists, SHA256: s.Digest(), Size: len(s.Data), UID: s.UID, GID: s.GID}
	if s.Exists && s.Mode != 0 {
		v.Mode = fmt.Sprintf("%04o", s.Mode)
	}
	return v
}
