package patches

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// tryDecode is the document as other programs read it; ok is false when they cannot.
func tryDecode(doc []byte) (value any, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return value, yaml.Unmarshal(doc, &value) == nil
}

// tryArguments is arguments for documents that may be anything.
func tryArguments(doc []byte, container string) (args []string, ok bool) {
	value, ok := tryDecode(doc)
	if !ok {
		return nil, false
	}
	pod, _ := value.(map[string]any)
	spec, _ := pod["spec"].(map[string]any)
	list, _ := spec["containers"].([]any)
	for _, item := range list {
		c, _ := item.(map[string]any)
		if c["name"] != container {
			continue
		}
		for _, key := range []string{"command", "args"} {
			items, _ := c[key].([]any)
			for _, arg := range items {
				text, isText := arg.(string)
				if !isText {
					return nil, false
				}
				args = append(args, text)
			}
			delete(c, key)
		}
		return append(args, fmt.Sprintf("%#v", value)), true
	}
	return nil, false
}

func requireRefusal(t *testing.T, err error) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("neither an edit nor a refusal: %v", err)
	}
	if r.Hint == "" || r.Error() == "" || strings.Contains(r.Error(), "\n") {
		t.Errorf("a refusal that does not help: %q, %q", r.Error(), r.Hint)
	}
}

// tooLong keeps the quadratic comparisons of the tests fast.
func tooLong(texts ...string) bool {
	return len(strings.Join(texts, "")) > 1<<13
}

func seedPods(f *testing.F, add func(pod string)) {
	doc := string(fixture(f, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-scheduler.yaml"))
	for _, v := range podVariants {
		add(v.make(doc))
	}
	head := "spec:\n  containers:\n  - name: kube-scheduler\n"
	for _, body := range []string{
		"    command: [kube-scheduler, --leader-elect=true]\n",
		"    command: &c\n    - kube-scheduler\n    args: *c\n",
		"    args: []\n",
		"    args: {}\n",
		"    command:\n    - kube-scheduler\n    - >-\n      --leader-elect=true\n    - |\n      --v=2\n",
		"    command:\n    -\n      # why\n      --leader-elect=true\n    - --\n    - rest\n",
		"    command:\n    - sh\n    - -c\n    - kube-scheduler --leader-elect=true\n",
		"    command: [\n      kube-scheduler ]\n    args:\n      - --v\n      - \"2\"\n      - -v=3\n      - '--leader-elect'",
	} {
		add(head + body)
	}
}

func FuzzSetFlag(f *testing.F) {
	seedPods(f, func(pod string) {
		f.Add(pod, "leader-elect", "false")
		f.Add(pod, "profiling", "a: b")
		f.Add(pod, "v", "")
		f.Add(pod, "0digit", "a: b")
	})
	f.Fuzz(func(t *testing.T, pod, flag, value string) {
		if tooLong(pod) || checkFlag(flag, value) != nil {
			t.Skip()
		}
		const container = "kube-scheduler"
		after, err := SetFlag([]byte(pod), container, flag, value)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		checkFuzzedFlag(t, []byte(pod), after, container, flag, &value)
		again, err := SetFlag(after, container, flag, value)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v\n%s", err, again)
		}
		removed, err := RemoveFlag(after, container, flag)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		checkFuzzedFlag(t, after, removed, container, flag, nil)
	})
}

func checkFuzzedFlag(t *testing.T, before, after []byte, container, flag string, value *string) {
	t.Helper()
	old, ok := tryArguments(before, container)
	if !ok {
		return
	}
	new, ok := tryArguments(after, container)
	if !ok {
		t.Fatalf("the result cannot be read:\n%s", after)
	}
	if old[len(old)-1] != new[len(new)-1] {
		t.Errorf("something other than the arguments changed:\n%s\n%s", old[len(old)-1], new[len(new)-1])
	}
	oldFlags, newFlags := scanFlags(old[:len(old)-1]), scanFlags(new[:len(new)-1])
	if a, b := others(oldFlags, flag), others(newFlags, flag); !slices.Equal(a, b) {
		t.Errorf("other flags changed:\n%v\n%v", a, b)
	}
	found := named(newFlags, flagName(flag))
	switch {
	case value == nil && len(found) > 0:
		t.Errorf("--%s is still there", flag)
	case value != nil && (len(found) != 1 || !found[0].HasValue || found[0].Value != *value):
		t.Errorf("--%s=%s is not there once: %v", flag, *value, found)
	}
	checkComments(t, before, after)
	requireOtherLines(t, before, after, flagLines(before, after, container, flag))
}

// checkComments verifies that every comment that has a line of its own is still there, in its order.
func checkComments(t *testing.T, before, after []byte) {
	t.Helper()
	comments := func(doc []byte, text map[int]bool) []string {
		var all []string
		for i, line := range strings.Split(string(doc), "\n") {
			if strings.HasPrefix(strings.TrimLeft(line, " "), "#") && !text[i+1] {
				all = append(all, strings.TrimSuffix(line, "\r"))
			}
		}
		return all
	}
	rest := comments(after, nil)
	for _, comment := range comments(before, textLines(before)) {
		at := slices.Index(rest, comment)
		if at < 0 {
			t.Errorf("the comment %q is gone:\n%s\n---\n%s", comment, before, after)
			return
		}
		rest = rest[at+1:]
	}
}

func FuzzMergeList(f *testing.F) {
	seedPods(f, func(pod string) {
		pod = strings.Replace(pod, "--leader-elect=true", "--list=b,a", 1)
		f.Add(pod, "list", "c", "a")
		f.Add(pod, "list", "", "")
		f.Add(pod, "0digit", "c", "")
	})
	f.Fuzz(func(t *testing.T, pod, flag, add, remove string) {
		if tooLong(pod) {
			t.Skip()
		}
		const container = "kube-scheduler"
		var adds, removes []string
		if add != "" {
			adds = []string{add}
		}
		if remove != "" {
			removes = []string{remove}
		}
		after, err := MergeList([]byte(pod), container, flag, adds, removes)
		if err != nil && !errors.As(err, new(*Refusal)) && notEntries(flag, add, remove) {
			t.Skip()
		}
		if err != nil {
			requireRefusal(t, err)
			return
		}
		again, err := MergeList(after, container, flag, adds, removes)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v\n%s", err, again)
		}
		old, ok := tryArguments([]byte(pod), container)
		if !ok {
			return
		}
		new, ok := tryArguments(after, container)
		if !ok {
			t.Fatalf("the result cannot be read:\n%s", after)
		}
		entries := func(args []string) []string {
			var all []string
			for _, f := range named(scanFlags(args[:len(args)-1]), flagName(flag)) {
				for _, entry := range strings.Split(f.Value, ",") {
					if entry = strings.TrimSpace(entry); entry != "" && !slices.Contains(all, entry) {
						all = append(all, entry)
					}
				}
			}
			return all
		}
		want := slices.DeleteFunc(entries(old), func(entry string) bool { return entry == remove })
		if add != "" && add != remove && !slices.Contains(want, add) {
			want = append(want, add)
		}
		if got := entries(new); !slices.Equal(got, want) {
			t.Errorf("the list is %q, want %q", got, want)
		}
		if old[len(old)-1] != new[len(new)-1] {
			t.Errorf("something other than the arguments changed")
		}
		if n := len(named(scanFlags(new[:len(new)-1]), flagName(flag))); n > 1 {
			t.Errorf("there are %d flags --%s", n, flag)
		}
		requireOtherLines(t, []byte(pod), after, flagLines([]byte(pod), after, container, flag))
	})
}

// notEntries says that the caller is at fault, not the document.
func notEntries(flag string, entries ...string) bool {
	return checkFlag(flag, "") != nil || slices.ContainsFunc(entries, func(entry string) bool {
		return strings.TrimSpace(entry) != entry || strings.Contains(entry, ",") || checkFlag(flag, entry) != nil
	})
}

func FuzzSetField(f *testing.F) {
	config := string(fixture(f, "kubeadm-1.37/root/var/lib/kubelet/config.yaml"))
	for _, v := range variants {
		for path, value := range map[string]string{
			"authentication.anonymous.enabled": "true", "readOnlyPort": "0", "tlsCipherSuites": "[a, 'b: c']",
			"memorySwap.swapBehavior": "NoSwap", "clusterDNS[0]": "10.0.0.1", "logging": "{a: 1}", "staticPodPath": "",
			"authentication": "{x509: {clientCAFile: x}, b: [1]}", "a.b.c": "yes",
		} {
			f.Add(v.make(config), path, value)
		}
	}
	for _, doc := range []string{
		"a: |\n  text\n   more\n\nb: >+\n  folded\n\n\nc: 1\n", "a: {b: 1}\nc: &x {d: 1}\ne: *x\n<<: *x\n", "- a\n- - b\n  - c\n- d: 1\n  e: 2\n",
		"a:\n- b\n-\n- # c\n  d: 1\n", "{}\n", "# only\n", "", "a: 'it''s' # c\nb: \"x\\\n  y\"\nc: plain\n  more\n", "a:\n  b: ~\n  c: null\n", "? a\n: b\n",
	} {
		f.Add(doc, "a", "1")
		f.Add(doc, "a.b", "x\ny\n")
		f.Add(doc, "b", "[1, 2]")
		f.Add(doc, `a["b.c"].d`, "{}")
		f.Add(doc, "e", "")
	}
	f.Fuzz(func(t *testing.T, doc, at, text string) {
		path, err := ParsePath(at)
		if err != nil || tooLong(doc, at, text) {
			t.Skip()
		}
		if again, err := ParsePath(path.String()); err != nil || again.String() != path.String() {
			t.Fatalf("path %q is written %q: %v", at, path, err)
		}
		var value any
		if decoded, ok := tryDecode([]byte(text)); ok {
			value = decoded
		}
		value, err = normal(value)
		if err != nil || !utf8.ValidString(fmt.Sprint(value)) {
			t.Skip()
		}
		if path.check() != nil {
			t.Skip()
		}
		after, err := Set([]byte(doc), path, value)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		checkFuzzedField(t, []byte(doc), after, path, value)
		again, err := Set(after, path, value)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v\n%s---\n%s", err, after, again)
		}
		deleted, err := Delete(after, path)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireOtherLines(t, after, deleted, fieldLines(after, deleted, path))
		if _, found, err := Get(deleted, path); err != nil || found && !isIndex(path[len(path)-1]) {
			t.Errorf("%s is still there: %v\n%s", path, err, deleted)
		}
	})
}

func isIndex(step any) bool { _, ok := step.(int); return ok }

func checkFuzzedField(t *testing.T, before, after []byte, path Path, value any) {
	t.Helper()
	got, ok, err := Get(after, path)
	if err != nil || !ok || !same(encode(got), encode(value)) {
		t.Fatalf("%s is %#v, want %#v: %v\n%s", path, got, value, err, after)
	}
	old, ok := tryDecode(before)
	if !ok {
		return
	}
	new, ok := tryDecode(after)
	if !ok {
		t.Fatalf("the result cannot be read:\n%s", after)
	}
	if a, b := fmt.Sprintf("%#v", mask(old, path)), fmt.Sprintf("%#v", mask(new, path)); a != b {
		t.Errorf("more than %s changed:\n%s\n%s", path, a, b)
	}
	requireOtherLines(t, before, after, fieldLines(before, after, path))
	previous, found, _ := Get(before, path)
	if s, isText := previous.(string); found && (isText && strings.Contains(s, "\n") || isCollection(previous)) {
		return
	}
	if strings.Contains(string(before), "\n") && !isCollection(value) {
		checkComments(t, before, after)
	}
}

// mask makes the value at path, and parents that hold nothing else, disappear.
func mask(value any, path Path) any {
	if m, ok := value.(map[any]any); ok {
		named := map[string]any{}
		for key, child := range m {
			named[fmt.Sprint(key)] = child
		}
		value = named
	}
	switch v := value.(type) {
	case map[string]any:
		key, isKey := path[0].(string)
		if !isKey {
			return v
		}
		if len(path) == 1 {
			delete(v, key)
		} else if child := mask(v[key], path[1:]); child == nil {
			delete(v, key)
		} else {
			v[key] = child
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		index, isIndex := path[0].(int)
		if !isIndex || index >= len(v) {
			return v
		}
		if len(path) == 1 {
			v[index] = nil
		} else {
			v[index] = mask(v[index], path[1:])
		}
	}
	return value
}
