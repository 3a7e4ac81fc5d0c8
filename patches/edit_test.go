package patches

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func mustPath(t testing.TB, text string) Path {
	t.Helper()
	path, err := ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// remove stands for Delete in a table of edits, and add for Insert.
type (
	remove struct{}
	add    struct{ value any }
)

func apply(t testing.TB, doc []byte, path Path, value any) ([]byte, error) {
	t.Helper()
	switch v := value.(type) {
	case remove:
		return Delete(doc, path)
	case add:
		return Insert(doc, path, v.value)
	}
	return Set(doc, path, value)
}

func TestEdits(t *testing.T) {
	type object = map[string]any
	for _, row := range []struct {
		name, before string
		path         string
		value        any
		after        string
	}{
		{"a scalar keeps its comment", "a: 1   # why\nb: 2\n", "a", 3, "a: 3   # why\nb: 2\n"},
		{"the same value in another spelling", "a: \"x\"\nb: 0x10\n", "b", 16, "a: \"x\"\nb: 0x10\n"},
		{"double quotes stay", "a: \"x\" # c\n", "a", "y z", "a: \"y z\" # c\n"},
		{"single quotes stay", "a: 'it''s'\n", "a", "that's", "a: 'that''s'\n"},
		{"a boolean is not a string", "a: \"false\"\n", "a", false, "a: false\n"},
		{"a string that looks like a boolean", "a: b\n", "a", "no", "a: \"no\"\n"},
		{"a string that looks like a number", "a: b\n", "a", "0640", "a: \"0640\"\n"},
		{"a string that looks like a date", "a: b\n", "a", "2026-11-23", "a: \"2026-11-23\"\n"},
		{"a string with a colon", "a: b\n", "a", "c: d", "a: \"c: d\"\n"},
		{"a string with quotes", "a: b\n", "a", `"c": \d`, "a: '\"c\": \\d'\n"},
		{"an invisible character", "a: b\n", "a", "c\u202ed\x1b", "a: \"c\\u202Ed\\u001B\"\n"},
		{"the empty string", "a: b\n", "a", "", "a: \"\"\n"},
		{"an empty value is filled", "a:  # later\nb: 1\n", "a", "x", "a: x  # later\nb: 1\n"},
		{"a value on the next line", "a:\n  b\n", "a", "c", "a:\n  c\n"},
		{"a plain value of two lines", "a: b\n  c\nd: 1\n", "a", "e", "a: e\nd: 1\n"},
		{"runes before the value", "é\u0301: 漢字 # c\n", "é\u0301", "x", "é\u0301: x # c\n"},
		{"null", "a: 1\n", "a", nil, "a: null\n"},
		{"a float", "a: 1\n", "a", 0.5, "a: 0.5\n"},

		{"a key in sorted keys", "a: 1\nc: 3\n", "b", 2, "a: 1\nb: 2\nc: 3\n"},
		{"a key in unsorted keys", "c: 3\na: 1\n", "b", 2, "c: 3\na: 1\nb: 2\n"},
		{"a key before the first", "# the file\n\n# of b\nb: 1\n", "a", 2, "# the file\n\na: 2\n# of b\nb: 1\n"},
		{"a key below a comment on the file", "# the file\nb: 1\n", "a", 2, "# the file\na: 2\nb: 1\n"},
		{"a nested key before the first", "x:\n  # of b\n  b: 1\n", "x.a", 2, "x:\n  a: 2\n  # of b\n  b: 1\n"},
		{"a key behind a comment and a blank line", "a: 1 # one\n\n# of c\nc: 3\n", "b", 2, "a: 1 # one\nb: 2\n\n# of c\nc: 3\n"},
		{"a key in a list item", "- c: 1\n  d: 2\n", "[0].a", 0, "- c: 1\n  a: 0\n  d: 2\n"},
		{"a key without a final newline", "a: 1", "b", 2, "a: 1\nb: 2"},
		{"a key with CRLF", "a: 1\r\nc: 1\r\n", "b", 2, "a: 1\r\nb: 2\r\nc: 1\r\n"},
		{"a key with CRLF, no final newline", "a: 1\r\nb: 1", "c.d", 2, "a: 1\r\nb: 1\r\nc:\r\n  d: 2"},
		{"a key behind a literal", "a: |\n  text\n\n\nc: 1\n", "b", 2, "a: |\n  text\nb: 2\n\n\nc: 1\n"},
		{"a key behind a literal that keeps blank lines", "a: |+\n  text\n\n\nc: 1\n", "b", 2, "a: |+\n  text\n\n\nb: 2\nc: 1\n"},
		{"missing parents", "a: 1\n", "b.c.d", true, "a: 1\nb:\n  c:\n    d: true\n"},
		{"missing parents by four", "a:\n    b: 1\n", "a.c.d", true, "a:\n    b: 1\n    c:\n        d: true\n"},
		{"a list where lists are indented", "a:\n  - 1\n", "b", []int{2}, "a:\n  - 1\nb:\n  - 2\n"},
		{"a list where lists are not", "a:\n- 1\n", "b", []int{2}, "a:\n- 1\nb:\n- 2\n"},
		{"an empty mapping is written out", "a: {} # c\nb: 1\n", "a.x", 1, "a: # c\n  x: 1\nb: 1\n"},
		{"an empty list is written out", "a: []\nb: 1\n", "a", add{"x"}, "a:\n- x\nb: 1\n"},
		{"null becomes a mapping", "a: null\nb: ~ # c\n", "b.x", 1, "a: null\nb: # c\n  x: 1\n"},
		{"nothing becomes a mapping", "a:\n# c\nb: 1", "a.x", 1, "a:\n  x: 1\n# c\nb: 1"},
		{"the empty document", "", "a.b", 1, "a:\n  b: 1\n"},
		{"a document of comments", "# c", "a", 1, "# c\na: 1"},
		{"an empty mapping is the document", "{}\n", "a", object{"b": 1}, "a:\n  b: 1\n"},
		{"a key that needs quotes", "a: {}\n", `a["x: y"]`, "z", "a:\n  \"x: y\": z\n"},
		{"a key with dots", "a:\n  b.c/d: 1\n", `a["b.c/d"]`, 2, "a:\n  b.c/d: 2\n"},

		{"text of several lines", "a: 1\n", "b", "x\n\n y\n", "a: 1\nb: |\n  x\n\n   y\n"},
		{"a literal replaces a literal", "a: |\n    x\n    y\nb: 1\n", "a", "x\nz\n", "a: |\n    x\n    z\nb: 1\n"},
		{"a literal becomes a word", "a: | # c\n  x\nb: 1\n", "a", "w", "a: w # c\nb: 1\n"},
		{"a word becomes a literal", "a: y # c\nb: 1\n", "a", "x\ny", "a: |- # c\n  x\n  y\nb: 1\n"},
		{"a literal becomes a mapping", "a: |\n  x\nb: 1\n", "a", object{"c": 1}, "a:\n  c: 1\nb: 1\n"},
		{"a folded text is replaced", "a: >-\n  x\n  y\nb: 1\n", "a", "z", "a: z\nb: 1\n"},

		{"a list changes by items", "a:\n- x # 1\n# c\n- y # 2\n- z # 3\n", "a", []string{"x", "w", "z", "v"}, "a:\n- x # 1\n# c\n- w # 2\n- z # 3\n- v\n"},
		{"a list loses items", "a:\n- x\n- y\n- z\n", "a", []string{"y"}, "a:\n- y\n"},
		{"a list becomes empty", "a:\n- x\n- y\nb: 1\n", "a", []string{}, "a: []\nb: 1\n"},
		{"a list becomes a word", "a:\n  - x\n  - y\nb: 1\n", "a", "z", "a: z\nb: 1\n"},
		{"a word becomes a list", "a: z # c\nb:\n  - 1\n", "a", []string{"x"}, "a: # c\n  - x\nb:\n  - 1\n"},
		{"a mapping changes by keys", "a:\n  # x\n  x: 1\n  # y\n  y: 2\n", "a", object{"y": 3, "z": 4}, "a:\n  # x\n  # y\n  y: 3\n  z: 4\n"},
		{"a mapping without common keys", "a:\n  # x\n  x: 1\nb: 1\n", "a", object{"z": 4}, "a:\n  # x\n  z: 4\nb: 1\n"},
		{"a list of mappings", "a: []\n", "a", []any{object{"b": 1, "c": []int{1}}}, "a:\n- b: 1\n  c:\n  - 1\n"},

		{"an item is appended", "a:\n-  x\n# c\n", "a", add{"z"}, "a:\n-  x\n-  z\n# c\n"},
		{"an item that is there", "a:\n- x\n", "a", add{"x"}, "a:\n- x\n"},
		{"an item in the quotes of the others", "a:\n- 'x'\n- 'y'\n", "a", add{"z"}, "a:\n- 'x'\n- 'y'\n- 'z'\n"},
		{"an item of keys in the order of the others", "a:\n- name: x\n  b: 1\n", "a", add{object{"b": 2, "name": "z"}}, "a:\n- name: x\n  b: 1\n- name: z\n  b: 2\n"},
		{"an item to a missing list", "a: 1\n", "b.c", add{"x"}, "a: 1\nb:\n  c:\n  - x\n"},

		{"a key is deleted", "# a\na: 1 # c\n\nb: 2\n", "a", remove{}, "# a\n\nb: 2\n"},
		{"an absent key", "a: 1\n", "b.c", remove{}, "a: 1\n"},
		{"a block is deleted", "a:\n  # x\n  b:\n  - |\n   # text\n\n# c\nc: 1\n", "a", remove{}, "\n# c\nc: 1\n"},
		{"the last key of a mapping", "a:\n  b: 1\nc: 2\n", "a.b", remove{}, "a: {}\nc: 2\n"},
		{"the last item of a list", "a:\n- b\nc: 2\n", "a[0]", remove{}, "a: []\nc: 2\n"},
		{"the first key of an item", "- a: 1\n  b: 2\n", "[0].a", remove{}, "- b: 2\n"},
		{"the first key of an item before a comment", "- a: 1 # x\n  # of b\n  b: 2\n", "[0].a", remove{}, "-\n  # of b\n  b: 2\n"},
		{"the last line without a final newline", "a: 1\r\nb: 2", "b", remove{}, "a: 1"},
		{"blank lines before a last line without a final newline", "a: 1\n\n\nb: 2", "b", remove{}, "a: 1\n\n\n"},
		{"an empty value with a tag", "a: !x\n\n# of b\nb: 1\n", "a", remove{}, "\n# of b\nb: 1\n"},
		{"an item is deleted", "a:\n  - x\n  # c\n  - y # d\n", "a[1]", remove{}, "a:\n  - x\n  # c\n"},
		{"a flow value is deleted", "a: {b: [1, 'c}', # d\n  2]}\nb: 1\n", "a", remove{}, "b: 1\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := mustPath(t, row.path)
			after, err := apply(t, []byte(row.before), path, row.value)
			if err != nil {
				t.Fatal(err)
			}
			if string(after) != row.after {
				t.Errorf("got\n%q\nwant\n%q", after, row.after)
			}
			again, err := apply(t, after, path, row.value)
			if _, isItem := path[len(path)-1].(int); err != nil || !bytes.Equal(again, after) && !isItem {
				t.Errorf("the same edit again: %v\n%q", err, again)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		name, doc, path string
		value           any
		line            int
		found           string
	}{
		{"invalid UTF-8", "a: 1\nb: \xff\n", "a", 2, 2, "not valid UTF-8"},
		{"NUL", "a: 1\x00\n", "a", 2, 1, "NUL"},
		{"a control character", "a: 1\n# \x1b[31m\n", "a", 2, 2, "control character (U+001B)"},
		{"a byte order mark", "\ufeffa: 1\n", "a", 2, 1, "byte order mark"},
		{"a lone carriage return", "a: 1\rb: 2\n", "a", 2, 1, "carriage return"},
		{"an invisible line break", "a: 1 # x\u2028b: 2\n", "a", 2, 1, "invisible line break (U+2028)"},
		{"a tab", "a:\n\tb: 1\n", "a.b", 2, 2, "a tab in the indentation"},
		{"a tab before a comment", "a: 1\n\t# b\n", "a", 2, 2, "a tab in the indentation"},
		{"a second document", "a: 1\n---\nb: 1\n", "a", 2, 2, "a second YAML document"},
		{"a second, empty document", "a: 1\n---\n", "a", 2, 2, "a second YAML document"},
		{"a duplicate key", "a: 1\nb:\n  c: 1\n  c: 2\n", "a", 2, 4, `the key "c" is a duplicate of the one in line 3`},
		{"broken YAML", "a: 1\n b: 2\n", "a", 2, 2, "not valid YAML"},
		{"flow style", "a: {b: 1}\n", "a.b", 2, 1, "flow style ({...})"},
		{"flow style above", "x: 1\na: {b: {c: 1}}\n", "a.b.c", 2, 2, "flow style ({...})"},
		{"a flow list", "a: [1]\n", "a", add{2}, 1, "flow style ([...])"},
		{"an alias", "x: &x {b: 1}\na: *x\n", "a.b", 2, 2, "an alias (*x)"},
		{"an anchor above", "a: &x\n  b: 1\nc: *x\n", "a.b", 2, 1, "an anchor (&x)"},
		{"an anchor inside", "a:\n  b: &x 1\nc: *x\n", "a", remove{}, 2, "an anchor (&x)"},
		{"a merge key", "x: &x\n  b: 1\na:\n  <<: *x\n  c: 1\n", "a.b", 2, 4, "a merge key (<<)"},
		{"a tag", "a: !!str 1\n", "a", "2", 1, "an explicit tag (!!str)"},
		{"a word where a mapping should be", "a: b\n", "a.c", 1, 1, "a is expected to be a mapping"},
		{"a mapping where a list should be", "a:\n  b: 1\n", "a[0]", 1, 2, "a is expected to be a list"},
		{"an item that is not there", "a:\n- 1\n", "a[3].b", 1, 0, "there is no a[3]"},
		{"an item on its parent's line", "a:\n- - 1\n  - 2\n", "a[0][0]", remove{}, 2, "shares its line"},
	} {
		t.Run(row.name, func(t *testing.T) {
			after, err := apply(t, []byte(row.doc), mustPath(t, row.path), row.value)
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("not refused: %v\n%s", err, after)
			}
			if after != nil {
				t.Error("a refused edit returns bytes")
			}
			if !strings.Contains(r.Found, row.found) || r.Line != row.line {
				t.Errorf("line %d: %s\nwant line %d: %s", r.Line, r.Found, row.line, row.found)
			}
			if !strings.Contains(r.Hint, row.path) || !strings.HasSuffix(r.Hint, " by hand") {
				t.Errorf("the hint does not say what to do: %q", r.Hint)
			}
		})
	}
}

// What is refused on the edited path is kept elsewhere.
func TestEditBesideWhatIsRefused(t *testing.T) {
	doc := "x: &x {a: [1, 2], b: !!str 3}\ny: *x\nz:\n  <<: *x\nt: |\n  x\n  \ttab\n  # text\ns: \"\\u0007\n\n  two lines\"\nv: 1\n"
	after, err := Set([]byte(doc), Path{"v"}, 2)
	if want := strings.Replace(doc, "v: 1", "v: 2", 1); err != nil || string(after) != want {
		t.Errorf("got %v\n%s", err, after)
	}
}

func TestEditErrors(t *testing.T) {
	for name, err := range map[string]error{
		"empty path":     second(Set([]byte("a: 1\n"), nil, 1)),
		"negative index": second(Delete([]byte("a: 1\n"), Path{-1})),
		"strange step":   second(Insert([]byte("a: 1\n"), Path{1.5}, 1)),
		"strange value":  second(Set([]byte("a: 1\n"), Path{"a"}, struct{}{})),
	} {
		if err == nil || errors.As(err, new(*Refusal)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ []byte, err error) error { return err }

func TestGet(t *testing.T) {
	doc := []byte("a: &a {b: 1, s: '1', d: 2026-01-02}\nc: *a\nd:\n  <<: *a\n  b: 2\n  f: 1.5\n  n:\n  y: yes\n  t: true\nl: [x, {y: z}]\n")
	for path, want := range map[string]any{
		"a.b": 1, "a.s": "1", "a.d": "2026-01-02", "c.b": 1, "d.b": 2, "d.s": "1", "d.f": 1.5, "d.n": nil, "d.y": "yes",
		"d.t": true, "l[1].y": "z", "l": []any{"x", map[string]any{"y": "z"}},
		"d": map[string]any{"b": 2, "s": "1", "d": "2026-01-02", "f": 1.5, "n": nil, "y": "yes", "t": true},
	} {
		got, ok, err := Get(doc, mustPath(t, path))
		if err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, %v, %v, want %#v", path, got, ok, err, want)
		}
	}
	for _, path := range []string{"x", "a.b.c", "l[2]", "a[0]", "l.x"} {
		if got, ok, err := Get(doc, mustPath(t, path)); ok || err != nil {
			t.Errorf("%s is %#v, %v", path, got, err)
		}
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	if _, _, err := Get([]byte(bomb), Path{"j"}); err == nil {
		t.Error("aliases that grow without end are read")
	}
}

func TestPath(t *testing.T) {
	for text, path := range map[string]Path{
		"spec.containers[0].command":       {"spec", "containers", 0, "command"},
		`metadata.annotations["a.b/c"]`:    {"metadata", "annotations", "a.b/c"},
		`["x y"][2][""]`:                   {"x y", 2, ""},
		`a["\x1b[31m\n\u202e"].b`:          {"a", "\x1b[31m\n\u202e", "b"},
		`authentication.anonymous.enabled`: {"authentication", "anonymous", "enabled"},
	} {
		if got := path.String(); got != text {
			t.Errorf("%#v is written %s, want %s", path, got, text)
		}
		if got, err := ParsePath(text); err != nil || !reflect.DeepEqual(got, path) {
			t.Errorf("%s is read %#v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "a..b", "a.", "a[", "a[x]", "a[-1]", `a["b`, `a["b"`, "a[0]b", "a b"} {
		if got, err := ParsePath(text); err == nil {
			t.Errorf("%q is read %#v", text, got)
		}
	}
}

func locate(doc []byte, line int) (Path, bool) {
	d, err := read(doc)
	if err != nil {
		return nil, false
	}
	return d.locate(line)
}

func TestLocate(t *testing.T) {
	pod := fixture(t, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml")
	lines := strings.Split(string(pod), "\n")
	for text, want := range map[string]string{
		"    - --secure-port=6443":                          "spec.containers[0].command",
		"  - command:":                                      "spec.containers[0].command",
		"        path: /readyz":                             "spec.containers[0].readinessProbe.httpGet.path",
		"    - mountPath: /etc/kubernetes/pki":              "spec.containers[0].volumeMounts[2].mountPath",
		"    name: k8s-certs":                               "spec.volumes[2].name",
		"  hostNetwork: true":                               "spec.hostNetwork",
		"status: {}":                                        "status",
		"    component: kube-apiserver":                     "metadata.labels.component",
		"    image: registry.k8s.io/kube-apiserver:v1.37.2": "spec.containers[0].image",
	} {
		for i, line := range lines {
			if line != text {
				continue
			}
			if path, ok := locate(pod, i+1); !ok || path.String() != want {
				t.Errorf("%q is %s, %v, want %s", text, path, ok, want)
			}
		}
	}
	doc := "# top\na:\n  b: |\n    x\n    y\n  # about c\n\n  c: 1\n"
	for line, want := range []string{1: "", 2: "a", 3: "a.b", 4: "a.b", 5: "a.b", 6: "a", 7: "a", 8: "a.c", 9: ""} {
		if path, ok := locate([]byte(doc), line); path.String() != want || ok != (want != "") {
			t.Errorf("line %d is %q, want %q", line, path, want)
		}
	}
	if _, ok := locate([]byte("a: [\n"), 1); ok {
		t.Error("a line of a broken document has a path")
	}
}
