package harden

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Benchmark is a version of the CIS Kubernetes Benchmark.
type Benchmark string

// Benchmarks are the versions whose recommendations are known, newest first. Where they were found is in docs/benchmarks.md.
var Benchmarks = []Benchmark{"1.12", "1.11", "1.10"}

// Assessment says who can settle a recommendation, in the benchmark's words.
type Assessment string

const (
	ByProgram Assessment = "automated"
	ByPerson  Assessment = "manual"
)

// Recommendation is what one benchmark asks under one id.
type Recommendation struct {
	Benchmark  Benchmark  `json:"benchmark"`
	ID         string     `json:"id"`
	Level      int        `json:"level"`
	Assessment Assessment `json:"assessment"`
	// Asks is what it asks otherwise than the newest benchmark.
	Asks Message `json:"asks,omitzero"`
}

// newestCounts are how many recommendations each section of the newest benchmark has, numbered from 1.
var newestCounts = map[string]int{
	"1.1": 21, "1.2": 30, "1.3": 7, "1.4": 2, "2": 7, "3.1": 3, "3.2": 2, "4.1": 10, "4.2": 14, "4.3": 1,
	"5.1": 13, "5.2": 12, "5.3": 2, "5.4": 2, "5.5": 1, "5.6": 4,
}

// newestManual are those of sections 1 to 4 that the newest benchmark leaves to a person, as it does all of section 5.
var newestManual = []string{
	"1.1.9", "1.1.10", "1.1.20", "1.1.21",
	"1.2.1", "1.2.3", "1.2.9", "1.2.11", "1.2.20", "1.2.27", "1.2.28", "1.2.29", "1.3.1",
	"2.7", "3.1.1", "3.1.2", "3.1.3", "3.2.1", "3.2.2",
	"4.1.3", "4.1.4", "4.1.7", "4.1.8", "4.2.4", "4.2.5", "4.2.7", "4.2.8", "4.2.9", "4.2.11", "4.2.12", "4.2.13", "4.2.14",
}

// newestLevelTwo are those that only its second level asks. Where published mappings disagree, the first level is taken: the
// second contains it.
var newestLevelTwo = []string{"2.7", "3.2.2", "4.2.8", "5.2.7", "5.3.2", "5.4.1", "5.4.2", "5.5.1", "5.6.2", "5.6.3", "5.6.4"}

// change is how an older benchmark differs from the newest one; what is empty is the same.
type change struct {
	absent     bool
	id         string
	level      int
	assessment Assessment
	asks       Message
}

var (
	alsoCBC    = Msg("suites with CBC are accepted too")
	alsoRSA    = Msg("suites that exchange keys by RSA are accepted too")
	ownerReads = Msg("0600, where the newest asks for 0644")
)

// changes are the differences by the newest benchmark's id.
var changes = map[Benchmark]map[string]change{
	"1.11": {
		"1.2.29": {asks: alsoCBC}, "4.2.12": {asks: alsoRSA},
		"5.2.9": {id: "5.2.10", level: 2}, "5.2.10": {id: "5.2.11"}, "5.2.11": {id: "5.2.12"}, "5.2.12": {id: "5.2.13"},
	},
	"1.10": {
		"1.1.20": {asks: ownerReads}, "4.1.7": {asks: ownerReads},
		"1.2.29": {asks: alsoCBC}, "4.2.12": {asks: alsoRSA},
		"1.2.30": {absent: true}, "4.2.14": {absent: true},
		"5.1.1": {assessment: ByProgram}, "5.1.2": {assessment: ByProgram}, "5.1.3": {assessment: ByProgram},
		"5.1.4": {assessment: ByProgram}, "5.1.5": {assessment: ByProgram}, "5.1.6": {assessment: ByProgram},
		"5.2.9": {id: "5.2.10", level: 2}, "5.2.10": {id: "5.2.11"}, "5.2.11": {id: "5.2.12"}, "5.2.12": {id: "5.2.13"},
		"5.6.1": {id: "5.7.1"}, "5.6.2": {id: "5.7.2"}, "5.6.3": {id: "5.7.3"}, "5.6.4": {id: "5.7.4"},
	},
}

// dropped are recommendations that the newest benchmark no longer has.
var dropped = []Recommendation{
	{"1.11", "4.2.15", 2, ByPerson, Msg("IPAddressDeny=any on the kubelet's unit, which cuts a node off unless IPAddressAllow names everything that it needs")},
}

// RecommendationIDs are the newest benchmark's, of the sections that begin so, in order.
func RecommendationIDs(section string) []string {
	var out []string
	for s, n := range newestCounts {
		for i := range n {
			if id := fmt.Sprintf("%s.%d", s, i+1); strings.HasPrefix(id, section+".") {
				out = append(out, id)
			}
		}
	}
	slices.SortFunc(out, byNumber)
	return out
}

// byNumber orders ids as the benchmark does: 1.2.9 before 1.2.10.
func byNumber(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		if c := cmp.Or(len(x[i])-len(y[i]), strings.Compare(x[i], y[i])); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// AskedBy are a benchmark's recommendations that these references stand for; none: it does not ask for it.
func (r Refs) AskedBy(b Benchmark) []Recommendation {
	var out []Recommendation
	for _, id := range r.CIS {
		got := Recommendation{Benchmark: b, ID: id, Level: 1, Assessment: ByProgram}
		if slices.Contains(newestLevelTwo, id) {
			got.Level = 2
		}
		if slices.Contains(newestManual, id) || strings.HasPrefix(id, "5.") {
			got.Assessment = ByPerson
		}
		c := changes[b][id]
		if c.absent {
			continue
		}
		got.ID, got.Level, got.Assessment = cmp.Or(c.id, id), cmp.Or(c.level, got.Level), cmp.Or(c.assessment, got.Assessment)
		got.Asks = c.asks
		out = append(out, got)
	}
	for _, d := range dropped {
		if d.Benchmark == b && slices.Contains(r.FormerCIS, d.ID) {
			out = append(out, d)
		}
	}
	return out
}

// Recommendations are those of every known benchmark, newest first.
func (r Refs) Recommendations() []Recommendation {
	var out []Recommendation
	for _, b := range Benchmarks {
		out = append(out, r.AskedBy(b)...)
	}
	return out
}

// BenchmarkLine is what some benchmarks say of a control, for people.
type BenchmarkLine struct {
	Label string // "CIS 1.12", or "CIS 1.10-1.12" for several that say the same
	Text  Message
}

// BenchmarkLines are the ids, levels and kinds of assessment, benchmarks that follow each other and say the same in one line; none
// where no benchmark asks for it.
func (r Refs) BenchmarkLines() []BenchmarkLine {
	if len(r.Recommendations()) == 0 {
		return nil
	}
	var out []BenchmarkLine
	for i := 0; i < len(Benchmarks); {
		text, last := r.saidBy(Benchmarks[i]), i
		for last+1 < len(Benchmarks) && r.saidBy(Benchmarks[last+1]).String() == text.String() {
			last++
		}
		label := "CIS " + string(Benchmarks[last])
		if last > i {
			label += "-" + string(Benchmarks[i])
		}
		out = append(out, BenchmarkLine{label, text})
		i = last + 1
	}
	return out
}

func (r Refs) saidBy(b Benchmark) Message {
	asked := r.AskedBy(b)
	if len(asked) == 0 {
		return Msg("not asked for")
	}
	var ids []string
	for _, a := range asked {
		s := fmt.Sprintf("%s (level %d, %s)", a.ID, a.Level, a.Assessment)
		if !a.Asks.IsZero() {
			s += ": " + a.Asks.String()
		}
		ids = append(ids, s)
	}
	return Msg("%s", strings.Join(ids, ", "))
}
