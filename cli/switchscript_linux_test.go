package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/host"
)

// scriptedSwitch is a transaction's folder with a switch.sh, a program of our own in place of the copy, and a restore.sh that
// says how it was called.
type scriptedSwitch struct {
	t         *testing.T
	dir, lock string
	sleep     string // what a second of sleep does
}

const switchTx = "20261123T090000.000Z-0a1b"

func newScriptedSwitch(t *testing.T, program string) scriptedSwitch {
	t.Helper()
	state := filepath.Join(t.TempDir(), "it's a state dir")
	s := scriptedSwitch{t: t, dir: filepath.Join(state, "transactions", switchTx), lock: filepath.Join(state, "lock")}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := host.OpenRoot("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	d := &deadMan{files: root, stateDir: state, lockPath: s.lock, flags: []string{"--state-dir", state}}
	s.put("program", program)
	if err := d.write(d.at(switchTx, switchProgram), 0o700, strings.NewReader(program)); err != nil {
		t.Fatal(err)
	}
	script := d.script(switchTx, fmt.Sprintf("%x", sha256.Sum256([]byte(program))))
	// Patience is a tenth of what it is: each second of it takes several processes.
	for _, c := range [][2]string{{"patience=600\n", "patience=60\n"}, {"-ge 900 ]", "-ge 90 ]"}} {
		if !strings.Contains(script, c[0]) {
			t.Fatalf("switch.sh does not say %q", c[0])
		}
		script = strings.Replace(script, c[0], c[1], 1)
	}
	if err := d.write(d.at(switchTx, switchScript), 0o700, strings.NewReader(script)); err != nil {
		t.Fatal(err)
	}
	s.put("restore.sh", `echo "restored${FILES:+, files $FILES}" >>"$(dirname "$0")/log"`)
	s.put("journal.jsonl", s.entry("begin"))
	return s
}

// entry is a journal line of a kind, with an event that speaks of all others.
func (s scriptedSwitch) entry(kind string) string {
	return s.line(kind, `{"kind":"passed","message":"\"kind\":\"end\""}`)
}

func (s scriptedSwitch) end(outcome string) string {
	return s.line(backups.KindEnd, fmt.Sprintf(`{"outcome":%q}`, outcome))
}

func (s scriptedSwitch) line(kind, data string) string {
	line, err := json.Marshal(backups.Entry{Seq: 7, Time: time.Unix(0, 0).UTC(), Kind: kind, Data: json.RawMessage(data)})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(line) + "\n"
}

func (s scriptedSwitch) put(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// run runs the script with a sleep that does not, and gives what restore.sh and the program have logged.
func (s scriptedSwitch) run(what string) (log string, code int) {
	s.t.Helper()
	bin := s.t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "sleep"), []byte("#!/bin/sh\n"+s.sleep+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command("/bin/sh", filepath.Join(s.dir, switchScript), what)
	c.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%s: %s", what, out)
	data, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return strings.TrimSpace(string(data)), c.ProcessState.ExitCode()
}

const (
	mixedProgram = "#!/bin/sh\nexit 7\n"
	goodProgram  = "#!/bin/sh\necho \"program $1 $2 $3\" >>\"$(dirname \"$0\")/log\"\n"
	badProgram   = "#!/bin/sh\nexit 137\n"
	armsProgram  = "#!/bin/sh\nhere=$(dirname \"$0\")\ncat \"$here/waiting\" >>\"$here/journal.jsonl\"\nexit 137\n"
)

func TestSwitchScript(t *testing.T) {
	for _, tt := range []struct {
		name, program string
		arrange       func(s scriptedSwitch)
		what, log     string
	}{
		{name: "the program does it", program: goodProgram, what: "expiry", log: "program switch expiry " + switchTx},
		{name: "the program does it at boot", program: goodProgram, what: "boot", log: "program switch boot " + switchTx},
		{name: "the program dies", program: badProgram, what: "expiry", log: "restored"},
		{name: "the program dies at boot", program: badProgram, what: "boot", log: "restored, files only"},
		{name: "the program is damaged", program: goodProgram, what: "boot", log: "restored, files only",
			arrange: func(s scriptedSwitch) { s.put(switchProgram, "#!/bin/sh\nexit 0\n") }},
		{name: "the program is gone", program: goodProgram, what: "expiry", log: "restored",
			arrange: func(s scriptedSwitch) { _ = os.Remove(filepath.Join(s.dir, switchProgram)) }},
		// What the program could not bring back stayed as it was.
		{name: "the program's undo fails", program: mixedProgram, what: "expiry", log: "restored"},
		{name: "an undo has failed before", program: badProgram, what: "expiry", log: "restored",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.entry("undoing")+s.end(backups.Mixed))
			}},
		{name: "an undo has failed before, at boot", program: mixedProgram, what: "boot", log: "restored, files only",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.end(backups.Mixed)+s.entry("resume"))
			}},
		{name: "an undo has failed before, and the last one has not", program: badProgram, what: "expiry",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.end(backups.Mixed)+s.entry("resume")+s.end(backups.RolledBack))
			}},
		{name: "it was confirmed", program: badProgram, what: "expiry",
			arrange: func(s scriptedSwitch) { s.put("journal.jsonl", s.entry("begin")+s.entry("passed")) }},
		{name: "it is settled", program: badProgram, what: "boot",
			arrange: func(s scriptedSwitch) { s.put("journal.jsonl", s.entry("begin")+s.end(backups.Committed)) }},
		// The timer that ran out was the one before.
		{name: "it is armed anew meanwhile", program: armsProgram, what: "expiry",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.entry("armed"))
				s.put("waiting", s.entry("waiting"))
			}},
		{name: "it was armed anew before", program: badProgram, what: "expiry", log: "restored",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.entry("armed")+s.entry("waiting"))
			}},
		{name: "it was armed anew, and is being undone", program: armsProgram, what: "expiry", log: "restored",
			arrange: func(s scriptedSwitch) {
				s.put("journal.jsonl", s.entry("begin")+s.entry("armed"))
				s.put("waiting", s.entry("waiting")+s.entry("undoing"))
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScriptedSwitch(t, tt.program)
			if tt.arrange != nil {
				tt.arrange(s)
			}
			if log, code := s.run(tt.what); log != tt.log || code != 0 {
				t.Errorf("exit code %d, and %q", code, log)
			}
		})
	}
}

func TestSwitchScriptKeepsAtItWhenRestoringFails(t *testing.T) {
	s := newScriptedSwitch(t, badProgram)
	s.put("restore.sh", "exit 1\n")
	if log, code := s.run("expiry"); code == 0 {
		t.Errorf("exit code %d, and %q", code, log)
	}
}

func TestSwitchScriptDrill(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		arrange func(s scriptedSwitch)
		want    string
	}{
		"the program runs":        {goodProgram, func(scriptedSwitch) {}, "kubectl-harden\n"},
		"it may not be executed":  {goodProgram, func(s scriptedSwitch) { _ = os.Chmod(filepath.Join(s.dir, switchProgram), 0o600) }, "restore.sh\n"},
		"it cannot read anything": {badProgram, func(scriptedSwitch) {}, "restore.sh\n"},
		"nothing runs":            {badProgram, func(s scriptedSwitch) { s.put("restore.sh", "if\n") }, "nothing\n"},
	} {
		s := newScriptedSwitch(t, tt.program)
		tt.arrange(s)
		_, code := s.run("drill")
		got, err := os.ReadFile(filepath.Join(s.dir, switchDrilled))
		if err != nil || code != 0 || !strings.HasPrefix(string(got), tt.want) {
			t.Errorf("%s: exit code %d, %v, %q", name, code, err, got)
		}
	}
}

// holdLock starts a process that holds the lock as long as it lives, and that the lock names, or not for certain.
func (s scriptedSwitch) holdLock(certain bool) (holder *exec.Cmd, ended chan error) {
	s.t.Helper()
	lock, err := os.OpenFile(s.lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		s.t.Fatal(err)
	}
	holder = exec.Command("/bin/sleep", "3600")
	holder.ExtraFiles = []*os.File{lock}
	if err := holder.Start(); err != nil {
		s.t.Fatal(err)
	}
	start, err := host.ProcessTicks("/proc", holder.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if !certain {
		start++
	}
	fmt.Fprintf(lock, `{"pid":%d,"start":%d,"who":"a \"pid\":1 of root","since":"2026-11-23T09:00:00Z"}`+"\n", holder.Process.Pid, start)
	ended = make(chan error, 1)
	go func() { ended <- holder.Wait() }()
	s.t.Cleanup(func() { _ = holder.Process.Kill() })
	return holder, ended
}

// TestSwitchScriptEndsWhoHoldsTheLock: a holder that hangs is ended if the lock names it for certain, and no other process is.
func TestSwitchScriptEndsWhoHoldsTheLock(t *testing.T) {
	for _, certain := range []bool{true, false} {
		s := newScriptedSwitch(t, badProgram)
		holder, ended := s.holdLock(certain)
		log, code := s.run("expiry")
		if certain {
			<-ended
			if log != "restored" || code != 0 {
				t.Errorf("exit code %d, and %q", code, log)
			}
			continue
		}
		if code == 0 || log != "" {
			t.Errorf("a lock of somebody else: exit code %d, and %q", code, log)
		}
		_ = holder.Process.Kill()
		<-ended
	}
}

// A holder that had begun to undo and hung kept the switch from ever acting where only the script runs. It has 10 minutes from its
// last word in the journal, however long its undo takes.
func TestSwitchScriptWaitedForEverForAnUndoThatHung(t *testing.T) {
	s := newScriptedSwitch(t, badProgram)
	s.put("journal.jsonl", s.entry("begin")+s.entry("undoing"))
	s.put("word", s.entry("revert"))
	_, ended := s.holdLock(true)
	// Its last word comes shortly before its time is over.
	s.sleep = fmt.Sprintf(`cd '%s' && echo >>slept && if [ "$(wc -l <slept)" -eq 50 ]; then cat word >>journal.jsonl; fi`, strings.ReplaceAll(s.dir, "'", `'\''`))
	log, code := s.run("expiry")
	if log != "restored" || code != 0 {
		t.Fatalf("exit code %d, and %q", code, log)
	}
	<-ended
	if slept, err := os.ReadFile(filepath.Join(s.dir, "slept")); err != nil || len(slept) < 110 || len(slept) > 112 {
		t.Errorf("it was waited for %d seconds, %v", len(slept), err)
	}
}
