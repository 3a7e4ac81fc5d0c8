package patches

import (
	"bytes"
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
			if v.name != "as it is" && !strings.HasPrefix(name, "kubeadm-1.37") {
				continue
			}
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
		"profiling":              "false",
		"authorization-mode":     "Node,RBAC,Webhook",
		"bind-address":           "0.0.0.0",
		"client-ca-file":         "/etc/kubernetes/pki/other.crt",
		"aaa":                    "first",
		"zzz":                    "a: b #c",
		"kubeconfig":             "",
		"tls-cipher-suites":      "TLS_A,TLS_B",
		"data-dir":               "/var/lib/etcd",
		"requestheader-username": "*",
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
