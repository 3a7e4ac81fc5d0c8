package backups_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// One target that could not be brought back kept all those after it as they were planned, and what state each was in was not said.
func TestRestoreScriptLeftTheOthersWhereOneCouldNotBeBroughtBack(t *testing.T) {
	const k = "/etc/kubernetes/"
	for i, c := range []struct {
		name  string   // of a command
		fails string   // what its last argument ends with where it fails
		left  string   // the target
		is    string   // what it is said to be
		also  []string // what cannot be as before either
	}{
		{"cp", "/before/" + originalOf("apiserver"), k + "manifests/kube-apiserver.yaml", "as planned  ", nil},
		{"mv", "/kube-apiserver.yaml", k + "manifests/kube-apiserver.yaml", "as planned  ", nil},
		{"mv", "/kube-scheduler.yaml", k + "manifests/kube-scheduler.yaml", "as planned  ", nil},
		{"chown", "/odd", k + "pki/odd", "as planned  ", nil},
		{"chmod", "/ca.key", k + "pki/ca.key", "unknown     ", nil},
		{"rm", "/extra.yaml", k + "manifests/extra.yaml", "as planned  ", nil},
		{"rm", "/audit policy.yaml", k + "policies/audit policy.yaml", "as planned  ", []string{k + "policies"}},
		{"mkdir", "/spool", k + "spool", "as planned  ", nil},
		{"rmdir", "/policies", k + "policies", "as planned  ", nil},
	} {
		t.Run(c.name+c.fails, func(t *testing.T) {
			real, s := realNode(t, t.TempDir())
			must(t, s.commit(open(real)))
			list, err := open(real).List()
			must(t, err)
			was, err := snapshot(real)
			must(t, err)
			command, err := exec.LookPath(c.name)
			must(t, err)
			// The content is made in a dot-file, so that an owner is known by what it is given to.
			broken := tools(t, map[string]string{c.name: fmt.Sprintf(`for word; do
	case $word in *%[1]q) echo %[2]s: no space left on device >&2; exit 1 ;; esac
done
%[3]s "$@"
`, c.fails, c.name, command)})
			if c.name == "chown" {
				broken = tools(t, map[string]string{"chown": fmt.Sprintf(
					"[ \"$1\" != %d:%d ] || { echo chown: no space left on device >&2; exit 1; }\n%s \"$@\"\n", s.before()[c.left].UID, s.before()[c.left].GID, command)})
				if !s.odd {
					t.Skip("every owner is the same here")
				}
			}
			shell := shells()[i%len(shells())]
			out, err := restore(shell, broken, real.Root, list[0].ID)
			if err == nil || strings.Contains(out, "done:") || strings.Contains(out, "stopped at") {
				t.Errorf("%v: %v\n%s", shell, err, out)
			}
			if !strings.Contains(out, "\n"+c.is+" "+c.left+": ") || !strings.Contains(out, c.name+": no space left on device\n") {
				t.Errorf("%v: it is not said what %s is\n%s", shell, c.left, out)
			}
			want := s.before()
			for _, p := range append(c.also, c.left) {
				if want[p] = was[p]; !was[p].Exists {
					delete(want, p)
				}
			}
			for _, tg := range s.targets() {
				if p := tg.Path; p != c.left && len(c.also) == 0 && !strings.Contains(out, "\nas before    "+p+": ") {
					t.Errorf("%v: %s is not said to be as before\n%s", shell, p, out)
				}
			}
			got, err := snapshot(real)
			must(t, err)
			if c.is == "unknown     " { // its owner is back, its mode is not
				want[c.left] = got[c.left]
			}
			if diff := differences(want, got); diff != "" {
				t.Errorf("%v:\n%s\n%s", shell, diff, out)
			}
			if out, err := restore(shell, tools(t, nil), real.Root, list[0].ID); err != nil {
				t.Errorf("%v: the next run: %v\n%s", shell, err, out)
			}
			got, err = snapshot(real)
			must(t, err)
			if diff := differences(s.before(), got); diff != "" {
				t.Errorf("%v: the next run:\n%s", shell, diff)
			}
		})
	}
}

// Where what comes after the files fails, such as a restart, the rest of it is done, it is said, and nobody takes it for done.
func TestRestoreScriptGoesOnAfterACommandThatFails(t *testing.T) {
	real, s := realNode(t, t.TempDir())
	must(t, s.commit(open(real)))
	list, err := open(real).List()
	must(t, err)
	out, err := restoreRunning(t, real, s, list[0].Dir, func(script []byte) []byte {
		return bytes.Replace(script, []byte("echo after"), []byte("run sh -c 'exit 3'\n\techo after"), 1)
	})
	if err == nil || strings.Contains(out, "done:") || !strings.Contains(out, "restore.sh: this failed: sh -c exit 3\n") || !strings.Contains(out, "\nfailed       sh -c exit 3\n") {
		t.Errorf("%v\n%s", err, out)
	}
	dir := filepath.Join(real.Root, list[0].Dir)
	if got, err := os.ReadFile(filepath.Join(dir, "commands")); err != nil || string(got) != "before\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "restored")); err == nil {
		t.Error("it is marked as restored")
	}
	got, err := snapshot(real)
	must(t, err)
	if diff := differences(s.before(), got); diff != "" {
		t.Errorf("%s\n%s", diff, out)
	}
}
