//go:build !linux

package redirect

import (
	"context"
	"errors"
	"time"
)

var errNotHere = errors.New("nodes are Linux machines")

// ObstacleError says why connections would not arrive.
type ObstacleError struct{ Why string }

func (e *ObstacleError) Error() string { return e.Why }

// Try fails: nodes are Linux machines.
func Try(context.Context, Redirect) error { return errNotHere }

// Left fails: nodes are Linux machines.
func Left(string) (bool, error) { return false, errNotHere }

// Fence is the process that holds the table. There is none here.
type Fence struct {
	Socket           string
	Silence, Longest time.Duration
	Ready, Alive     func()
}

// Serve fails: nodes are Linux machines.
func (f Fence) Serve() error { return errNotHere }
