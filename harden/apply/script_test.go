package apply_test

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestScript(t *testing.T) {
	w := newWorld(t)
	script := w.node.text(w.apply(w.plan("pids", "kernel")).Script)
	for _, want := range []string{"systemctl restart 'kubelet.service'\n", "sysctl -w 'vm.overcommit_memory=0'\n"} {
		if !strings.Contains(script, want) {
			t.Errorf("restore.sh does not have %q", want)
		}
	}
	if strings.Contains(script, "kubectl()") {
		t.Error("restore.sh speaks of objects, and there are none")
	}
}

// byHand is a transaction's folder with its restore.sh, and an API that a kubectl of our own asks: one file for each object, its
// UID in the first line.
type byHand struct {
	t        testing.TB
	dir, api string
}

const kubectl = `#!/bin/sh
[ "$1 $2" = '--kubeconfig /etc/kubernetes/admin.conf' ] || exit 64
shift 2
[ -e "$API/up" ] || { echo 'connection refused' >&2; exit 1; }
name=other
last=
for word; do
	if [ "$word" = -n ]; then name=$last; fi
	last=$word
done
case $* in
'get --ignore-not-found -o jsonpath={.metadata.uid} networkpolicy.v1.networking.k8s.io '*' -n shop')
	if [ -e "$API/$name" ]; then printf %s "$(head -n 1 "$API/$name")"; fi ;;
'get -o yaml networkpolicy.v1.networking.k8s.io '*' -n shop') cat "$API/$name" ;;
'delete --ignore-not-found networkpolicy.v1.networking.k8s.io '*' -n shop') rm -f "$API/$name" ;;
'replace -f -')
	uid=$(head -n 1 "$API/$name")
	{ echo "$uid" && cat; } >"$API/new" && mv "$API/new" "$API/$name" ;;
'create -f - -o jsonpath={.metadata.uid}')
	[ ! -e "$API/deny-all" ] || exit 1
	{ echo made-anew && cat; } >"$API/deny-all"
	printf made-anew ;;
*) exit 64 ;;
esac
`

func (w *world) byHand(res harden.Result) *byHand {
	w.t.Helper()
	b := &byHand{t: w.t, dir: w.t.TempDir(), api: w.t.TempDir()}
	script := w.node.text(res.Script)
	if strings.Contains(script, "p=$ROOT") {
		w.t.Fatal("this script would change files of this machine")
	}
	b.put(path.Join(b.dir, "restore.sh"), script)
	b.put(path.Join(b.dir, "journal.jsonl"), w.node.text(path.Join(path.Dir(res.Script), "journal.jsonl")))
	b.put(path.Join(b.dir, "bin/kubectl"), kubectl)
	b.put(path.Join(b.dir, "bin/sync"), "#!/bin/sh\n")
	b.put(path.Join(b.api, "up"), "")
	for ref, o := range w.cluster.objects {
		b.set(ref, o.uid, o.data)
	}
	return b
}

func (b *byHand) put(file, text string) {
	b.t.Helper()
	must(b.t, os.MkdirAll(path.Dir(file), 0o755))
	must(b.t, os.WriteFile(file, []byte(text), 0o755))
}

func (b *byHand) set(ref harden.ObjectRef, uid, data string) {
	b.put(path.Join(b.api, ref.Name), uid+"\n"+data)
}

// journal changes what the journal says, as if the process had died earlier.
func (b *byHand) journal(keep func(line string) bool) {
	file := path.Join(b.dir, "journal.jsonl")
	data, err := os.ReadFile(file)
	must(b.t, err)
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if keep(line) {
			out.WriteString(line)
		}
	}
	b.put(file, out.String())
}

func (b *byHand) run() (said string, err error) {
	cmd := exec.Command("sh", path.Join(b.dir, "restore.sh"))
	cmd.Env = []string{"PATH=" + path.Join(b.dir, "bin") + ":" + os.Getenv("PATH"), "API=" + b.api}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// holds is what the API has of an object; "-" for nothing.
func (b *byHand) holds(ref harden.ObjectRef) string {
	data, err := os.ReadFile(path.Join(b.api, ref.Name))
	if errors.Is(err, os.ErrNotExist) {
		return "-"
	}
	must(b.t, err)
	return string(data)
}

// kept is all that was saved.
func (b *byHand) kept() string {
	files, err := filepath.Glob(path.Join(b.dir, "kept", "object-*"))
	must(b.t, err)
	var out strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		must(b.t, err)
		out.Write(data)
	}
	return out.String()
}

// Objects that others had put in the place of ours, or had changed since, were deleted and replaced unseen.
func TestTheWayOutByHandDestroyedWhatOthersMade(t *testing.T) {
	entry := func(line string) bool { return strings.Contains(line, `"kind":"object"`) }
	of := func(line string, ref harden.ObjectRef) bool {
		return entry(line) && strings.Contains(line, `"step":"`+ref.String()+`"`)
	}
	done := func(line string) bool { return strings.Contains(line, `"done":true`) }
	for _, row := range []struct {
		name        string
		arrange     func(b *byHand)
		says        string
		fails       bool
		deny, other string // in the end; empty: as before the transaction
		kept        []string
	}{
		{name: "ours", says: "done: all is as before", kept: []string{"deny all\n", "other, new\n"}},
		{name: "changed by others", says: "done: all is as before", kept: []string{"theirs, deny\n", "theirs, other\n"}, arrange: func(b *byHand) {
			b.set(denyAll, "uid-2", "theirs, deny\n")
			b.set(other, "uid-1", "theirs, other\n")
		}},
		{name: "other ones of these names", fails: true, says: "NetworkPolicy shop/deny-all is left as it is: it is another object of that name now",
			deny: "uid-8\ndeny all\n", other: "uid-9\nother, new\n", kept: []string{"uid-8\n", "uid-9\n"}, arrange: func(b *byHand) {
				b.set(denyAll, "uid-8", "deny all\n")
				b.set(other, "uid-9", "other, new\n")
			}},
		{name: "gone", fails: true, says: "NetworkPolicy shop/other is left as it is: it is gone", deny: "-", other: "-", arrange: func(b *byHand) {
			must(b.t, os.Remove(path.Join(b.api, denyAll.Name)))
			must(b.t, os.Remove(path.Join(b.api, other.Name)))
		}},
		{name: "it died before it changed anything", says: "was not changed: NetworkPolicy shop/other",
			deny: "uid-2\ndeny all\n", other: "uid-1\nother, new\n", arrange: func(b *byHand) {
				b.journal(func(line string) bool { return !entry(line) })
			}},
		{name: "the API had refused one", says: "was not changed: NetworkPolicy shop/deny-all", deny: "uid-2\ndeny all\n", arrange: func(b *byHand) {
			b.journal(func(line string) bool { return !of(line, denyAll) })
			b.put(path.Join(b.dir, "journal.jsonl"), `{"seq":2,"kind":"object","data":{"step":"NetworkPolicy shop/deny-all","done":false,"failed":true}}`+"\n"+
				`{"seq":3,"kind":"object","data":{"step":"NetworkPolicy shop/other","done":false}}`+"\n")
		}},
		{name: "it died before it heard of what it made", fails: true, deny: "uid-2\ndeny all\n", kept: []string{"deny all\n"},
			says: "if it did: kubectl --kubeconfig /etc/kubernetes/admin.conf delete networkpolicy.v1.networking.k8s.io deny-all -n shop\n", arrange: func(b *byHand) {
				b.journal(func(line string) bool { return !of(line, denyAll) || !done(line) })
			}},
		{name: "the journal is gone", fails: true, says: "whether kubectl-harden made it is not known", deny: "uid-2\ndeny all\n", arrange: func(b *byHand) {
			must(b.t, os.Remove(path.Join(b.dir, "journal.jsonl")))
		}},
		{name: "the API is down", fails: true, says: "unknown      NetworkPolicy shop/other: it cannot be looked at\n", deny: "uid-2\ndeny all\n", other: "uid-1\nother, new\n",
			arrange: func(b *byHand) { must(b.t, os.Remove(path.Join(b.api, "up"))) }},
		{name: "what is there cannot be saved", fails: true, says: "NetworkPolicy shop/other is left as it is: what is there cannot be saved", deny: "uid-2\ndeny all\n", other: "uid-1\nother, new\n",
			arrange: func(b *byHand) { b.put(path.Join(b.dir, "kept"), "no directory") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.cluster.set(other, "it's old\n")
			b := w.byHand(w.apply(w.plan("deny", "other")))
			if row.arrange != nil {
				row.arrange(b)
			}
			for range 2 { // it may be run again
				said, err := b.run()
				if (err != nil) != row.fails || !strings.Contains(said, row.says) {
					t.Fatalf("%v\n%s", err, said)
				}
				deny, was := "-", "uid-1\nit's old\n"
				if row.deny != "" {
					deny = row.deny
				}
				if row.other != "" {
					was = row.other
				}
				if b.holds(denyAll) != deny || b.holds(other) != was {
					t.Errorf("%q and %q; want %q and %q\n%s", b.holds(denyAll), b.holds(other), deny, was, said)
				}
			}
			for _, want := range row.kept {
				if !strings.Contains(b.kept(), want) {
					t.Errorf("%q is not in what was saved: %q", want, b.kept())
				}
			}
		})
	}
}

// What an undo had removed is made anew, once, and only if nobody else made one.
func TestTheWayOutByHandOfAnUndo(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		w := newWorld(t)
		w.cluster.set(other, "it's old\n")
		first := w.apply(w.plan("deny", "other"))
		b := w.byHand(w.apply(w.undo(first.Transaction, "")))
		want := "made-anew\ndeny all\n"
		if theirs {
			want = "uid-8\ntheirs\n"
			b.set(denyAll, "uid-8", "theirs\n")
		}
		for range 2 {
			said, err := b.run()
			if (err != nil) != theirs || b.holds(denyAll) != want || b.holds(other) != "uid-1\nother, new\n" {
				t.Errorf("%v: %q and %q\n%s", err, b.holds(denyAll), b.holds(other), said)
			}
		}
	}
}
