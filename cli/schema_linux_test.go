package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

const schemaURL = "https://kubectl-harden.io/schema/"

// schemas reads docs/schema, which is all that a reader of the JSON has to go by.
func schemas(t *testing.T) func(name, what, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob("../docs/schema/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no schemas", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(f, err)
		}
		if err := c.AddResource(schemaURL+filepath.Base(f), doc); err != nil {
			t.Fatal(f, err)
		}
	}
	return func(name, what, text string) {
		t.Helper()
		schema, err := c.Compile(schemaURL + name + ".json")
		if err != nil {
			t.Fatal(name, err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What the program prints and writes as JSON is what docs/schema says, empty, full, done, undone and interrupted.
func TestOutputsAreAsTheirSchemasSay(t *testing.T) {
	valid := schemas(t)
	root := tempRoot(t)
	makeVersion(t, root, "1.37", "")
	dir := tempRoot(t)

	valid("assessment", "assess", must(t, exitDone, at(root, "assess", "-o", "json")...))
	valid("history", "history, empty", must(t, exitDone, at(root, "history", "-o", "json")...))
	valid("status", "status, empty", must(t, exitDone, at(root, "status", "-o", "json")...))
	valid("plan", "plan of what is right already", must(t, exitDone, at(root, "plan", "--control", "kubelet-read-only-port", "-o", "json")...))

	file := filepath.Join(dir, "plan.json")
	valid("plan", "plan", must(t, exitDone, at(root, "plan", "--all", "--control", "networkpolicy-enforced", "-o", "json", "--out", file)...))
	valid("planfile", "plan --out", contents(t, file))

	choices := filepath.Join(dir, "choices.json")
	if err := writeChoices(choices, []harden.Choice{{Control: "audit-policy", Remedy: "audit-log", Options: harden.Values{"maxage": "30"}, Accept: true}, {Control: "apiserver-profiling"}}); err != nil {
		t.Fatal(err)
	}
	valid("choices", "saved choices", contents(t, choices))
	must(t, exitDone, at(root, "plan", "--file", choices)...)

	must(t, exitDone, at(root, "apply", "--all", "--yes", "--reason", "why")...)
	must(t, exitDone, at(root, "rollback", "--control", "apiserver-profiling", "--yes")...)
	must(t, exitDone, at(root, "rollback", "--yes")...)
	valid("history", "history", must(t, exitDone, at(root, "history", "-o", "json")...))
	for _, id := range transactionIDs(t, root) {
		valid("transaction", "history "+id, must(t, exitDone, at(root, "history", id, "-o", "json")...))
		valid("planfile", "plan.json of "+id, `{"apiVersion":"harden/v1","kind":"PlanFile","plans":[`+
			contents(t, filepath.Join(root, defaultStateDir, "transactions", id, "plan.json"))+`]}`)
	}

	killedAfter(t, root, 1, 0)
	code, stdout, _ := run(at(root, "status", "-o", "json")...)
	if code != exitUnsettled && code != exitDone {
		t.Errorf("status: exit code %d", code)
	}
	valid("status", "status, interrupted", stdout)
	valid("history", "history, interrupted", must(t, exitDone, at(root, "history", "-o", "json")...))
}

// The same with a live node and a cluster: objects, gates, proofs, what was awaited.
func TestOutputsOfALiveNodeAreAsTheirSchemasSay(t *testing.T) {
	valid := schemas(t)
	ctx := t.Context()
	a := &app{areas: catalog.Areas()}
	e, _, _ := demoEngine(t, a)
	f, err := e.Facts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = e.SlowFacts(ctx, f); err != nil {
		t.Fatal(err)
	}
	findings := e.Assess(f)
	valid("assessment", "assess", printed(t, assessment{"harden/v1", f.Identity, viewMachine(f), harden.Count(findings), findings}))
	var named []string
	for _, x := range findings {
		if x.Status == harden.StatusFail {
			named = append(named, x.Control)
		}
	}
	choices, skipped, err := harden.Select(f, e.areas, harden.Selection{Controls: named, Accept: named})
	if err != nil {
		t.Fatal(err)
	}
	plans, err := e.planOf(ctx, f, choices, skipped)
	if err != nil {
		t.Fatal(err)
	}
	valid("plan", "plan", printed(t, viewPlans(plans)))
	valid("planfile", "plan --out", printed(t, planFile{"harden/v1", "PlanFile", []string{"--all"}, plans}))
	for _, p := range plans {
		if p.Empty() {
			t.Errorf("there is nothing in the plan of the %s", p.Scope)
		}
		res := e.Apply(ctx, p.Accept(p.Unrehearsed()...), nil)
		if res.Outcome == harden.OutcomeWaiting {
			res = e.Confirm(ctx, res.Transaction)
		}
		if res.Outcome != harden.OutcomeApplied {
			t.Fatalf("%s: %s", res.Outcome, res.Message)
		}
		var out bytes.Buffer
		a.Out = &out
		list, err := e.History(ctx)
		if err == nil {
			err = a.oneTransaction(ctx, e, list, res.Transaction, "json")
		}
		if err != nil {
			t.Fatal(err)
		}
		valid("transaction", "history TX", out.String())
	}
}

func printed(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	if err := writeJSON(&out, v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func contents(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func transactionIDs(t *testing.T, root string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(root, defaultStateDir, "transactions", "[0-9]*"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("there are no transactions", err)
	}
	var ids []string
	for _, d := range dirs {
		ids = append(ids, filepath.Base(d))
	}
	return ids
}
