package harden_test

import (
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestBenchmarksDiffer: ids that moved, that are not there, that ask for something else, and what the newest has no more.
func TestBenchmarksDiffer(t *testing.T) {
	for _, row := range []struct {
		refs       harden.Refs
		benchmark  harden.Benchmark
		ids        []string
		level      int
		assessment harden.Assessment
		asks       string
	}{
		{harden.Refs{CIS: []string{"1.2.15"}}, "1.10", []string{"1.2.15"}, 1, harden.ByProgram, ""},
		{harden.Refs{CIS: []string{"1.2.30"}}, "1.12", []string{"1.2.30"}, 1, harden.ByProgram, ""},
		{harden.Refs{CIS: []string{"1.2.30"}}, "1.11", []string{"1.2.30"}, 1, harden.ByProgram, ""},
		{harden.Refs{CIS: []string{"1.2.30"}}, "1.10", nil, 0, "", ""},
		{harden.Refs{CIS: []string{"4.2.14"}}, "1.10", nil, 0, "", ""},
		{harden.Refs{CIS: []string{"1.1.20"}}, "1.10", []string{"1.1.20"}, 1, harden.ByPerson, "0600, where the newest asks for 0644"},
		{harden.Refs{CIS: []string{"1.1.20"}}, "1.11", []string{"1.1.20"}, 1, harden.ByPerson, ""},
		{harden.Refs{CIS: []string{"2.7"}}, "1.12", []string{"2.7"}, 2, harden.ByPerson, ""},
		{harden.Refs{CIS: []string{"5.1.1"}}, "1.12", []string{"5.1.1"}, 1, harden.ByPerson, ""},
		{harden.Refs{CIS: []string{"5.1.1"}}, "1.10", []string{"5.1.1"}, 1, harden.ByProgram, ""},
		{harden.Refs{CIS: []string{"5.2.12"}}, "1.11", []string{"5.2.13"}, 1, harden.ByPerson, ""},
		{harden.Refs{CIS: []string{"5.6.2"}}, "1.11", []string{"5.6.2"}, 2, harden.ByPerson, ""},
		{harden.Refs{CIS: []string{"5.6.2"}}, "1.10", []string{"5.7.2"}, 2, harden.ByPerson, ""},
		{harden.Refs{FormerCIS: []string{"4.2.15"}}, "1.12", nil, 0, "", ""},
		{harden.Refs{FormerCIS: []string{"4.2.15"}}, "1.10", nil, 0, "", ""},
		{harden.Refs{STIG: []string{"V-242390"}}, "1.12", nil, 0, "", ""},
	} {
		got := row.refs.AskedBy(row.benchmark)
		var ids []string
		for _, r := range got {
			ids = append(ids, r.ID)
			if r.Benchmark != row.benchmark || r.Level != row.level || r.Assessment != row.assessment || r.Asks.String() != row.asks {
				t.Errorf("%v in %s: %+v", row.refs, row.benchmark, r)
			}
		}
		if !slices.Equal(ids, row.ids) {
			t.Errorf("%v in %s: ids %v, want %v", row.refs, row.benchmark, ids, row.ids)
		}
	}
	got := harden.Refs{FormerCIS: []string{"4.2.15"}}.Recommendations()
	if len(got) != 1 || got[0].Benchmark != "1.11" || got[0].Level != 2 || got[0].Asks.IsZero() {
		t.Errorf("4.2.15: %+v", got)
	}
}

// TestBenchmarksThatSayTheSame: they share a line, and one that does not ask says so.
func TestBenchmarksThatSayTheSame(t *testing.T) {
	for id, want := range map[string][]string{
		"1.2.15": {"CIS 1.10-1.12 1.2.15 (level 1, automated)"},
		"1.2.30": {"CIS 1.11-1.12 1.2.30 (level 1, automated)", "CIS 1.10 not asked for"},
		"5.2.12": {"CIS 1.12 5.2.12 (level 1, manual)", "CIS 1.10-1.11 5.2.13 (level 1, manual)"},
		"4.1.7":  {"CIS 1.11-1.12 4.1.7 (level 1, manual)", "CIS 1.10 4.1.7 (level 1, manual): 0600, where the newest asks for 0644"},
	} {
		var got []string
		for _, l := range (harden.Refs{CIS: []string{id}}).BenchmarkLines() {
			got = append(got, l.Label+" "+l.Text.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if got := (harden.Refs{NSA: []string{"x"}}).BenchmarkLines(); got != nil {
		t.Errorf("what no benchmark asks for: %v", got)
	}
}

func TestIDsAreInTheOrderOfTheBenchmark(t *testing.T) {
	want := []string{"1.4.1", "1.4.2"}
	if got := harden.RecommendationIDs("1.4"); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	all := harden.RecommendationIDs("1")
	if len(all) != 60 || all[0] != "1.1.1" || all[9] != "1.1.10" || all[21] != "1.2.1" {
		t.Errorf("%d: %v", len(all), all)
	}
}
