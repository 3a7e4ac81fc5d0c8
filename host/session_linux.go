package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// detached is a command in a session of its own, without our terminal, our files or our working directory.
func detached(argv []string) *exec.Cmd {
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = "/"
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c
}

// StartApart starts a command in a session of its own, which goes on whatever becomes of ours.
func StartApart(argv []string) error {
	_, err := detach(argv)
	return err
}

func detach(argv []string) (pid int, err error) {
	c := detached(argv)
	if err := c.Start(); err != nil {
		return 0, err
	}
	go func() { _ = c.Wait() }() // so that it is no zombie while we last
	return c.Process.Pid, nil
}

func runDetached(ctx context.Context, argv []string) error {
	c := detached(argv)
	if err := c.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = unix.Kill(-c.Process.Pid, unix.SIGKILL) })()
	if err := c.Wait(); err != nil {
		return fmt.Errorf("running %s: %w", argv[0], err)
	}
	return nil
}

// BootClock is the running boot and the time since its beginning, by a clock that nobody can set.
func (r *Root) BootClock() (boot string, since time.Duration, err error) {
	if r.Proc == "" {
		return "", 0, ErrOffline
	}
	id, err := os.ReadFile(path.Join(r.Proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", 0, fmt.Errorf("asking for the boot: %w", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return "", 0, fmt.Errorf("asking for the time since boot: %w", err)
	}
	return strings.TrimSpace(string(id)), time.Duration(now.Nano()), nil
}

// ProcessTicks is when a process started, in clock ticks since boot: with its number this names it and no later one.
func ProcessTicks(proc string, pid int) (uint64, error) {
	stat, err := os.ReadFile(path.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseStat(stat)
}

// EndSession ends a process that leads a session, with those that it has started there. One that is gone, or another one of
// its number, is left alone, and so is one that we have come from: it has nothing left to wait for, and we would end ourselves.
func EndSession(proc string, pid int, ticks uint64) error {
	if now, err := ProcessTicks(proc, pid); gone(err) || err == nil && now != ticks {
		return nil
	} else if err != nil {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	if ours, err := cameFrom(proc, pid); ours || err != nil {
		return err
	}
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	return nil
}

// cameFrom says that we, or a process that we have come from, are of a process group.
func cameFrom(proc string, group int) (bool, error) {
	for pid := os.Getpid(); pid > 0; {
		of, err := unix.Getpgid(pid)
		if err == nil && of == group {
			return true, nil
		}
		if pid, err = parentOf(path.Join(proc, strconv.Itoa(pid))); gone(err) {
			return false, nil // it has ended meanwhile
		} else if err != nil {
			return false, fmt.Errorf("looking for what has started us: %w", err)
		}
	}
	return false, nil
}

// Signal sends a signal to the process that started at ticks. It answers with os.ErrProcessDone when that one is gone,
// whoever has its number.
func Signal(proc string, pid int, ticks uint64, signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case errors.Is(err, unix.ENOSYS):
		fd = -1 // before Linux 5.3 there is a moment in which the number may pass on
	case err != nil:
		return fmt.Errorf("reaching process %d: %w", pid, err)
	default:
		defer unix.Close(fd)
	}
	now, err := ProcessTicks(proc, pid)
	if gone(err) || err == nil && now != ticks {
		return os.ErrProcessDone
	}
	if err == nil && fd >= 0 {
		err = unix.PidfdSendSignal(fd, signal, nil, 0)
	} else if err == nil {
		err = unix.Kill(pid, signal)
	}
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("signalling process %d: %w", pid, err)
	}
	return nil
}

// Freeze stops a process where it is, if it still is the one that started at that time; Thaw lets it go on.
func Freeze(proc string, pid int, ticks uint64) error {
	return Signal(proc, pid, ticks, syscall.SIGSTOP)
}

// Thaw lets a process go on that Freeze has stopped.
func Thaw(proc string, pid int, ticks uint64) error { return Signal(proc, pid, ticks, syscall.SIGCONT) }
