package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Snapshot is everything that a root holds: content, mode, owner and extended attributes of every path.
type Snapshot map[string]harden.State

// Snapshot takes one, without what lies at or below the path except.
func (f *Files) Snapshot(except string) (Snapshot, error) {
	s := Snapshot{}
	if err := f.take(s, "/", except); err != nil {
		return nil, fmt.Errorf("reading the whole root: %w", err)
	}
	return s, nil
}

func (f *Files) take(s Snapshot, at, except string) error {
	if at == except {
		return nil
	}
	state, err := f.Exact(at)
	if err != nil {
		return err
	}
	s[at] = state
	if !state.Dir {
		return nil
	}
	names, err := f.ReadDir(at)
	for _, name := range names {
		if err := f.take(s, path.Join(at, name), except); err != nil {
			return err
		}
	}
	return err
}

// Count is how many files and directories there are.
func (s Snapshot) Count() (files, dirs int) {
	for _, state := range s {
		if state.Dir {
			dirs++
		} else {
			files++
		}
	}
	return files, dirs
}

// Digest is one for all of it.
func (s Snapshot) Digest() (string, error) {
	sum := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(s)) {
		line, err := json.Marshal([]any{p, s[p]}) // maps are sorted
		if err != nil {
			return "", err
		}
		sum.Write(line)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Differences are the paths at which another snapshot differs.
func (s Snapshot) Differences(o Snapshot) []string {
	var out []string
	for p, state := range s {
		if other, ok := o[p]; !ok || !state.Equal(other) {
			out = append(out, p)
		}
	}
	for p := range o {
		if _, ok := s[p]; !ok {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}
