package patches

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const fixtures = "../host/sandbox/fixtures"

func fixture(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{fixtures}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtureFiles are all files of the fixtures whose path ends so, by path.
func fixtureFiles(t testing.TB, suffix string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(fixtures, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(filepath.ToSlash(path), suffix) {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(fixtures, path)
		files[filepath.ToSlash(name)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no fixture ends in %s", suffix)
	}
	return files
}

func manifests(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, component := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} {
		for name, b := range fixtureFiles(t, "/manifests/"+component+".yaml") {
			files[name] = b
		}
	}
	return files
}

// component is the name of the only container of a fixture's manifest.
func component(name string) string {
	return strings.TrimSuffix(filepath.Base(name), ".yaml")
}

// variant is a way in which people have written the same document.
type variant struct {
	name string
	make func(doc string) string
}

var (
	flagLine   = regexp.MustCompile(`(?m)^( *- +)(--[a-z0-9-]+=.*)$`)
	leadSpaces = regexp.MustCompile(`(?m)^ +`)
)

func eachLine(doc string, change func(line string) string) string {
	lines := strings.SplitAfter(doc, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = change(line)
		}
	}
	return strings.Join(lines, "")
}

func indentation(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " "))] }

var variants = []variant{
	{"as it is", func(doc string) string { return doc }},
	{"comments everywhere", func(doc string) string {
		n := 0
		return "# the file\n" + eachLine(doc, func(line string) string {
			n++
			return fmt.Sprintf("%s# comment %d: - --looks=like a flag\n%s # end %d\n",
				indentation(line), n, strings.TrimSuffix(line, "\n"), n)
		}) + "# the end\n"
	}},
	{"comments at column one", func(doc string) string {
		return eachLine(doc, func(line string) string { return "# note\n" + line })
	}},
	{"blank lines", func(doc string) string {
		return "\n" + eachLine(doc, func(line string) string { return line + "\n" }) + "\n\n"
	}},
	{"CRLF", func(doc string) string { return strings.ReplaceAll(doc, "\n", "\r\n") }},
	{"CRLF, comments, no final newline", func(doc string) string {
		doc = eachLine(doc, func(line string) string { return "# é ü 漢字\n" + line })
		return strings.TrimSuffix(strings.ReplaceAll(doc, "\n", "\r\n"), "\r\n")
	}},
	{"no final newline", func(doc string) string { return strings.TrimSuffix(doc, "\n") }},
	{"trailing spaces", func(doc string) string {
		return eachLine(doc, func(line string) string { return strings.TrimSuffix(line, "\n") + "  \n" })
	}},
	{"four spaces", func(doc string) string {
		doc = leadSpaces.ReplaceAllStringFunc(doc, func(s string) string { return s + s })
		return regexp.MustCompile(`(?m)^( *)- `).ReplaceAllString(doc, "$1-   ")
	}},
	{"encoded again by four, lists indented", func(doc string) string {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(doc), &n); err != nil {
			panic(err)
		}
		var b bytes.Buffer
		e := yaml.NewEncoder(&b)
		e.SetIndent(4)
		if err := e.Encode(&n); err != nil {
			panic(err)
		}
		return b.String()
	}},
	{"document markers", func(doc string) string { return "---\n" + doc + "...\n" }},
}

// podVariants write the flags in another way.
var podVariants = append([]variant{
	{"args", func(doc string) string { return strings.Replace(doc, "- command:\n", "- args:\n", 1) }},
	{"command and args", func(doc string) string {
		return regexp.MustCompile(`( +)- command:\n +(- .*\n)`).ReplaceAllString(doc, "$1- command:\n$1  $2$1  args:\n")
	}},
	{"double quotes", func(doc string) string { return flagLine.ReplaceAllString(doc, `$1"$2"`) }},
	{"single quotes", func(doc string) string { return flagLine.ReplaceAllString(doc, `$1'$2'`) }},
	{"values apart", func(doc string) string {
		return regexp.MustCompile(`(?m)^( *- )(--[a-z0-9-]+)=(.*)$`).ReplaceAllString(doc, "$1$2\n$1\"$3\"")
	}},
	{"unsorted", func(doc string) string {
		return strings.Replace(doc, "    image: ", "    - --a-late-one=x\n    image: ", 1)
	}},
	{"underscores", func(doc string) string {
		return regexp.MustCompile(`(?m)^ *- --[a-z0-9-]+=`).ReplaceAllStringFunc(doc, func(s string) string {
			head, tail, _ := strings.Cut(s, "--")
			return head + "--" + strings.ReplaceAll(tail, "-", "_")
		})
	}},
}, variants...)

// large makes a document of about a megabyte by appending fields that the edits do not touch.
func large(doc []byte) []byte {
	var b bytes.Buffer
	b.Write(doc)
	b.WriteString("large:\n")
	for i := 0; b.Len() < 1<<20; i++ {
		fmt.Fprintf(&b, "  # comment %d\n  key-%06d:\n    name: value %d\n    list:\n    - one\n    - two\n", i, i, i)
	}
	return b.Bytes()
}

// decoded is the document as other programs read it.
func decoded(t testing.TB, doc []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(doc, &value); err != nil {
		t.Fatalf("the result is not valid YAML: %v\n%s", err, doc)
	}
	return value
}

// changedLines are the lines that only one side has, with their sign, in the order of a diff; line endings are
// stripped. It is made without the code under test.
func changedLines(before, after []byte) []string {
	a, b := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	a, b = a[head:len(a)-tail], b[head:len(b)-tail]
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && length[i+1][j] >= length[i][j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return out
}
