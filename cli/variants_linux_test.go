package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// variants are what people have made of their files since kubeadm wrote them.
var variants = []struct {
	name   string
	change func(string) string
}{
	{"comments and blank lines", func(s string) string {
		var out strings.Builder
		out.WriteString("# kept by the platform team\n\n")
		for i, line := range strings.SplitAfter(s, "\n") {
			indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
			if i%3 == 0 && strings.TrimSpace(line) != "" {
				out.WriteString(indent + "# line " + strings.Repeat("=", i%7) + "\n\n")
			}
			out.WriteString(line)
		}
		return out.String()
	}},
	{"line ends of Windows", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }},
	{"four spaces", fourSpaces},
	{"no final newline", func(s string) string { return strings.TrimSuffix(s, "\n") }},
	{"flags in args", func(s string) string {
		return strings.Replace(s, "    - kube-apiserver\n", "    - kube-apiserver\n    args:\n", 1)
	}},
	{"flags as two words", func(s string) string {
		return regexp.MustCompile(`(?m)^(    - --[a-z0-9-]+)=(.*)$`).ReplaceAllString(s, "$1\n    - \"$2\"")
	}},
	{"trailing spaces", func(s string) string {
		return regexp.MustCompile(`(?m)^(    - --[a-z0-9-]+=.*|[a-zA-Z]+: [^"]+)$`).ReplaceAllString(s, "$1  ")
	}},
}

var keyInList = regexp.MustCompile(`(?m)^( *)- ([A-Za-z]+:)`)

func fourSpaces(s string) string {
	s = regexp.MustCompile(`(?m)^ +`).ReplaceAllStringFunc(s, func(indent string) string { return indent + indent })
	return keyInList.ReplaceAllString(s, "$1-   $2")
}

// The same is changed in files that people have edited, and no other line of theirs.
func TestWholeWalkOnEditedFiles(t *testing.T) {
	for _, minor := range hardentest.Minors {
		for _, v := range variants {
			t.Run(minor+" "+v.name, func(t *testing.T) {
				t.Parallel()
				root := tempRoot(t)
				makeVersion(t, root, minor, "")
				for _, file := range []string{apiserverManifest, kubeletConfig} {
					edit(t, root, file, v.change)
				}
				want, err := os.ReadFile(filepath.Join("testdata", "fixtures", minor+".changes.txt"))
				if err != nil {
					t.Fatal(err)
				}
				got := walkThrough(t, root, tree(t, root))
				if got, want := plainLines(got), plainLines(string(want)); got != want {
					t.Errorf("not the same was changed:\n%s", strings.Join(lineChanges(want, got), "\n"))
				}
			})
		}
	}
}

// plainLines leaves out how a line is laid out, which is a file's own, and joins flags that are two words.
func plainLines(s string) string {
	s = strings.NewReplacer("\r", "", "\"", "").Replace(s)
	s = regexp.MustCompile(`(?m)^  \+ *- (--[a-z-]+)\n  \+ *- ([^-].*)$`).ReplaceAllString(s, "  +- $1=$2")
	s = regexp.MustCompile(`(?m)^  ([+-]) *(- )? *`).ReplaceAllString(s, "  $1$2")
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(s, "")
}
