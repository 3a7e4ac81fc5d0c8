package backups_test

import (
	"errors"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

const (
	older = "{\"waivers\": []}\n"
	newer = "{\"waivers\": [{}]}\n"
)

func save(s *backups.Store, text string) (err error) {
	x, err := s.Lock(holder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Unlock()) }()
	return x.SaveDocument("waivers", []byte(text))
}

func TestADocumentIsTheOldOneOrTheNewOne(t *testing.T) {
	fresh := func() backups.FS {
		d := inMemory.disk(t)
		if err := save(open(d), older); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := inMemory.disk(t)
	if err := save(open(d), older); err != nil {
		t.Fatal(err)
	}
	ops := watched(t, d, func(s *backups.Store) error { return save(s, newer) })
	struck := 0
	for _, err := range faults {
		for _, op := range ops {
			f := fault{err: err, n: op.N}
			if !f.concerns(op) {
				continue
			}
			var hit, healed bool
			d := fresh()
			failed := save(open(f.on(d, &hit, &healed)), newer)
			got, err := open(d).Document("waivers")
			if err != nil || string(got) != older && string(got) != newer || failed == nil && string(got) != newer {
				t.Errorf("%v: %v; then %q, %v", f, failed, got, err)
			}
			if info, err := d.Stat(stateDir + "/waivers"); err != nil || info.Mode != 0o600 {
				t.Errorf("%v: %+v, %v", f, info, err)
			}
			if err := save(open(d), newer); err != nil {
				t.Errorf("%v: saving again: %v", f, err)
			}
			struck++
		}
	}
	if struck < 20 {
		t.Errorf("only %d faults struck", struck)
	}
}

func TestDocumentsHaveNames(t *testing.T) {
	s := open(inMemory.disk(t))
	if got, err := s.Document("waivers"); got != nil || err != nil {
		t.Errorf("one that is not there: %q %v", got, err)
	}
	for _, name := range []string{"", "../etc/passwd", ".hidden", "a/b"} {
		if _, err := s.Document(name); err == nil {
			t.Errorf("%q is read", name)
		}
		x, err := s.Lock(holder)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.SaveDocument(name, nil); err == nil {
			t.Errorf("%q is saved", name)
		}
		if err := x.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestASavedDocumentSurvivesALossOfPower(t *testing.T) {
	d := inMemory.disk(t)
	if err := save(open(d), older); err != nil {
		t.Fatal(err)
	}
	d.Settle()
	var points []*backupstest.Disk
	w := &backupstest.Watch{FS: d, After: func(backupstest.Op) { points = append(points, d.Clone()) }}
	if err := save(open(w), newer); err != nil {
		t.Fatal(err)
	}
	states := 0
	for i, p := range append(points, d) {
		all, _ := p.Losses(200)
		for lost := range all {
			states++
			got, err := open(lost).Document("waivers")
			if err != nil || string(got) != newer && (i == len(points) || string(got) != older) {
				t.Errorf("power lost at point %d: %q, %v", i, got, err)
			}
		}
	}
	if states < len(points) {
		t.Errorf("only %d states", states)
	}
}
