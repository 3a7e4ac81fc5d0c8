//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// printTable prints what the scenarios came to, and the figures.
func printTable(w io.Writer, results []result, took time.Duration) {
	width := 0
	for _, r := range results {
		width = max(width, len(r.scenario.name))
	}
	fmt.Fprintf(w, "\n%-*s  %-14s %8s  figures\n", width, "scenario", "result", "seconds")
	count := map[verdict]int{}
	for _, r := range results {
		count[r.verdict]++
		lines := wrapped(r.figures, 100)
		fmt.Fprintf(w, "%-*s  %-14s %8.1f  %s\n", width, r.scenario.name, r.verdict, r.took.Seconds(), lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(w, "%-*s  %-14s %8s  %s\n", width, "", "", "", l)
		}
		for _, why := range r.why {
			fmt.Fprintf(w, "%-*s    %s\n", width, "", indented(shortened(why, 6), width+4))
		}
		if r.logs != "" {
			fmt.Fprintf(w, "%-*s    kept: %s\n", width, "", r.logs)
		}
	}
	fmt.Fprintf(w, "\n%d scenarios passed (%d of them at the second try), %d failed, %d were not run, %d not begun, %d left out, in %s\n",
		count[passed]+count[passedAgain], count[passedAgain], count[failed], count[notRun], count[notBegun], count[leftOut], took.Round(time.Second))
	fmt.Fprint(w, summed(results))
	// A form that test runners have, and that programs read.
	fmt.Fprintf(w, "e2e: %d passed, %d failed, %d skipped\n", count[passed]+count[passedAgain], count[failed]+count[notRun], count[leftOut]+count[notBegun])
}

// summed says which scenarios came to what, a line for each verdict that one has.
func summed(results []result) string {
	var text strings.Builder
	for _, v := range []verdict{passed, passedAgain, failed, notRun, notBegun, leftOut} {
		var names []string
		for _, r := range results {
			if r.verdict == v {
				names = append(names, r.scenario.name)
			}
		}
		if len(names) > 0 {
			fmt.Fprintf(&text, "%d %s: %s\n", len(names), v, strings.Join(names, ", "))
		}
	}
	return text.String()
}

// wrapped joins figures to lines of at most so many columns.
func wrapped(figures []figure, columns int) []string {
	lines := []string{""}
	for _, f := range figures {
		text := f.name + " " + f.value
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = text
		case len(*last)+2+len(text) <= columns:
			*last += ", " + text
		default:
			*last += ","
			lines = append(lines, text)
		}
	}
	return lines
}
