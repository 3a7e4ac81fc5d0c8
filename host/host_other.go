//go:build !linux

package host

import (
	"context"
	"errors"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
)

// DefaultMaxFile is the largest file that a new Root reads.
const DefaultMaxFile = 16 << 20

// Root is a node's file system. There is none here: [OpenRoot] always fails.
type Root struct {
	tree
	MaxFile int64
	Proc    string
}

type tree interface {
	backups.FS
	Close() error
	Read(path string) ([]byte, error)
	Tail(path string, max int64) (data []byte, whole bool, err error)
	Resolve(path string) (string, error)
	ReadLink(path string) (string, error)
	State(path string) (backups.State, error)
	Follow(path string) (backups.State, error)
	List(path string) ([]string, error)
	Entry(path string) (Entry, error)
	Entries(path string) ([]Entry, error)
	Glob(pattern string) ([]string, error)
	FreeBytes(path string) (uint64, error)
	UsedPercent(path string) (int, error)
	ReadOnlyFS(path string) (bool, error)
	CheckReplace(path string) error
	CheckAttributes(path string) error
	Clear(path string) error
}

// OpenRoot fails: nodes are Linux machines.
func OpenRoot(string) (*Root, error) {
	return nil, errors.New("a node's files are looked at and changed only on Linux; run kubectl-harden on the node itself")
}

var errNotHere = errors.New("there are no processes of a node here")

// BootClock fails: nodes are Linux machines.
func (r *Root) BootClock() (string, time.Duration, error) { return "", 0, errNotHere }

// StartApart fails: nodes are Linux machines.
func StartApart([]string) error { return errNotHere }

func runDetached(context.Context, []string) error { return errNotHere }

func detach([]string) (int, error) { return 0, errNotHere }

// ProcessTicks fails: nodes are Linux machines.
func ProcessTicks(string, int) (uint64, error) { return 0, errNotHere }

// EndSession fails: nodes are Linux machines.
func EndSession(string, int, uint64) error { return errNotHere }

// Signal fails: nodes are Linux machines.
func Signal(string, int, uint64, syscall.Signal) error { return errNotHere }

// Freeze is for Linux.
func Freeze(string, int, uint64) error { return errNotHere }

// Thaw is for Linux.
func Thaw(string, int, uint64) error { return errNotHere }

// InputHooks fails: there is no Linux kernel to ask.
func (r *Root) InputHooks() ([]Hook, []string, error) { return nil, nil, ErrOffline }

// InHostNetwork fails: nodes are Linux machines.
func (r *Root) InHostNetwork() error { return errNotHere }

// RenewCertificates fails: nodes are Linux machines.
func (r *Root) RenewCertificates(context.Context, []string) (map[string][]byte, string, error) {
	return nil, "", errNotHere
}

// Present fails: nodes are Linux machines.
func (r *Root) Present(string) error     { return errNotHere }
func (r *Root) TidyPresent(string) error { return errNotHere }
