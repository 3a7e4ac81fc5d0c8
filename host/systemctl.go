package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

var shownProperties = []string{
	"LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "ActiveEnterTimestamp",
}

// run runs a command in an environment in which it speaks English and tells times in UTC, and returns its output.
func run(ctx context.Context, command string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, command, args...)
	c.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	c.WaitDelay = time.Second
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if stopped := ctx.Err(); stopped != nil {
		return "", stopped
	}
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return "", fmt.Errorf("%s: %w: %q", path.Base(command), err, first)
	}
	return string(out), nil
}

// statusFromShow reads what systemctl show prints: a line for each property.
func statusFromShow(out string) (UnitStatus, error) {
	var u UnitStatus
	var errs []error
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		errs = append(errs, err)
		return n
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		switch key {
		case "LoadState":
			u.Load = value
		case "ActiveState":
			u.Active = value
		case "SubState":
			u.Sub = value
		case "MainPID":
			u.MainPID = number(value)
		case "NRestarts":
			u.NRestarts = number(value)
		case "ActiveEnterTimestamp":
			if value != "" {
				at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", value)
				errs = append(errs, err)
				u.ActiveEnter = at
			}
		}
	}
	if u.Load == "" {
		errs = append(errs, errors.New("it tells no load state"))
	}
	if err := errors.Join(errs...); err != nil {
		return UnitStatus{}, fmt.Errorf("reading the answer of systemctl: %w", err)
	}
	return u, nil
}
