package redirect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Fence is the process that holds the table.
type Fence struct {
	Socket  string
	Silence time.Duration
	Longest time.Duration
	// Ready is called once it can be told what to do, and Alive whenever it was told something.
	Ready, Alive func()
}

// Serve holds the table for one applier, until that says so, ends, or falls silent. The table is gone when it returns.
func (f Fence) Serve() (err error) {
	t, err := Open(Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	end := time.Now().Add(f.Longest)
	conn, err := f.accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		until := time.Now().Add(f.Silence)
		if until.After(end) {
			until = end
		}
		if err := conn.SetDeadline(until); err != nil {
			return err
		}
		var q request
		if err := in.Decode(&q); err != nil {
			return fmt.Errorf("listening to the applier: %w", err)
		}
		f.Alive()
		if q.Do == doEnd {
			err := t.Release()
			return errors.Join(err, out.Encode(answer{}))
		}
		if err := out.Encode(answer{words(do(t, q))}); err != nil {
			return fmt.Errorf("answering the applier: %w", err)
		}
	}
}

func do(t *Table, q request) error {
	switch {
	case q.Do == doBeat:
		return nil
	case q.Do == doLead && q.Redirect != nil:
		return t.Lead(*q.Redirect)
	case q.Do == doRelease:
		return t.Release()
	}
	return fmt.Errorf("it does not know how to %q", q.Do)
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// accept waits for the applier: root's process alone is let in.
func (f Fence) accept() (*net.UnixConn, error) {
	if err := os.Remove(f.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.Socket})
	unix.Umask(old)
	if err != nil {
		return nil, err
	}
	defer l.Close() // its name goes with it
	if err := l.SetDeadline(time.Now().Add(f.Silence)); err != nil {
		return nil, err
	}
	f.Ready()
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("waiting for the applier: %w", err)
	}
	return conn, nil
}
