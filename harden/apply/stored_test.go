package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// vault is what the API server keeps in etcd: by name, how each Secret's value begins. It is also who writes it anew.
type vault struct {
	w      *world
	values map[string]string
	now    harden.EncryptionConfig // that the running API server has read; the zero one: none
	ticks  int
	lost   string // a Secret that could not be read at some moment

	saved   []string
	size    uint64
	fails   error // of asking etcd
	full    error // of saving it
	down    error // of asking the API for Secrets
	stuck   string
	rewrote int
	each    func() // called before a Secret is written anew
	saves   func() // called when etcd is saved
}

const (
	plainly   = "k8s\x00\n\f"
	encrypted = "k8s:enc:secretbox:v1:key1:"
)

func (w *world) withVault() *vault {
	v := &vault{w: w, values: map[string]string{}}
	for i := range 5 {
		v.values[fmt.Sprint("shop/s", i)] = plainly
	}
	w.vault = v
	w.node.starts = v.starts
	tick := w.clock.tick
	w.clock.tick = func() { tick(); v.tick() }
	return v
}

// starts is a new API server, which reads its configuration once.
func (v *vault) starts(id harden.ComponentID, text string) {
	if id != harden.APIServer {
		return
	}
	v.now = harden.EncryptionConfig{}
	if strings.Contains(text, "--encryption-provider-config") {
		v.now, _ = harden.ParseEncryption([]byte(v.w.node.text(harden.EncryptionFile)))
	}
}

func (v *vault) writes() string {
	if len(v.now.Keys) == 0 || v.now.Writes() == "" {
		return plainly
	}
	return v.now.Writes()
}

func (v *vault) up() bool {
	p := v.w.node.pods[harden.APIServer]
	return p.running != nil
}

// tick looks whether every Secret can be read, and lets somebody make one now and then.
func (v *vault) tick() {
	if !v.up() {
		return
	}
	if v.ticks++; v.ticks%17 == 0 {
		v.values[fmt.Sprint("shop/new", v.ticks)] = v.writes()
	}
	for name, begins := range v.values {
		if strings.HasPrefix(begins, harden.Encrypted) && !slices.ContainsFunc(v.now.Keys, func(k harden.EncryptionKey) bool { return strings.Contains(begins, ":"+k.Name+":") }) {
			v.lost = name
		}
	}
}

func (v *vault) Size(context.Context) (uint64, error) { return v.size, v.fails }

func (v *vault) Snapshot(_ context.Context, file string) error {
	v.saved = append(v.saved, file)
	if v.saves != nil {
		v.saves()
	}
	return v.full
}

func (v *vault) Discard(string) error { return nil }

func (v *vault) Beginnings(_ context.Context, _ string, see func(string)) error {
	for _, begins := range v.values {
		see(begins)
	}
	return v.fails
}

func (v *vault) Names(context.Context, string) ([]string, error) {
	if v.down != nil || !v.up() {
		return nil, errors.Join(v.down, errNoAnswer)
	}
	return slices.Sorted(maps.Keys(v.values)), nil
}

func (v *vault) Rewrite(_ context.Context, _, name string) error {
	if v.each != nil {
		v.each()
	}
	if v.down != nil {
		return v.down
	}
	if v.rewrote++; name != v.stuck {
		v.values[name] = v.writes()
	}
	return nil
}

// all says that every Secret begins so, and that each could be read all the time.
func (v *vault) all(t testing.TB, begins string) {
	t.Helper()
	for name, is := range v.values {
		if is != begins {
			t.Errorf("%s begins with %q, not with %q", name, is, begins)
		}
	}
	if v.lost != "" {
		t.Errorf("%s could not be read at some moment", v.lost)
	}
}

// storedPlan is a plan whose component cannot be rehearsed, which is accepted.
func (w *world) storedPlan(control string) harden.Plan {
	w.t.Helper()
	return w.plan(control).Accept(harden.APIServer)
}

// prepared is a node whose API server can read with the key and writes plain text.
func prepared(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.withVault()
	if res := w.apply(w.storedPlan("key")); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	w.vault.all(t, plainly)
	w.before, w.events = w.snapshot(), nil
	return w
}

func TestEncryptAndBack(t *testing.T) {
	w := newWorld(t)
	w.withVault()
	clean := w.before
	first := w.apply(w.storedPlan("key"))
	w.before = w.snapshot()
	second := w.apply(w.storedPlan("encrypt"))
	if second.Outcome != harden.OutcomeApplied {
		t.Fatal(second.Message)
	}
	w.vault.all(t, encrypted)
	if len(w.vault.saved) != 1 || !strings.HasSuffix(w.vault.saved[0], "/etcd-snapshot.db") {
		t.Errorf("etcd was saved in %q", w.vault.saved)
	}
	for _, e := range w.events {
		if strings.Contains(e.Message.String(), "AAAAAAAAAAAAAAAA") {
			t.Errorf("the key is told: %s", e.Message)
		}
	}
	// What restore.sh of the first one would take away is needed.
	script := w.node.text(first.Script)
	if !strings.Contains(script, `KEYS=unneeded`) || strings.Index(script, "KEYS") > strings.Index(script, "restored\"") {
		t.Error("its restore.sh takes the key away without a question")
	}
	if script := w.node.text(second.Script); strings.Contains(script, "KEYS") || !strings.Contains(script, "replace -f -") {
		t.Error("the second restore.sh does not say what files do not bring back")
	}
	back := w.undo(second.Transaction, "")
	if res := w.apply(back); res.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Fatal(res.Message, w.changes())
	}
	w.vault.all(t, plainly)
	if len(w.vault.saved) != 1 {
		t.Errorf("an undo saves etcd: %q", w.vault.saved)
	}
	// A Secret that is still encrypted keeps the key.
	undo := w.undo(first.Transaction, "")
	w.vault.values["shop/s1"] = encrypted
	if res := w.apply(undo); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "none of the secrets in etcd is encrypted: 1 are not so") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.vault.values["shop/s1"] = plainly
	w.before = clean
	if res := w.apply(undo); res.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	w.vault.all(t, plainly)
}

func TestEncryptionFails(t *testing.T) {
	for _, row := range []struct {
		name    string
		arrange func(v *vault, stop func())
		outcome harden.Outcome
		says    string
	}{
		{name: "etcd cannot be asked", outcome: harden.OutcomeRefused, says: "no quorum", arrange: func(v *vault, _ func()) { v.fails = errors.New("no quorum") }},
		{name: "a Secret cannot be read", outcome: harden.OutcomeRefused, says: "reading all secrets: no key", arrange: func(v *vault, _ func()) { v.down = errors.New("no key") }},
		{name: "no room for the snapshot", outcome: harden.OutcomeRefused, says: "a snapshot of etcd needs", arrange: func(v *vault, _ func()) { v.size = 1 << 30 }},
		{name: "another control plane has no key", outcome: harden.OutcomeRefused, says: "cp2 encrypts with another configuration", arrange: func(v *vault, _ func()) {
			v.w.members.nodes = []string{"cp1", "cp2"}
		}},
		{name: "another control plane does not tell", outcome: harden.OutcomeRefused, says: "what the other control planes encrypt with is not known: cp2: no answer", arrange: func(v *vault, _ func()) {
			v.w.members.nodes = []string{"cp1", "cp2"}
			v.w.members.keys = func(string) (string, error) { return "", errors.New("no answer") }
		}},
		{name: "the plan knows of no other control plane", outcome: harden.OutcomeRefused, says: "cp2 would have to follow, and the plan says none", arrange: func(v *vault, _ func()) {
			v.w.members.nodes = []string{"cp1", "cp2"}
			here, err := v.w.State(harden.EncryptionFile)
			must(v.w.t, err)
			v.w.members.keys = func(string) (string, error) { return here.Digest(), nil }
		}},
		{name: "nobody knows how to ask", outcome: harden.OutcomeRefused, says: "how etcd can be asked is not known", arrange: func(v *vault, _ func()) { v.w.vault, v.w.etcdDB = nil, nil }},
		{name: "the snapshot fails", outcome: harden.OutcomeRefused, says: "saving a snapshot of etcd: disk", arrange: func(v *vault, _ func()) {
			v.full = errors.New("disk")
		}},
		{name: "the API server does not start", outcome: harden.OutcomeRolledBack, says: "gate of kube-apiserver", arrange: func(v *vault, _ func()) {
			v.w.node.dies = func(id harden.ComponentID, _ string) bool { return id == harden.APIServer && v.now.Writes() != "" }
		}},
		{name: "interrupted while Secrets are written", outcome: harden.OutcomeRolledBack, says: "interrupted", arrange: func(v *vault, stop func()) {
			v.each = func() {
				if v.rewrote == 3 {
					stop()
				}
			}
		}},
		{name: "one stays in plain text", outcome: harden.OutcomeRolledBack, says: "of 1", arrange: func(v *vault, _ func()) { v.stuck = "shop/s2" }},
		{name: "the API goes away for a moment", outcome: harden.OutcomeApplied, arrange: func(v *vault, _ func()) {
			v.each = func() {
				if v.rewrote == 2 {
					v.down, v.each = errors.New("away"), nil
					v.w.clock.in(20*time.Second, func() { v.down = nil })
				}
			}
		}},
		{name: "the API goes away for good", outcome: harden.OutcomeOwed, says: "secrets in etcd: reading all secrets", arrange: func(v *vault, _ func()) {
			v.each = func() {
				if v.rewrote == 2 {
					v.down = errors.New("away")
				}
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := prepared(t)
			v, p := w.vault, w.storedPlan("encrypt")
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			row.arrange(v, stop)
			res := w.applyUntil(ctx, p)
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.says) {
				t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, row.outcome, row.says)
			}
			if res.Outcome == harden.OutcomeOwed {
				v.down, v.each = nil, nil
				if res = w.recover(res.Transaction, true); res.Outcome != harden.OutcomeUnsettled {
					t.Errorf("what is being undone is finished: %s", res.Message)
				}
				if res = w.recover(res.Transaction, false); res.Outcome != harden.OutcomeRolledBack {
					t.Errorf("%s: %s", res.Outcome, res.Message)
				}
			}
			if res.Outcome == harden.OutcomeApplied {
				v.all(t, encrypted)
				return
			}
			v.all(t, plainly)
			if left := w.changes(); len(left) > 0 {
				t.Errorf("otherwise than before: %q", left)
			}
		})
	}
}

// TestRebootedWithTheKey: the key file was written and the manifest was not, and the machine has restarted. The API server writes with
// the key then, whatever its manifest says.
func TestRebootedWithTheKey(t *testing.T) {
	for _, finish := range []bool{false, true} {
		w := prepared(t)
		w.node.backOff = true // old instances can be ended
		id := w.killApply(w.storedPlan("encrypt"), func() { w.die("Rename", harden.EncryptionFile, 1) })
		w.reboot()
		must(t, w.clock.Sleep(context.Background(), time.Minute))
		if w.vault.writes() != encrypted {
			t.Fatal("it does not write with the key")
		}
		want, begins := harden.OutcomeRolledBack, plainly
		if finish {
			want, begins = harden.OutcomeApplied, encrypted
		}
		if res := w.recover(id, finish); res.Outcome != want {
			t.Fatalf("%s: %s", res.Outcome, res.Message)
		}
		w.vault.all(t, begins)
		must(t, w.clock.Sleep(context.Background(), time.Minute))
		w.vault.all(t, begins)
	}
}
