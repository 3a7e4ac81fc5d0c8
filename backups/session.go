package backups

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Holder is who holds the lock.
type Holder struct {
	PID     int       `json:"pid"`
	Start   uint64    `json:"start,omitempty"` // of the process, in clock ticks since boot: with PID it names this one only
	Who     string    `json:"who,omitempty"`
	Command string    `json:"command,omitempty"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	s := fmt.Sprintf("pid %d", h.PID)
	if h.Command != "" {
		s += fmt.Sprintf(", %q", h.Command)
	}
	if h.Who != "" {
		s += fmt.Sprintf(", started by %q", h.Who)
	}
	return s + ", since " + h.Since.Format(time.RFC3339)
}

// Session is the right to change the store, until Unlock.
type Session struct {
	s      *Store
	unlock func() error

	mu   sync.Mutex
	done bool
	txs  []*Tx
}

// Lock takes the lock, or answers with a LockedError. It also clears what killed runs left half made.
func (s *Store) Lock(h Holder) (*Session, error) {
	dir := path.Dir(s.o.LockPath)
	if err := ensureDir(s.fs, dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := s.checkDir(dir); err != nil {
		return nil, err
	}
	content, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	left, err := s.fs.ReadFile(s.o.LockPath)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	unlock, held, err := s.fs.Lock(s.o.LockPath, append(content, '\n'))
	if errors.Is(err, ErrLocked) {
		return nil, &LockedError{Path: s.o.LockPath, Holder: holderOf(held)}
	}
	if err != nil {
		return nil, err
	}
	x := &Session{s: s, unlock: unlock}
	if len(left) > 0 {
		// The last holder was killed. What it wrote last can be seen but need not be durable: nothing may build on it yet.
		if err := x.anchor(); err != nil {
			return nil, errors.Join(err, unlock())
		}
	}
	// What cannot be cleared now is in nobody's way; a failing disk shows itself in Begin.
	_ = x.clear()
	return x, nil
}

// anchor makes every journal durable as it is.
func (x *Session) anchor() error {
	ids, err := x.s.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		f, err := x.s.fs.Append(journalPath(x.s.dir(id)))
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// holderOf is the zero value when the holder has not written itself down, or not readably.
func holderOf(content []byte) Holder {
	var h Holder
	if json.Unmarshal(content, &h) != nil {
		return Holder{}
	}
	return h
}

// Holder answers who holds the lock. A lock file left by a killed process is told from a held one by trying it, and its name
// stays there: by that the next Lock knows that the process was killed.
func (s *Store) Holder() (Holder, bool, error) {
	content, err := s.fs.ReadFile(s.o.LockPath)
	if isMissing(err) || err == nil && len(content) == 0 {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	unlock, held, err := s.fs.Lock(s.o.LockPath, nil)
	if errors.Is(err, ErrLocked) {
		return holderOf(held), true, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	return Holder{}, false, unlock()
}

// Unlock gives the lock back. Transactions that are still open stay as they are on disk: interrupted.
func (x *Session) Unlock() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return ErrUnlocked
	}
	x.done = true
	for _, t := range x.txs {
		t.release()
	}
	return x.unlock()
}

func (x *Session) held() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return ErrUnlocked
	}
	return nil
}

func (x *Session) keep(t *Tx) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.txs = append(x.txs, t)
}

// Prune removes all but the newest keep transactions, as far as they may go, and returns the ids of those that it removed. What has
// no outcome, or a mixed one, or cannot be read, always stays.
func (x *Session) Prune(keep int, mayGo func(id string) bool) ([]string, error) {
	if err := x.held(); err != nil {
		return nil, err
	}
	if err := x.clear(); err != nil {
		return nil, err
	}
	list, err := x.s.List()
	if err != nil || len(list) <= keep {
		return nil, err
	}
	var pruned []string
	for _, sum := range slices.Backward(list[max(keep, 0):]) {
		if sum.Outcome == "" || sum.Outcome == Mixed || sum.Damage != nil || !mayGo(sum.ID) {
			continue
		}
		if err := x.discard(sum.ID); err != nil {
			return pruned, fmt.Errorf("pruning %s: %w", sum.ID, err)
		}
		pruned = append(pruned, sum.ID)
	}
	return pruned, nil
}

const (
	halfMade = ".new-"
	halfGone = ".old-"
)

// discard removes a transaction: it is gone with the rename, whatever happens after.
func (x *Session) discard(id string) error {
	gone := path.Join(x.s.transactions(), halfGone+id)
	if err := x.s.fs.Rename(x.s.dir(id), gone); err != nil {
		return err
	}
	if err := x.s.fs.SyncDir(x.s.transactions()); err != nil {
		return err
	}
	return removeTree(x.s.fs, gone)
}

// clear removes what is half made or half removed.
func (x *Session) clear() error {
	exist, err := x.s.check()
	if err != nil || !exist {
		return err
	}
	names, err := x.s.fs.ReadDir(x.s.transactions())
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, halfMade) && !strings.HasPrefix(name, halfGone) {
			continue
		}
		if err := removeTree(x.s.fs, path.Join(x.s.transactions(), name)); err != nil {
			return err
		}
	}
	return nil
}
