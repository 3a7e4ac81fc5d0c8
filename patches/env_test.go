package patches

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

var envFiles = []string{
	"KUBELET_EXTRA_ARGS=\n",
	"# node\nKUBELET_EXTRA_ARGS=\"--hostname-override=cp1 --v=2\"\nOTHER=1\n",
	"KUBELET_EXTRA_ARGS='--hostname-override cp1'",
	"KUBELET_EXTRA_ARGS=--a=1 --b=2 \\\n --c=3\r\n",
	"export KUBELET_EXTRA_ARGS=--x=1\n",
	"KUBELET_EXTRA_ARGS=\"--a=\\\"x y\\\" --node-labels='a b'\"\n",
	"KUBELET_EXTRA_ARGS=\"--a=1\" \"--b=2\"\n",
	"KUBELET_EXTRA_ARGS=--a=1\nKUBELET_EXTRA_ARGS=\"--b=2 --b=3\" \n; c\n",
	"# c \\\nKUBELET_EXTRA_ARGS=--x=1\n",
	"A=1",
	"",
}

func TestEnvFlagOfFixtures(t *testing.T) {
	const variable = "KUBELET_KUBEADM_ARGS"
	for name, doc := range fixtureFiles(t, "kubeadm-flags.env") {
		for _, file := range []string{string(doc), "# c\r\n" + strings.ReplaceAll(string(doc), "\n", "\r\n"), strings.TrimSuffix(string(doc), "\n")} {
			before, err := EnvFlags([]byte(file), variable)
			if err != nil || len(before) == 0 {
				t.Fatalf("%s: %v, %v", name, before, err)
			}
			after, err := SetEnvFlag([]byte(file), variable, "node-ip", "192.0.2.11")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := strings.Replace(file, "--hostname-override=cp1", "--hostname-override=cp1 --node-ip=192.0.2.11", 1)
			if string(after) != want {
				t.Errorf("%s: got\n%q\nwant\n%q", name, after, want)
			}
			removed, err := RemoveEnvFlag(after, variable, "node-ip")
			if err != nil || string(removed) != file {
				t.Errorf("%s: set and removed: %v\n%q", name, err, removed)
			}
		}
	}
}

func TestEnvFlag(t *testing.T) {
	for _, row := range []struct {
		name, before string
		flag, value  string // no value removes the flag
		after        string
	}{
		{"empty value", "V=\n", "a", "1", "V=\"--a=1\"\n"},
		{"empty quotes", "V='' # no\nV=\"\"\n", "a", "1", "V='' # no\nV=\"--a=1\"\n"},
		{"no variable", "# c\nW=1\n", "a", "1", "# c\nW=1\nV=\"--a=1\"\n"},
		{"no variable, no final newline", "W=1", "a", "1", "W=1\nV=\"--a=1\""},
		{"no file", "", "a", "1", "V=\"--a=1\"\n"},
		{"without quotes, one", "V=--b=1\n", "a", "1", "V=\"--a=1 --b=1\"\n"},
		{"without quotes, two", "V=--b=1 --c=1  \n", "a", "1", "V=--a=1 --b=1 --c=1  \n"},
		{"single quotes", "V='--b=1'\n", "c", "1", "V='--b=1 --c=1'\n"},
		{"replaced", "V=\"--a=1 --b=2\"\r\n", "b", "3", "V=\"--a=1 --b=3\"\r\n"},
		{"replaced, value apart", "V=\"--b 2 --c\"\n", "b", "3", "V=\"--b 3 --c\"\n"},
		{"unsorted goes last", "V=\"--c=1 --b=1\"\n", "a", "1", "V=\"--c=1 --b=1 --a=1\"\n"},
		{"repeats", "V=\"--b=1 --a=2  --b=3 --b=4\"\n", "b", "5", "V=\"--a=2 --b=5\"\n"},
		{"the last assignment counts", "V=--a=1\nV=--a=2\n", "a", "3", "V=--a=1\nV=--a=3\n"},
		{"continued", "V=--a=1 \\\n  --b=2\n", "b", "3", "V=--a=1 \\\n  --b=3\n"},
		{"continued in quotes", "V=\"--a=1 \\\n  --c=2\"\nW=1\n", "b", "3", "V=\"--a=1 \\\n  --b=3 --c=2\"\nW=1\n"},
		{"beside a quoted flag", `V="--a=1 --l='x y'"` + "\n", "a", "2", `V="--a=2 --l='x y'"` + "\n"},
		{"removed first", "V=\"--a=1 --b=2\"\n", "a", "", "V=\"--b=2\"\n"},
		{"removed last", "V=\"--a=1 --b=2\"\n", "b", "", "V=\"--a=1\"\n"},
		{"removed, the only one", "V=\"--a=1\"\n", "a", "", "V=\"\"\n"},
		{"removed with its value", "V=\"--a 1 --b=2\"\n", "a", "", "V=\"--b=2\"\n"},
		{"absent", "V=\"--a=1\"\n", "b", "", "V=\"--a=1\"\n"},
		{"other variables may be strange", "W=\"a\" \"b\"\nexport X=1\nV=--a=1\n", "a", "2", "W=\"a\" \"b\"\nexport X=1\nV=--a=2\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			edit := func(file []byte) ([]byte, error) {
				if row.value == "" {
					return RemoveEnvFlag(file, "V", row.flag)
				}
				return SetEnvFlag(file, "V", row.flag, row.value)
			}
			after, err := edit([]byte(row.before))
			if err != nil || string(after) != row.after {
				t.Errorf("%v, got\n%q\nwant\n%q", err, after, row.after)
			}
			if again, err := edit(after); err != nil || !bytes.Equal(again, after) {
				t.Errorf("the same edit again: %v\n%q", err, again)
			}
		})
	}
}

func TestEnvRefusals(t *testing.T) {
	for found, row := range map[string]struct{ file, flag, value string }{
		"assigned behind export":        {"export V=--a=1\n", "a", "2"},
		"the value is quoted in pieces": {"V=\"--a=1\" \"--b=2\"\n", "a", "2"},
		"a quote is opened":             {"V=\"--a=1\n", "a", "2"},
		"older systemd takes this line": {"# c \\\nV=--a=1\n", "a", "2"},
		"is quoted inside the value":    {"V=\"--a='x y'\"\n", "a", "2"},
		"would have to be quoted twice": {"V=\n", "a", "x y"},
		"there is a byte order mark":    {"\ufeffV=--a=1\n", "a", "2"},
		"more than was asked for":       {"W=1\\", "a", "2"},
	} {
		_, err := SetEnvFlag([]byte(row.file), "V", row.flag, row.value)
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Found, found) || !strings.HasSuffix(r.Hint, " by hand") {
			t.Errorf("%q: %v, want %q", row.file, err, found)
		}
	}
	// Behind a flag without a value, what follows the removed flag would become its value.
	_, err := RemoveEnvFlag([]byte("V=\"--verbose --a=1 rest\"\n"), "V", "a")
	if r := (*Refusal)(nil); !errors.As(err, &r) || r.Found != misread {
		t.Errorf("got %v", err)
	}
	if _, err := SetEnvFlag(nil, "A B", "a", "1"); err == nil {
		t.Error("a variable with a space is taken")
	}
}

func TestEnvFlagsReadsAsSystemd(t *testing.T) {
	file := "V=\"--a=\\\"x y\\\" --b='c d' --e=\\$1 \\\n --f\"\n"
	want := []Flag{{"a", "x y", true, 1}, {"b", "c d", true, 1}, {"e", "$1", true, 1}, {"f", "", false, 2}}
	if got, err := EnvFlags([]byte(file), "V"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := EnvFlags([]byte("#V=--a=1\n"), "V"); err != nil || got != nil {
		t.Errorf("of a comment: %v, %v", got, err)
	}
}

func TestSetKeyValue(t *testing.T) {
	for _, row := range []struct{ name, before, after string }{
		{"replaced", "# c\nvm.a = 2 \nvm.b=1\n", "# c\nvm.a = 1 \nvm.b=1\n"},
		{"the last one counts", "vm.a=0\r\nvm.a=2\r\n", "vm.a=0\r\nvm.a=1\r\n"},
		{"as it should be", "vm.a=1\nkernel.x=2", "vm.a=1\nkernel.x=2"},
		{"added as the others are written", "vm.b=2", "vm.b=2\nvm.a=1"},
		{"added to nothing", "", "vm.a = 1\n"},
		{"comments are no keys", "#vm.a=2\n; vm.a=3\n", "#vm.a=2\n; vm.a=3\nvm.a = 1\n"},
		{"slashes and errors ignored", "-vm/a =\t2\n", "-vm/a =\t1\n"},
		{"an empty value", "vm.a=\n", "vm.a=1\n"},
	} {
		after, err := SetKeyValue([]byte(row.before), "vm.a", "1")
		if err != nil || string(after) != row.after {
			t.Errorf("%s: %v, got %q, want %q", row.name, err, after, row.after)
		}
	}
	for _, pair := range [][2]string{{"", "1"}, {"a b", "1"}, {"a=", "1"}, {"#a", "1"}, {"a", "1\n"}, {"a", " 1"}} {
		if _, err := SetKeyValue(nil, pair[0], pair[1]); err == nil {
			t.Errorf("%q is taken", pair)
		}
	}
	if _, err := SetKeyValue([]byte("a\xff=1\n"), "a", "1"); !errors.As(err, new(*Refusal)) {
		t.Errorf("invalid UTF-8: %v", err)
	}
}
