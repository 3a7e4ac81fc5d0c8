package patches

import (
	"reflect"
	"strings"
	"testing"
)

var mergeRows = []struct{ name, base, ours, theirs, want string }{
	{"apart", "a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", "A\nb\nc\nD\n"},
	{"next to each other", "a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n"},
	{"the same", "a\nb\n", "a\nB\n", "a\nB\n", "a\nB\n"},
	{"the same deletion", "a\nb\n", "a\n", "a\n", "a\n"},
	{"insertion before a change", "a\nb\n", "a\nx\nb\n", "a\nB\n", "a\nx\nB\n"},
	{"insertion after a change", "a\nb\n", "a\nb\nx\n", "a\nB\n", "a\nB\nx\n"},
	{"deletion and change apart", "a\nb\nc\n", "b\nc\n", "a\nb\nC\n", "b\nC\n"},
	{"insertion at the end and a change", "a\nb", "a\nb\nc", "A\nb", "A\nb\nc"},
	{"from nothing, the same", "", "a", "a", "a"},
}

func TestMerge3(t *testing.T) {
	for _, row := range mergeRows {
		for _, sides := range [][2]string{{row.ours, row.theirs}, {row.theirs, row.ours}} {
			got, conflicts, err := Merge3([]byte(row.base), []byte(sides[0]), []byte(sides[1]))
			if err != nil || len(conflicts) > 0 || string(got) != row.want {
				t.Errorf("%s: %v, %v, got %q, want %q", row.name, err, conflicts, got, row.want)
			}
		}
	}
}

func TestMerge3Conflicts(t *testing.T) {
	for _, row := range []struct {
		name, base, ours, theirs string
		merged                   string
		conflicts                []Conflict
	}{
		{"one line", "a\nb\nc\n", "a\nB\nc\n", "a\nX\nc\n", "a\nB\nc\n", []Conflict{{"b\n", "B\n", "X\n", 2, 2, 2}}},
		{"behind other changes", "a\nb\nc\nd\n", "0\na\nb\nc\nD\n", "a\nc\nX\n", "0\na\nc\nD\n", []Conflict{{"d\n", "D\n", "X\n", 4, 5, 3}}},
		{"two insertions", "a\n", "a\nx\n", "a\ny\n", "a\nx\n", []Conflict{{"", "x\n", "y\n", 2, 2, 2}}},
		{"change and deletion", "a\nb\n", "a\n", "a\nB\n", "a\n", []Conflict{{"b\n", "", "B\n", 2, 2, 2}}},
		{"insertion in a deleted block", "a\nb\nc\n", "", "a\nb\nx\nc\n", "", []Conflict{{"a\nb\nc\n", "", "a\nb\nx\nc\n", 1, 1, 1}}},
		{"one across two", "a\nb\nc\nd\n", "A\nb\nC\nd\n", "x\n", "A\nb\nC\nd\n", []Conflict{{"a\nb\nc\nd\n", "A\nb\nC\nd\n", "x\n", 1, 1, 1}}},
		{"a lost final newline and a new last line", "a\nb\n", "a\nb", "a\nb\nc\n", "a\nb", []Conflict{{"b\n", "b", "b\nc\n", 2, 2, 2}}},
	} {
		got, conflicts, err := Merge3([]byte(row.base), []byte(row.ours), []byte(row.theirs))
		if err != nil || string(got) != row.merged || !reflect.DeepEqual(conflicts, row.conflicts) {
			t.Errorf("%s: %v, got\n%q\n%v\nwant\n%q\n%v", row.name, err, got, conflicts, row.merged, row.conflicts)
		}
	}
}

// Undoing one of two changes of a manifest keeps the other, which is what Merge3 is for.
func TestMerge3UndoesBelowLaterEdits(t *testing.T) {
	const container = "kube-apiserver"
	original := fixture(t, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml")
	first, err := SetFlag(original, container, "profiling", "false")
	if err != nil {
		t.Fatal(err)
	}
	upgraded := []byte(strings.Replace(string(first), "v1.37.2", "v1.37.3", 1))
	second, err := SetFlag(upgraded, container, "audit-log-maxage", "30")
	if err != nil {
		t.Fatal(err)
	}
	got, conflicts, err := Merge3(first, second, original)
	if err != nil || len(conflicts) > 0 {
		t.Fatalf("%v, %v", err, conflicts)
	}
	want, err := RemoveFlag(second, container, "profiling")
	if err != nil || string(got) != string(want) {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}
