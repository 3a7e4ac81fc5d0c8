package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

// errand is what an applier of its own is to do: the exact plan that was shown, or a transaction to settle.
type errand struct {
	Plan    *harden.Plan  `json:"plan,omitempty"`
	Abandon *harden.Plan  `json:"abandon,omitempty"` // the undo of a transaction that waits, as it was shown
	Recover string        `json:"recover,omitempty"`
	Finish  bool          `json:"finish,omitempty"`
	Soak    time.Duration `json:"soak"`
	Meta    backups.Meta  `json:"meta"` // who asked, which the applier cannot see any more
	From    runner        `json:"from"` // the process that asked, and follows
}

// kinds counts what it asks for.
func (e errand) kinds() (n int) {
	for _, asked := range []bool{e.Plan != nil, e.Abandon != nil, e.Recover != ""} {
		if asked {
			n++
		}
	}
	return n
}

// settles is the transaction that it is to end; "" where it begins one.
func (e errand) settles() string {
	if e.Abandon != nil {
		return e.Abandon.Undoes
	}
	return e.Recover
}

// runner is a process that cannot be mistaken for a later one of its number.
type runner struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

func thisRunner() (runner, error) {
	start, err := host.ProcessTicks("/proc", os.Getpid())
	return runner{os.Getpid(), start}, err
}

// runs says whether the process is still there.
func (r runner) runs() bool { return host.Signal("/proc", r.PID, r.Start, syscall.Signal(0)) == nil }

// desk is a directory in which an errand is handed over, and its result handed back. It is in memory, and root's alone.
type desk string

// defaultDesks is where they are made.
const defaultDesks = "/run/kubectl-harden"

// What lies on a desk.
const (
	deskErrand      = "errand.json"
	deskTaken       = "taken.json" // the errand, once it is somebody's
	deskRunner      = "applier.json"
	deskTransaction = "transaction"
	deskResult      = "result.json"
	deskStop        = "stop" // it is to undo at the next safe point
)

func (d desk) at(name string) string { return filepath.Join(string(d), name) }

// makeDesk makes a new one. Nobody else may have prepared the directory above it.
func makeDesk(above, name string) (desk, error) {
	if err := os.Mkdir(above, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("making %s: %w", above, cause(err))
	}
	info, err := os.Lstat(above)
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", above, cause(err))
	}
	if !info.IsDir() || !mine(info) || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("looking at %s: it is not a directory of ours alone", above)
	}
	d := desk(filepath.Join(above, name))
	if err := os.Mkdir(string(d), 0o700); err != nil {
		return "", fmt.Errorf("making %s: %w", d, cause(err))
	}
	return d, nil
}

// put lays something on the desk, in one piece.
func (d desk) put(name string, v any) (digest string, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	if err := writeNew(d.at("."+name), data, 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(d.at("."+name), d.at(name)); err != nil {
		return "", fmt.Errorf("writing %s: %w", d.at(name), cause(err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// get reads what lies there. What is not there yet wraps os.ErrNotExist.
func (d desk) get(name string, into any) (digest string, err error) {
	data, err := os.ReadFile(d.at(name))
	if err != nil {
		return "", err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return "", fmt.Errorf("reading %s: %w", d.at(name), err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// clear removes the desk, and the directory above it if it was the last one.
func (d desk) clear() {
	_ = os.RemoveAll(string(d))
	_ = os.Remove(filepath.Dir(string(d)))
}

// clearDesks removes those that nobody uses any more: who asked and who did it were killed. Without a directory above there are none.
func clearDesks(above string) error {
	if above == "" {
		return nil
	}
	names, err := os.ReadDir(above)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", above, cause(err))
	}
	for _, n := range names {
		if d := desk(filepath.Join(above, n.Name())); !d.used() {
			d.clear()
		}
	}
	return nil
}

// freshDesk is how long one may be empty: who makes it is about to lay something there.
const freshDesk = time.Minute

// used says that an applier, or who asked for it, is still at it.
func (d desk) used() bool {
	var e errand
	var applier runner
	_, errE := d.get(deskErrand, &e)
	_, errA := d.get(deskRunner, &applier)
	if errors.Is(errE, os.ErrNotExist) && errors.Is(errA, os.ErrNotExist) {
		info, err := os.Stat(string(d))
		return err == nil && time.Since(info.ModTime()) < freshDesk
	}
	return errE == nil && e.From.runs() || errA == nil && applier.runs()
}

// take takes the errand, for whoever comes first: the applier that does it, or who asked and wants it back. For the other one
// it wraps os.ErrNotExist.
func (d desk) take() error { return os.Rename(d.at(deskErrand), d.at(deskTaken)) }

// takeErrand takes an errand off its desk: it must be what was laid there.
func takeErrand(d desk, digest string) (errand, error) {
	var e errand
	err := d.take()
	if err != nil {
		return e, fmt.Errorf("taking the errand: %w", cause(err))
	}
	got, err := d.get(deskTaken, &e)
	switch {
	case err != nil:
		return e, fmt.Errorf("taking the errand: %w", err)
	case got != digest:
		return e, errors.New("taking the errand: it is not what was handed over")
	case e.kinds() != 1:
		return e, errors.New("taking the errand: it is neither a plan nor a transaction")
	}
	// Its plan may hold secrets.
	return e, os.Remove(d.at(deskTaken))
}

// transaction is the one that the applier has begun; "" before that.
func (d desk) transaction() string {
	data, err := os.ReadFile(d.at(deskTransaction))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
