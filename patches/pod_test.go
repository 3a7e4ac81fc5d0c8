package patches

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// arguments are command and args of the first container, read without the code under test.
func arguments(t testing.TB, pod []byte) []string {
	t.Helper()
	containers := decoded(t, pod).(map[string]any)["spec"].(map[string]any)["containers"].([]any)
	var args []string
	for _, key := range []string{"command", "args"} {
		list, _ := containers[0].(map[string]any)[key].([]any)
		for _, arg := range list {
			args = append(args, arg.(string))
		}
	}
	return args
}

// withoutArguments is the rest of the pod.
func withoutArguments(t testing.TB, pod []byte) any {
	t.Helper()
	doc := decoded(t, pod).(map[string]any)
	container := doc["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	delete(container, "command")
	delete(container, "args")
	return doc
}

// joined writes "--flag value" as --flag=value, with dashes in the name and without the program.
func joined(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") {
			continue
		}
		name, value, found := strings.Cut(arg, "=")
		if !found && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			value, found = args[i], true
		}
		name = strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-")
		if found {
			name += "=" + value
		}
		out = append(out, name)
	}
	return out
}

func without(args []string, flag string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		return name == flag
	})
}

// eachPod runs a test on every manifest of the fixtures in every way of writing it.
func eachPod(t *testing.T, test func(t *testing.T, pod []byte, container string)) {
	for name, doc := range manifests(t) {
		for _, v := range podVariants {
			t.Run(name+" "+v.name, func(t *testing.T) {
				test(t, []byte(v.make(string(doc))), component(name))
			})
		}
	}
}

// checkFlagEdit verifies an edit that must make the flag be value, or be absent when value is nil.
func checkFlagEdit(t *testing.T, before, after []byte, flag string, value *string) {
	t.Helper()
	old, new := joined(arguments(t, before)), joined(arguments(t, after))
	if a, b := without(old, flag), without(new, flag); !slices.Equal(a, b) {
		t.Errorf("other flags changed:\n%q\n%q", a, b)
	}
	var want []string
	if value != nil {
		want = []string{flag + "=" + *value}
	}
	if got := slices.DeleteFunc(slices.Clone(new), func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		return name != flag
	}); !slices.Equal(got, want) {
		t.Errorf("--%s is %q, want %q", flag, got, want)
	}
	if !reflect.DeepEqual(withoutArguments(t, before), withoutArguments(t, after)) {
		t.Error("something other than the arguments changed")
	}
	concerned := []string{"--" + flag}
	for _, arg := range slices.Concat(old, want) {
		if name, value, _ := strings.Cut(arg, "="); name == flag && value != "" {
			concerned = append(concerned, value)
		}
	}
	checkLines(t, before, after, concerned...)
}

// checkLines verifies that every line that changed has to do with one of the texts.
func checkLines(t testing.TB, before, after []byte, concerned ...string) {
	t.Helper()
	changed := changedLines(before, after)
	for _, line := range changed {
		if !slices.ContainsFunc(concerned, func(text string) bool {
			return strings.Contains(strings.ReplaceAll(line, "_", "-"), text) || strings.Contains(line, text)
		}) {
			t.Errorf("a line that is not concerned changed: %q\n%s", line, strings.Join(changed, "\n"))
		}
	}
}

func TestSetFlag(t *testing.T) {
	edits := map[string]string{
		"profiling":          "false",
		"authorization-mode": "Node,RBAC,Webhook",
		"bind-address":       "0.0.0.0",
		"client-ca-file":     "/etc/kubernetes/pki/other.crt",
		"aaa":                "first",
		"zzz":                "a: b #c",
	}
	eachPod(t, func(t *testing.T, pod []byte, container string) {
		for flag, value := range edits {
			after, err := SetFlag(pod, container, flag, value)
			if err != nil {
				t.Fatalf("--%s: %v", flag, err)
			}
			checkFlagEdit(t, pod, after, flag, &value)
			again, err := SetFlag(after, container, flag, value)
			if err != nil || !bytes.Equal(again, after) {
				t.Errorf("--%s: the same edit again changes the file: %v", flag, err)
			}
			removed, err := RemoveFlag(after, container, flag)
			if err != nil {
				t.Fatalf("--%s: %v", flag, err)
			}
			checkFlagEdit(t, after, removed, flag, nil)
			flags, err := Flags(pod, container)
			if err != nil {
				t.Fatal(err)
			}
			if isNew := !slices.ContainsFunc(flags, func(f Flag) bool { return f.Name == flag }); isNew && !bytes.Equal(removed, pod) {
				t.Errorf("--%s: added and removed, the file is not as before:\n%s", flag, strings.Join(changedLines(pod, removed), "\n"))
			}
		}
	})
}

func TestMergeList(t *testing.T) {
	const flag = "enable-admission-plugins"
	for _, row := range []struct {
		name        string
		have        []string // values of the flag, one for each occurrence
		add, remove []string
		want        string // "" is no flag
	}{
		{"add to one", []string{"NodeRestriction"}, []string{"ResourceQuota"}, nil, "NodeRestriction,ResourceQuota"},
		{"add what is there", []string{"B,A"}, []string{"A", "B"}, nil, "B,A"},
		{"add to none", nil, []string{"A", "B"}, nil, "A,B"},
		{"nothing to none", nil, nil, []string{"A"}, ""},
		{"remove the last", []string{"A"}, nil, []string{"A"}, ""},
		{"remove one", []string{"A,B,C"}, nil, []string{"B"}, "A,C"},
		{"repeats", []string{"A,B", "B,C"}, []string{"D"}, []string{"A"}, "B,C,D"},
		{"repeats alone", []string{"A", "B"}, nil, nil, "A,B"},
		{"removal wins", []string{"A"}, []string{"B"}, []string{"B"}, "A"},
		{"spaces and empty entries", []string{"A, B,,A"}, []string{"C"}, nil, "A,B,C"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, v := range podVariants {
				doc := fixture(t, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml")
				text := strings.Replace(string(doc), "    - --"+flag+"=NodeRestriction\n", "@", 1)
				lines := ""
				for _, value := range row.have {
					lines += "    - --" + flag + "=" + value + "\n"
				}
				pod := []byte(v.make(strings.Replace(text, "@", lines, 1)))
				after, err := MergeList(pod, "kube-apiserver", flag, row.add, row.remove)
				if err != nil {
					t.Fatalf("%s: %v", v.name, err)
				}
				var want *string
				if row.want != "" {
					want = &row.want
				}
				checkFlagEdit(t, pod, after, flag, want)
				again, err := MergeList(after, "kube-apiserver", flag, row.add, row.remove)
				if err != nil || !bytes.Equal(again, after) {
					t.Errorf("%s: the same edit again changes the file: %v", v.name, err)
				}
			}
		})
	}
}

func podOf(lines ...string) []byte {
	return []byte("spec:\n  containers:\n  - name: c\n" + strings.Join(lines, "\n") + "\n")
}

func TestFlagPlacement(t *testing.T) {
	for _, row := range []struct {
		name        string
		before      []string
		flag, value string
		after       []string
	}{
		{"sorted", []string{"    command:", "    - p", "    - --a=1", "    - --c=1"}, "b", "2",
			[]string{"    command:", "    - p", "    - --a=1", "    - --b=2", "    - --c=1"}},
		{"sorted by text, where a longer name comes first", []string{"    command:", "    - p", "    - --log-path=1", "    - --log=1"}, "log-max", "2",
			[]string{"    command:", "    - p", "    - --log-max=2", "    - --log-path=1", "    - --log=1"}},
		{"sorted by name", []string{"    command:", "    - p", "    - --log=1", "    - --log-path=1"}, "log-max", "2",
			[]string{"    command:", "    - p", "    - --log=1", "    - --log-max=2", "    - --log-path=1"}},
		{"unsorted goes last", []string{"    command:", "    - p", "    - --c=1", "    - --a=1", "    image: i"}, "b", "2",
			[]string{"    command:", "    - p", "    - --c=1", "    - --a=1", "    - --b=2", "    image: i"}},
		{"never between a flag and its value", []string{"    command:", "    - p", "    - --a", "    - z", "    - --c", "    - \"1\""}, "b", "2",
			[]string{"    command:", "    - p", "    - --a", "    - z", "    - --b=2", "    - --c", "    - \"1\""}},
		{"the quotes of the others", []string{"    command:", "    - p", `    - "--a=1"`, `    - "--c=1"`}, "b", "2",
			[]string{"    command:", "    - p", `    - "--a=1"`, `    - "--b=2"`, `    - "--c=1"`}},
		{"behind the program alone", []string{"    command:", "    - p # the program"}, "b", "2",
			[]string{"    command:", "    - p # the program", "    - --b=2"}},
		{"before what is no flag any more", []string{"    command:", "    - p", "    - --", "    - rest"}, "b", "2",
			[]string{"    command:", "    - p", "    - --b=2", "    - --", "    - rest"}},
		{"in args where the flags are", []string{"    command:", "    - p", "    args:", "    # flags", "    - --c=1"}, "b", "2",
			[]string{"    command:", "    - p", "    args:", "    - --b=2", "    # flags", "    - --c=1"}},
		{"in empty args", []string{"    command:", "    - p", "    args: [] # none"}, "b", "2",
			[]string{"    command:", "    - p", "    args: # none", "    - --b=2"}},
		{"a bare flag gets its value", []string{"    command:", "    - p", "    - --b # on", "    - --c"}, "b", "true",
			[]string{"    command:", "    - p", "    - --b=true # on", "    - --c"}},
		{"a single dash and underscores stay", []string{"    command:", "    - p", "    - -a_b=1"}, "a-b", "2",
			[]string{"    command:", "    - p", "    - -a_b=2"}},
		{"a value apart stays apart, quoted as YAML needs it", []string{"    command:", "    - p", "    - --b", "    - x # y"}, "b", "2",
			[]string{"    command:", "    - p", "    - --b", "    - \"2\" # y"}},
		{"a value apart that looks like a flag", []string{"    command:", "    - p", "    - --b", "    - x"}, "b", "-x",
			[]string{"    command:", "    - p", "    - --b=-x"}},
		{"a negative number apart", []string{"    command:", "    - p", "    - --b", "    - \"-999\"", "    - --c=1"}, "b", "5",
			[]string{"    command:", "    - p", "    - --b", "    - \"5\"", "    - --c=1"}},
		{"of repeats the one that is right stays", []string{"    command:", "    - p", "    - --b=2", "    - --b=3", "    - --b=4"}, "b", "3",
			[]string{"    command:", "    - p", "    - --b=3"}},
		{"of repeats the last one is changed", []string{"    command:", "    - p", "    - --b=2", "    - --c=1", "    - --b=4 # last"}, "b", "3",
			[]string{"    command:", "    - p", "    - --c=1", "    - --b=3 # last"}},
		{"repeats in command and args", []string{"    command:", "    - p", "    - --b=2", "    args:", "    - --b=3"}, "b", "2",
			[]string{"    command:", "    - p", "    - --b=2"}},
		{"flow style elsewhere", []string{"    command:", "    - p", "    ports: [{containerPort: 1}]"}, "b", "2",
			[]string{"    command:", "    - p", "    - --b=2", "    ports: [{containerPort: 1}]"}},
		{"a flow list that is right already", []string{"    command: [p, --b=2]"}, "b", "2",
			[]string{"    command: [p, --b=2]"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			after, err := SetFlag(podOf(row.before...), "c", row.flag, row.value)
			if err != nil {
				t.Fatal(err)
			}
			if want := podOf(row.after...); !bytes.Equal(after, want) {
				t.Errorf("got\n%s\nwant\n%s", after, want)
			}
		})
	}
}

// TestTheLastArgumentTookAComment: the key goes with the last argument, and a comment between them would have gone too.
func TestTheLastArgumentTookAComment(t *testing.T) {
	for name, lines := range map[string][]string{
		"above":        {"    command:", "    # why", "    - --a=1"},
		"below a dash": {"    command:", "    -", "      # why", "      --a=1"},
	} {
		_, err := RemoveFlag(podOf(lines...), "c", "a")
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Found, "a comment stands in a list") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got, err := RemoveFlag(podOf("    # why", "    command:", "    - --a=1", "    image: i"), "c", "a"); err != nil || !bytes.Equal(got, podOf("    # why", "    image: i")) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPodRefusals(t *testing.T) {
	tooMany := "spec:\n  containers:\n  - name: c\n    command:\n    - p\n  - name: c\n    command:\n    - p\n"
	for _, row := range []struct {
		name  string
		pod   []byte
		line  int
		found string
	}{
		{"flow style", podOf("    command: [p, --a=1]"), 4, "flow style ([...])"},
		{"an anchor", podOf("    command: &x", "    - p", "    workingDir: *x"), 4, "an anchor (&x)"},
		{"an alias", []byte("x: &x\n- p\n" + string(podOf("    command: *x"))), 6, "an alias (*x)"},
		{"a merge key", []byte("x: &x {image: i}\n" + string(podOf("    <<: *x", "    command:", "    - p"))), 5, "a merge key (<<)"},
		{"a shell", podOf("    command:", "    - /bin/sh", "    - -ec", "    - exec p --a=1"), 5, "started through a shell (/bin/sh)"},
		{"no such container", []byte("spec:\n  containers:\n  - name: d\n"), 0, "there is no container named c"},
		{"two such containers", []byte(tooMany), 6, "there are two containers named c"},
		{"neither command nor args", podOf("    image: i"), 3, "neither command nor args"},
		{"command is no list", podOf("    command: p"), 4, "command of container c is expected to be a list"},
		{"an item is no text", podOf("    command:", "    - p", "    - [--a=1]"), 6, "an item that is not text"},
		{"an empty file", nil, 0, "the file is empty"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := SetFlag(row.pod, "c", "profiling", "false")
			var r *Refusal
			if !errors.As(err, &r) || r.Line != row.line || !strings.Contains(r.Found, row.found) {
				t.Fatalf("got %v", err)
			}
			if want := "set --profiling=false in container c by hand"; !strings.HasSuffix(r.Hint, want) {
				t.Errorf("hint %q does not end in %q", r.Hint, want)
			}
		})
	}
	for _, flag := range []string{"", "--a", "a=b", "a b", "1"} {
		if _, err := SetFlag(podOf("    command:", "    - p"), "c", flag, "x"); err == nil {
			t.Errorf("%q is taken for a flag", flag)
		}
	}
	if _, err := MergeList(podOf("    command:", "    - p"), "c", "a", []string{"x,y"}, nil); err == nil {
		t.Error("an entry with a comma is taken")
	}
}

func TestFlags(t *testing.T) {
	pod := podOf("    command:", "    - p", "    - --a=1", "    args:", "    - --b_c", "    - x", "    - -v=2", "    - --d", "    - --e=", "    - --", "    - --no")
	want := []Flag{{"a", "1", true, 6}, {"b-c", "x", true, 8}, {"v", "2", true, 10}, {"d", "", false, 11}, {"e", "", true, 12}}
	got, err := Flags(pod, "c")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for i := range want {
		want[i].Line = 0
	}
	args := []string{"/usr/bin/p", "--a=1", "--b_c", "x", "-v=2", "--d", "--e=", "--", "--no"}
	if got := ParseArgs(args); !slices.Equal(got, want) {
		t.Errorf("of a process: %v, want %v", got, want)
	}
	if got := ParseArgs(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

// A megabyte is edited like anything else, with one small difference.
func TestLargeFiles(t *testing.T) {
	edits := map[string]struct {
		file         string
		edit         func(doc []byte) ([]byte, error)
		added, taken int
	}{
		"a flag": {"etc/kubernetes/manifests/kube-apiserver.yaml", func(doc []byte) ([]byte, error) { return SetFlag(doc, "kube-apiserver", "profiling", "false") }, 1, 0},
		"a list": {"etc/kubernetes/manifests/kube-apiserver.yaml", func(doc []byte) ([]byte, error) {
			return MergeList(doc, "kube-apiserver", "enable-admission-plugins", []string{"AlwaysPullImages"}, nil)
		}, 1, 1},
		"a flag removed": {"etc/kubernetes/manifests/kube-apiserver.yaml", func(doc []byte) ([]byte, error) { return RemoveFlag(doc, "kube-apiserver", "allow-privileged") }, 0, 1},
		"a mount": {"etc/kubernetes/manifests/kube-apiserver.yaml", func(doc []byte) ([]byte, error) {
			return AddMount(doc, "kube-apiserver", Mount{Name: "policies", HostPath: "/etc/kubernetes/policies", MountPath: "/etc/kubernetes/policies", ReadOnly: true, Type: "Directory"})
		}, 7, 0},
		"a field":         {"var/lib/kubelet/config.yaml", func(doc []byte) ([]byte, error) { return Set(doc, Path{"podPidsLimit"}, 4096) }, 1, 0},
		"a field's value": {"var/lib/kubelet/config.yaml", func(doc []byte) ([]byte, error) { return Set(doc, Path{"streamingConnectionIdleTimeout"}, "5m") }, 1, 1},
		"a field deleted": {"var/lib/kubelet/config.yaml", func(doc []byte) ([]byte, error) { return Delete(doc, Path{"rotateCertificates"}) }, 0, 1},
	}
	for name, tt := range edits {
		doc := fixture(t, "kubeadm-1.37/root", tt.file)
		for _, v := range []variant{variants[0], variants[4]} {
			if v.name != variants[0].name && name != "a flag" && name != "a field" {
				continue // how lines end is tried with every edit on smaller files
			}
			before := []byte(v.make(string(large(doc))))
			after, err := tt.edit(before)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, v.name, err)
			}
			d, err := Diff(before, after, DiffOptions{OldName: "a", NewName: "a"})
			if err != nil || d.TooLarge || d.Added != tt.added || d.Removed != tt.taken {
				t.Errorf("%s, %s: %v: +%d -%d", name, v.name, err, d.Added, d.Removed)
			}
		}
	}
}
