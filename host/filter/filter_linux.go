// Package filter looks after one table of nftables that is ours: it tries rules where they reach nobody, compares the table in force
// with what rules make, and takes it away. It never touches another table.
package filter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/host/apart"
)

// Table is a table of the family inet as the kernel has it: its parts by name, each in a text of our own that is the same for the
// same rules. Counters and handles play no part. A nil Table is none.
type Table map[string]string

// Try loads rules with the program nft in a network of its own, which goes with this call, and gives the table of that name that
// they make there. Rules that are for another table too are an error.
func Try(ctx context.Context, nft string, rules []byte, name string) (Table, error) {
	var table Table
	err := apart.Do(func() (err error) {
		table, err = try(ctx, nft, rules, name)
		return err
	})
	return table, err
}

func try(ctx context.Context, nft string, rules []byte, name string) (Table, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("making a network to try rules in: %w", err)
	}
	here, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("making a network to try rules in: %w", err)
	}
	defer here.Close()
	// The program is started by this thread, and so in its network.
	cmd := exec.CommandContext(ctx, nft, "-f", "-")
	cmd.Stdin, cmd.Env = bytes.NewReader(rules), []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("trying the rules: %w", said(err, out))
	}
	conn, err := nftables.New(nftables.WithNetNSFd(int(here)), nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer conn.CloseLasting()
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	for _, t := range tables {
		if t.Name != name || t.Family != nftables.TableFamilyINet {
			return nil, fmt.Errorf("trying the rules: they make a table %q, which is not ours", t.Name)
		}
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("trying the rules: they make no table %q", name)
	}
	return read(conn, name)
}

// said is what a program complained of, in one line.
func said(err error, out []byte) error {
	if text := strings.Join(strings.Fields(string(out)), " "); text != "" {
		return errors.New(text)
	}
	return err
}

// Read gives the table of that name in this process's network; nil where there is none.
func Read(name string) (Table, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer conn.CloseLasting()
	return read(conn, name)
}

func read(conn *nftables.Conn, name string) (Table, error) {
	t, err := find(conn, name)
	if t == nil || err != nil {
		return nil, err
	}
	out := Table{}
	chains, err := conn.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, fmt.Errorf("listing chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != name {
			continue
		}
		text, err := chain(conn, t, c)
		if err != nil {
			return nil, err
		}
		out["chain "+c.Name] = text
	}
	sets, err := conn.GetSets(t)
	if err != nil {
		return nil, fmt.Errorf("listing sets: %w", err)
	}
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("listing set %s: %w", s.Name, err)
		}
		lines := []string{}
		for _, e := range elements {
			lines = append(lines, fmt.Sprintf("%x end=%t value=%x", e.Key, e.IntervalEnd, e.Val))
		}
		slices.Sort(lines)
		out["set "+s.Name] = fmt.Sprintf("%s interval=%t map=%t dynamic=%t\n%s", s.KeyType.Name, s.Interval, s.IsMap, s.Dynamic, strings.Join(lines, "\n"))
	}
	return out, nil
}

// find gives nil where there is no such table.
func find(conn *nftables.Conn, name string) (*nftables.Table, error) {
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, nil
}

func chain(conn *nftables.Conn, t *nftables.Table, c *nftables.Chain) (string, error) {
	text := "type=" + string(c.Type)
	if c.Hooknum != nil {
		text += fmt.Sprintf(" hook=%d", *c.Hooknum)
	}
	if c.Priority != nil {
		text += fmt.Sprintf(" priority=%d", *c.Priority)
	}
	if c.Policy != nil {
		text += fmt.Sprintf(" policy=%d", *c.Policy)
	}
	rules, err := conn.GetRules(t, c)
	if err != nil {
		return "", fmt.Errorf("listing chain %s: %w", c.Name, err)
	}
	for _, r := range rules {
		text += "\n"
		for _, e := range r.Exprs {
			switch e := e.(type) {
			case *expr.Counter:
				text += "counter; "
			case *expr.Lookup:
				text += fmt.Sprintf("lookup %s from %d invert=%t; ", e.SetName, e.SourceRegister, e.Invert)
			default:
				text += fmt.Sprintf("%T %+v; ", e, e)
			}
		}
	}
	return text, nil
}

// Differs says in what the table in force is not the one wanted; "" for nothing.
func Differs(name string, want, have Table) string {
	switch {
	case want == nil && have == nil:
		return ""
	case want == nil:
		return fmt.Sprintf("table inet %s is there", name)
	case have == nil:
		return fmt.Sprintf("table inet %s is not there", name)
	}
	for _, part := range slices.Sorted(maps.Keys(want)) {
		switch now, there := have[part]; {
		case !there:
			return fmt.Sprintf("table inet %s has no %s", name, part)
		case now != want[part]:
			return fmt.Sprintf("%s of table inet %s is not as it was written", part, name)
		}
	}
	for _, part := range slices.Sorted(maps.Keys(have)) {
		if _, ours := want[part]; !ours {
			return fmt.Sprintf("table inet %s has a %s that was not written", name, part)
		}
	}
	return ""
}

// Drop takes the table away; one that is not there is no error.
func Drop(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	t, err := find(conn, name)
	if t == nil || err != nil {
		return err
	}
	conn.DelTable(t)
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("taking table inet %s away: %w", name, err)
	}
	return nil
}
