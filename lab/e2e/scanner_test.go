//go:build linux

package main

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the scanner may go on saying is listed for people too, with reasons: the two lists are the same.
func TestWhatTheScannerGoesOnSayingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/kube-bench.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d[^|]*) \| (FAIL|WARN)\b`).FindAllStringSubmatch(string(text), -1) {
		ids := strings.Split(row[1], ", ")
		if first, last, isSpan := strings.Cut(row[1], " to "); isSpan {
			ids = nil
			group := first[:strings.LastIndex(first, ".")+1]
			for n := first[len(group):][0]; n <= last[len(group):][0]; n++ {
				ids = append(ids, group+string(n))
			}
		}
		for _, id := range ids {
			documented[id] = row[2]
		}
	}
	if !maps.Equal(documented, goesOn) {
		t.Errorf("docs/kube-bench.md has %v, the scenario %v", documented, goesOn)
	}
}
