package apply

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	// SnapshotFile is beside the journal, so that it goes with its transaction.
	SnapshotFile = "etcd-snapshot.db"
	// snapshotGrowth is how much etcd may grow until it is saved.
	snapshotGrowth = 64 << 20
)

// savedEntry is the journal of a snapshot that is complete.
type savedEntry struct {
	File string `json:"file"`
}

// SnapshotError is a snapshot of etcd that could not be taken; nothing was restarted yet.
type SnapshotError struct {
	Err   error
	Hints []string
}

func (e *SnapshotError) Error() string { return "saving a snapshot of etcd: " + oneLine(e.Err) }

// Unwrap is what stood in its way.
func (e *SnapshotError) Unwrap() error { return e.Err }

// noRoomError is a file system that is too full for a snapshot.
type noRoomError struct {
	dir        string
	free, need uint64
}

func (e *noRoomError) Error() string {
	return fmt.Sprintf("%s: %d bytes are free, and a snapshot of etcd needs %d", e.dir, e.free, e.need)
}

// savable says why a stage's snapshot could not be taken now. Where etcd's certificate has ended, that it does not answer stops nothing.
func (a *Applier) savable(ctx context.Context, p harden.Plan, st harden.Stage) error {
	err := a.roomForSnapshot(ctx)
	full := errors.As(err, new(*noRoomError))
	if err != nil && !full && p.Mends(a.Clock.Now()) && restartsEtcd(st) {
		return nil
	}
	return err
}

func restartsEtcd(st harden.Stage) bool { _, ok := st.Effect(harden.Etcd); return ok }

func (a *Applier) roomForSnapshot(ctx context.Context) error {
	if a.Storage == nil {
		return errNoStorage
	}
	size, err := a.Storage.Size(ctx)
	if err != nil {
		return err
	}
	free, err := a.Files.FreeBytes(a.StateDir)
	if err != nil {
		return err
	}
	if need := size + snapshotGrowth + journalRoom; free < need {
		return &noRoomError{a.StateDir, free, need}
	}
	return nil
}

// snapshotHints say what to look at: at etcd where it gives none, else at the room for it, which older ones may take up.
func (a *Applier) snapshotHints(err error) []string {
	if errors.As(err, new(*noRoomError)) || outOfRoom(err) {
		return a.roomHints(a.StateDir)
	}
	return []string{"crictl ps -a --name etcd"}
}

// saveEtcd takes the snapshot that a stage wants, before the dead man's switch is armed: a large one must not use up its time.
func (r *run) saveEtcd(ctx context.Context, st harden.Stage) error {
	if !wantsSnapshot(st) || !r.live() || r.saved {
		return nil
	}
	if err := r.stopped(ctx); err != nil {
		return err
	}
	file := r.snapshotFile()
	r.tell(harden.Event{Kind: harden.EventAwaiting, Message: harden.Msg("a snapshot of etcd in %s", file)})
	err := r.roomForSnapshot(ctx)
	if err == nil {
		err = r.Storage.Snapshot(ctx, file)
	}
	switch {
	case err == nil:
	case interrupted(ctx) != nil:
		return errInterrupted
	case r.mends && restartsEtcd(st):
		r.unproven(harden.Etcd, harden.Msg("no snapshot of etcd could be taken before its certificates are renewed: %s", oneLine(err)))
		return nil
	default:
		return &SnapshotError{Err: err, Hints: r.snapshotHints(err)}
	}
	if err := r.tx.Log(kindSaved, savedEntry{file}); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.saved = true
	r.tell(harden.Event{Kind: harden.EventPassed, Message: r.savedWords(ctx, file)})
	return nil
}

func wantsSnapshot(st harden.Stage) bool {
	return slices.ContainsFunc(st.Effects, func(e harden.Effect) bool { return e.Kind == harden.EffectSnapshot })
}

func (r *run) snapshotFile() string { return path.Join(path.Dir(r.tx.Script()), SnapshotFile) }

// savedWords say where a snapshot is and what to mind of it, by what etcd holds at that time.
func (r *run) savedWords(ctx context.Context, file string) harden.Message {
	all, plain, err := r.count(ctx, harden.Stored{Resources: []string{"secrets"}, Begins: harden.Encrypted})
	switch {
	case err != nil:
		return harden.Msg("a snapshot of etcd is in %s; it may hold Secrets in plain text (%s), and goes with its transaction (history --prune)", file, oneLine(err))
	case plain > 0:
		return harden.Msg("a snapshot of etcd is in %s; it holds Secrets in plain text, and goes with its transaction (history --prune)", file)
	case all > 0:
		return harden.Msg("a snapshot of etcd is in %s; its Secrets are encrypted and can be read with their key only, and it goes with its transaction (history --prune)", file)
	}
	return harden.Msg("a snapshot of etcd is in %s; it holds no Secret, and goes with its transaction (history --prune)", file)
}

// dropHalf removes what a snapshot that was never complete has left: nobody was told of it, and Secrets may lie in it.
func (r *run) dropHalf() {
	if r.saved || r.Storage == nil || !r.live() || !slices.ContainsFunc(r.plan.Stages, wantsSnapshot) {
		return
	}
	file := r.snapshotFile()
	if err := r.Storage.Discard(file); err != nil {
		r.tell(harden.Event{Kind: harden.EventKept, Target: file, Message: harden.Msg("%s and what begins with its name may hold a part of etcd, with Secrets: %s", file, oneLine(err))})
	}
}
