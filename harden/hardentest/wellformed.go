package hardentest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	cisForm    = regexp.MustCompile(`^[1-5]\.\d{1,2}(\.\d{1,2})?$`)
	stigForm   = regexp.MustCompile(`^V-\d{6}$`)
	docsForm   = regexp.MustCompile(`^https://(kubernetes\.io|github\.com/kubernetes|etcd\.io)/`)
	us         = regexp.MustCompile(`(?i)\b(we|our|us|i|my)\b`)
	verb       = regexp.MustCompile(`%[^ ]`)
	sentence   = regexp.MustCompile(`[.?] +[A-Z]|[.]$`)
	severities = []harden.Severity{harden.Low, harden.Medium, harden.High, harden.Critical}
	risks      = []harden.Risk{harden.RiskNode, harden.RiskWorkloads, harden.RiskLockOut, harden.RiskOneWay}
)

// CheckArea checks that the controls of an area are complete and that their words are as the product's words are.
func CheckArea(t *testing.T, a harden.Area) {
	t.Helper()
	if !idForm.MatchString(a.ID) || a.Title == "" {
		t.Errorf("area %q %q has no proper id or title", a.ID, a.Title)
	}
	prose(t, a.ID+" about", a.About.String())
	seen := map[string]bool{}
	for _, c := range a.Controls {
		if !idForm.MatchString(c.ID) || !strings.HasPrefix(c.ID, a.ID+"-") || seen[c.ID] {
			t.Errorf("%s: ids are unique, in lower case, and begin with the area", c.ID)
		}
		seen[c.ID] = true
		checkControl(t, c)
	}
}

func checkControl(t *testing.T, c harden.Control) {
	t.Helper()
	label(t, c.ID+" title", c.Title)
	prose(t, c.ID+" why", c.Why.String())
	if n := len(sentence.FindAllString(c.Why.String(), -1)); n < 2 || n > 4 {
		t.Errorf("%s: why has %d sentences, want 2 to 4", c.ID, n)
	}
	if !slices.Contains(severities, c.Severity) || c.Assess == nil || len(c.Needs) == 0 {
		t.Errorf("%s: severity, needs or verdict is missing", c.ID)
	}
	for form, ids := range map[*regexp.Regexp][]string{cisForm: c.Refs.CIS, stigForm: c.Refs.STIG, docsForm: c.Refs.Docs} {
		for _, id := range ids {
			if !form.MatchString(id) {
				t.Errorf("%s: reference %q has not the form %s", c.ID, id, form)
			}
		}
	}
	if len(c.Refs.CIS)+len(c.Refs.STIG)+len(c.Refs.NSA)+len(c.Refs.Seed)+len(c.Refs.Docs) == 0 {
		t.Errorf("%s: nothing says where it comes from", c.ID)
	}
	var ids []string
	for _, r := range c.Remedies {
		if !idForm.MatchString(r.ID) || slices.Contains(ids, r.ID) {
			t.Errorf("%s: remedy ids are unique and in lower case, not %q", c.ID, r.ID)
		}
		ids = append(ids, r.ID)
		checkRemedy(t, c.ID+" "+r.ID, r)
	}
}

func checkRemedy(t *testing.T, at string, r harden.Remedy) {
	t.Helper()
	label(t, at+" title", r.Title.String())
	prose(t, at+" impact", r.Impact.String())
	for _, b := range r.Breaks {
		prose(t, at+" breaks", b.String())
	}
	if len(r.Breaks) == 0 || r.Intents == nil || !slices.Contains(risks, r.Risk) {
		t.Errorf("%s: what it may break, its risk or its intents are missing", at)
	}
	if r.Risk != harden.RiskNode && r.Preconditions == nil && r.Risk != harden.RiskWorkloads {
		t.Errorf("%s: a risky remedy says what must hold before", at)
	}
	var names []string
	for _, o := range r.Options {
		if !idForm.MatchString(o.Name) || slices.Contains(names, o.Name) {
			t.Errorf("%s: option names are unique and in lower case, not %q", at, o.Name)
		}
		names = append(names, o.Name)
		label(t, at+" option "+o.Name, o.Title.String())
		if err := o.Accepts(o.Default); err != nil && o.Default != "" {
			t.Errorf("%s: option %s refuses its default: %v", at, o.Name, err)
		}
	}
}

// label is a title: no sentence, so no full stop.
func label(t *testing.T, at, text string) {
	t.Helper()
	if text == "" || strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text {
		t.Errorf("%s: %q is no title", at, text)
	}
	words(t, at, text)
}

// prose is whole sentences.
func prose(t *testing.T, at, text string) {
	t.Helper()
	if text == "" || !strings.HasSuffix(text, ".") || text[:1] != strings.ToUpper(text[:1]) {
		t.Errorf("%s: %q is not whole sentences", at, text)
	}
	words(t, at, text)
}

func words(t *testing.T, at, text string) {
	t.Helper()
	if m := us.FindString(text); m != "" {
		t.Errorf("%s: %q speaks of the speaker: %q", at, text, m)
	}
	if strings.Contains(text, "!") || strings.Contains(text, "  ") || strings.Contains(text, "%!") || verb.MatchString(strings.ReplaceAll(text, "%%", "")) {
		t.Errorf("%s: %q has an exclamation mark, two blanks or an argument too few", at, text)
	}
}
