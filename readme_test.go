package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheProgram: the screen in the README is one that the program drew (tui's golden screens).
func TestReadmeShowsTheProgram(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.ReadFile("tui/testdata/golden/plan-diff.80x24.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```text\n"+string(screen)+"```") {
		t.Error("README.md does not show tui/testdata/golden/plan-diff.80x24.txt as it is")
	}
}
