package harden

import (
	"errors"
	"reflect"
	"slices"
	"testing"
)

// sharingArea has two failing controls whose remedies share an option; each asks its own file, and the other's along.
func sharingArea() []Area {
	control := func(id, own, other string) Control {
		return Control{
			ID:     id,
			Assess: func(*Facts) Verdict { return Failed(Msg("no")) },
			Remedies: []Remedy{{
				ID: "both", Risk: RiskNode, Shares: "pair",
				Options: []Option{{Name: "text", Default: "plain"}},
				Preconditions: func(_ *Facts, v Values) []Precondition {
					return []Precondition{{ID: "text", State: Met, Message: Msg("%s", v["text"])}}
				},
				Intents: func(_ *Facts, v Values) ([]Intent, error) {
					mine := []Intent{WriteFile(own, []byte(v["text"]), 0o600, "")}
					theirs := []Intent{WriteFile(other, []byte(v["text"]), 0o600, "")}
					return append(mine, Along(theirs)...), nil
				},
				Proofs: func(*Facts, Values) []Proof { return []Proof{{Control: id, Kind: ProofAdmin, Path: "/x", Status: 200}} },
			}},
		}
	}
	return []Area{{ID: "pair", Controls: []Control{control("pair-a", "/a", "/b"), control("pair-b", "/b", "/a")}}}
}

func TestSharedOptions(t *testing.T) {
	choice := func(id, text string) Choice {
		c := Choice{Control: id}
		if text != "" {
			c.Options = Values{"text": text}
		}
		return c
	}
	tests := []struct {
		name    string
		choices []Choice
		want    map[string][]string // path -> text, then the controls that asked
		wantErr bool
	}{
		{"one alone brings the other's along", []Choice{choice("pair-a", "")}, map[string][]string{"/a": {"plain", "pair-a"}, "/b": {"plain", "pair-a"}}, false},
		{"together each has its own", []Choice{choice("pair-a", ""), choice("pair-b", "")}, map[string][]string{"/a": {"plain", "pair-a"}, "/b": {"plain", "pair-b"}}, false},
		{"what one sets holds for both", []Choice{choice("pair-a", ""), choice("pair-b", "set")}, map[string][]string{"/a": {"set", "pair-a"}, "/b": {"set", "pair-b"}}, false},
		{"agreeing is fine", []Choice{choice("pair-a", "x"), choice("pair-b", "x")}, map[string][]string{"/a": {"x", "pair-a"}, "/b": {"x", "pair-b"}}, false},
		{"disagreeing is not", []Choice{choice("pair-a", "x"), choice("pair-b", "y")}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plans, err := Build(BuildInput{
				Facts: &Facts{Distro: "kubeadm"}, Areas: sharingArea(), Choices: tt.choices,
				Read: func(string) (State, error) { return State{}, nil },
			})
			var refused *OptionError
			if errors.As(err, &refused) != tt.wantErr || err != nil && !tt.wantErr {
				t.Fatalf("error = %v, want one: %v", err, tt.wantErr)
			}
			if err != nil {
				return
			}
			got := map[string][]string{}
			for _, s := range plans.Node.Steps() {
				got[s.Path] = append([]string{string(s.After.Data)}, s.Controls()...)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("steps = %v, want %v", got, tt.want)
			}
			own := slices.DeleteFunc(plans.Node.Preflight, func(c Check) bool { return c.Control == "" })
			if len(own) != 1 {
				t.Errorf("preflight says %d things of controls, want the shared one once", len(own))
			}
			for _, c := range plans.Node.Choices {
				if !reflect.DeepEqual(c.Options, plans.Node.Choices[0].Options) {
					t.Errorf("choices carry different options: %v and %v", c.Options, plans.Node.Choices[0].Options)
				}
			}
		})
	}
}
