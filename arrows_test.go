package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "kubectl-harden.io/kubectl-harden"

// TestArrows keeps the direction of imports that docs/architecture.md draws: who may never depend on whom.
func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	never := []struct{ from, to string }{
		{"patches", ""},
		{"backups", ""},
		{"harden", "tui"}, {"harden", "cli"}, {"harden", "host"}, {"harden", "cluster"}, {"harden", "backups"}, {"harden", "k8s.io/client-go"},
		{"tui", "cli"}, {"tui", "host"}, {"tui", "cluster"}, {"tui", "backups"}, {"tui", "harden/apply"}, {"tui", "harden/collect"}, {"tui", "k8s.io/client-go"},
		{"host", "k8s.io/client-go"}, {"host", "tui"}, {"host", "cli"}, {"cluster", "host"}, {"cluster", "tui"}, {"cluster", "cli"},
		{"cluster/objects", "k8s.io/client-go"}, {"cluster/sandbox", "k8s.io/client-go"},
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from, ours := strings.CutPrefix(fields[0], module+"/")
		if !ours {
			continue
		}
		for _, rule := range never {
			if !within(from, rule.from) {
				continue
			}
			seen[rule.from] = true
			if bad := slices.IndexFunc(fields[1:], func(dep string) bool { return forbidden(dep, rule.from, rule.to) }); bad >= 0 {
				t.Errorf("%s depends on %s", from, fields[1+bad])
			}
		}
	}
	for _, rule := range never {
		if !seen[rule.from] {
			t.Errorf("no package %s: the rule guards nothing", rule.from)
		}
	}
}

// TestOnlyClusterImportsClientGo: design.md 2.
func TestOnlyClusterImportsClientGo(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if fields[0] != module+"/cluster" && slices.ContainsFunc(fields[1:], func(i string) bool { return within(i, "k8s.io/client-go") }) {
			t.Errorf("%s imports client-go", fields[0])
		}
	}
}

func within(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }

// forbidden: an empty room means any of ours but the package's own.
func forbidden(dep, from, to string) bool {
	ours, isOurs := strings.CutPrefix(dep, module+"/")
	if to == "" {
		return isOurs && !within(ours, from)
	}
	return within(dep, to) || isOurs && within(ours, to)
}
