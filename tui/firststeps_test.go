package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestSettingAnOptionChoseARiskyControl: only a word of its own chooses a control, and help names enter and esc as the footer
// does.
func TestSettingAnOptionChoseARiskyControl(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("enter", "j", "o", "enter").want("not chosen", "set: apiserver-anonymous-auth by no-anonymous; space on the control chooses it", "enter change", "esc back")
	w.keys("?", "'enter").want("change the value").keys("ctrl+u", "'esc").want("back: what was set stays set").wantNot("cancel")
	w.keys("esc", "esc", "esc").want("0 controls chosen")
	w.keys("enter", "j", "space", "p").want("kube-apiserver restarts", "apiserver-anonymous-auth: lock-out") // by what was set
	if got := w.m.choices["apiserver-anonymous-auth"].Remedy; got != "no-anonymous" {
		t.Errorf("chosen by %q", got)
	}
	w = begun(t, newFake(t), Options{})
	w.keys("j", "enter", "o", "enter").want("there is no other remedy")
}

// TestTheStarDidNothingInAllAreas: it chooses there what it chooses in each, and says so in a sentence that fits.
func TestTheStarDidNothingInAllAreas(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("f", "*").want("chose 3 controls of all areas; 2 others that fail can hurt more than this node: read, then choose one by one")
	w.keys("*").want("chose 0 controls of all areas; 2 others")
	w.keys("esc", "*").want("chose 0 controls of API server; 1 other that fails can hurt more than this node")
	w.keys("j", "*").want("chose 0 controls of Audit").wantNot("can hurt")
}

// TestKeysWithoutAnAnswer: a key that does nothing on a screen says where it does.
func TestKeysWithoutAnAnswer(t *testing.T) {
	for key, want := range map[string]string{
		"d": "d works on a control: the exact diff", "A": "A works on a plan: apply the plan", "space": "space works on a control: choose a control",
		"C": "nothing stands open: there is nothing to confirm", "r": "the node was read again", "x": "x does nothing here; ? shows what does",
		"u": "u works in the history: undo",
	} {
		w := begun(t, newFake(t), Options{})
		w.keys(key).want(want)
		if len(w.m.choices) > 0 {
			t.Errorf("%s chooses", key)
		}
	}
}

// TestKeysWereOfferedThatHaveNothingToDo: a control that passes has nothing to choose, and one of which all is known nothing
// to accept.
func TestKeysWereOfferedThatHaveNothingToDo(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	footer := func() string { lines := strings.Split(w.frame(), "\n"); return lines[len(lines)-1] }
	for _, list := range []bool{true, false} {
		w.keys("enter")
		if f := footer(); strings.Contains(f, "choose") || strings.Contains(f, "diff") || strings.Contains(f, "options") || !strings.Contains(f, "esc back") {
			t.Errorf("list %v: a control that passes: %q", list, f)
		}
	}
	w.keys("space").want("nothing to do: it is as recommended")
	w.keys("esc", "j", "enter").want("a accept unknown").keys("esc", "j", "enter").wantNot("accept unknown").want("space choose", "d diff", "o options")
}

// TestEscFromAFoundControlWentToTheAreas: it goes back to what was found.
func TestEscFromAFoundControlWentToTheAreas(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("/", "'profiling", "enter").want("References").keys("esc").want("Search all controls", "/ profiling").keys("esc").want("Areas")
}

// TestAreasScrolledOffWithoutAMarker: as many areas as fit are shown, and how many are not; no text is cut without a sign.
func TestAreasScrolledOffWithoutAMarker(t *testing.T) {
	e := newFake(t)
	for len(e.areas) < 12 {
		e.areas = append(e.areas, harden.Area{ID: fmt.Sprint(len(e.areas)), Title: "Kept through upgrades", About: harden.Msg("%s", strings.Repeat("about it ", 40))})
	}
	w := begun(t, e, Options{Width: 60, Height: 15})
	w.want("API server", "(2 more: down)").keys("G").want("(2 more: up)")
	w = begun(t, e, Options{Width: 80, Height: 24})
	w.want("The walk:").keys("G").want("API server", "Kept through upgrades  ", "⋯").wantNot("more: ")
	w.m.say(strings.Repeat("a note that is long ", 12))
	w.want("API server", "Kept through upgrades  ").wantNot("more: ")
}

// TestTheFiltersCountWasCut: the title has room for it.
func TestTheFiltersCountWasCut(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("f", "f").want("showing manual and unknown only (1 of 9)")
}

// TestPathsWereBrokenWithinAName: a path or an address that is wider than its line is broken behind a slash.
func TestPathsWereBrokenWithinAName(t *testing.T) {
	const address = "https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"
	got := wrapLine("see "+address, 60)
	if want := []string{"see", "https://kubernetes.io/docs/reference/access-authn-authz/", "admission-controllers/"}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
	for _, l := range wrapLine(strings.Repeat("x", 200)+"/"+strings.Repeat("y", 100), 60) {
		if ansi.StringWidth(l) > 60 {
			t.Errorf("%q", l)
		}
	}
}

// TestOptionsOfAControlThatPassesCouldNotBeSet: what is as recommended can be set otherwise within that.
func TestOptionsOfAControlThatPassesCouldNotBeSet(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("j", "enter", "space", "p", "d", "A").settle().keys("'cp1", "enter", "enter") // there is a policy now
	w.keys("enter").want("there is a policy").keys("space").want("it is as recommended; o sets it otherwise").wantNot("d diff")
	w.keys("o", "j", "enter", "ctrl+u", "'9", "enter", "esc").want("space choose", "d diff").keys("d").want("--audit-log-maxage=9")
	w.keys("esc", "space").want("chosen: audit-policy")

	// Another remedy can be taken, too.
	w = begun(t, newFake(t), Options{})
	w.keys("enter", "j", "space", "a", "p", "d", "A").settle().keys("'cp1", "enter", "enter")
	w.keys("enter", "j").want("anonymous requests are limited").wantNot("d diff")
	w.keys("o", "right", "esc").want("space choose", "d diff").keys("space").want("chosen: apiserver-anonymous-auth")
}
