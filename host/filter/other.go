//go:build !linux

package filter

import (
	"context"
	"errors"
)

var errNotHere = errors.New("nodes are Linux machines")

// Table is a table of nftables. There is none here.
type Table map[string]string

// Try fails: nodes are Linux machines.
func Try(context.Context, string, []byte, string) (Table, error) { return nil, errNotHere }

// Read fails: nodes are Linux machines.
func Read(string) (Table, error) { return nil, errNotHere }

// Differs says nothing: there are no tables here.
func Differs(string, Table, Table) string { return "" }

// Drop fails: nodes are Linux machines.
func Drop(string) error { return errNotHere }
