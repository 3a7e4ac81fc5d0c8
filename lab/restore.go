//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// restoreTree makes dst, which was a copy of src at the time since, a copy again. It goes by the change times of dst's inodes,
// which the kernel sets and no program can: what has none after since is as it was. It returns how many paths it changed.
func restoreTree(ctx context.Context, src, dst string, since time.Time) (int, error) {
	changed := 0
	dirs := map[string]bool{} // to be given their attributes again
	err := walk(ctx, dst, func(rel string, info fs.FileInfo) error {
		want, err := os.Lstat(filepath.Join(src, rel))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		same := err == nil && want.Mode().Type() == info.Mode().Type()
		touched := changeTime(info).After(since)
		switch {
		case same && !touched:
			return nil
		case same && info.IsDir():
			dirs[rel] = true
			changed++
			return nil
		}
		changed++
		if err := remove(ctx, filepath.Join(dst, rel)); err != nil {
			return err
		}
		if info.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		return changed, err
	}

	var missing bytes.Buffer
	err = walk(ctx, src, func(rel string, info fs.FileInfo) error {
		if _, err := os.Lstat(filepath.Join(dst, rel)); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		changed++
		missing.WriteString(rel + "\x00")
		dirs[filepath.Dir(rel)] = true
		if info.IsDir() {
			return filepath.SkipDir // copied with all that is in it
		}
		return nil
	})
	if err != nil {
		return changed, err
	}
	if missing.Len() > 0 {
		cmd := exec.CommandContext(ctx, "xargs", "-0", "cp", "-a", "--reflink=auto", "--parents", "-t", dst, "--")
		cmd.Dir, cmd.Stdin = src, &missing
		if out, err := cmd.CombinedOutput(); err != nil {
			return changed, fmt.Errorf("copying: %w: %s", err, strings.TrimSpace(string(out)))
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(dirs)) {
		if err := copyDirAttributes(filepath.Join(src, rel), filepath.Join(dst, rel)); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// walk calls f for everything below root, with its path from there. It does not mind what f removes.
func walk(ctx context.Context, root string, f func(rel string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return f(rel, info)
	})
}

func changeTime(info fs.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
}

// remove removes a path with all below it, what was made immutable too.
func remove(ctx context.Context, path string) error {
	err := os.RemoveAll(path)
	if errors.Is(err, syscall.EPERM) {
		out, chattrErr := exec.CommandContext(ctx, "chattr", "-R", "-f", "-i", "-a", path).CombinedOutput()
		if err = os.RemoveAll(path); err != nil {
			err = errors.Join(err, chattrErr, errors.New(string(out)))
		}
	}
	return err
}

func copyDirAttributes(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	want, err := attributes(src)
	if err != nil {
		return err
	}
	have, err := attributes(dst)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			if err := syscall.Removexattr(dst, name); err != nil {
				return &os.PathError{Op: "removexattr", Path: dst, Err: err}
			}
		}
	}
	for name, value := range want {
		if err := syscall.Setxattr(dst, name, value, 0); err != nil {
			return &os.PathError{Op: "setxattr", Path: dst, Err: err}
		}
	}
	st := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := syscall.Chmod(dst, st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: dst, Err: err}
	}
	return os.Chtimes(dst, time.Time{}, info.ModTime())
}

func attributes(path string) (map[string][]byte, error) {
	names := make([]byte, 1<<16)
	n, err := syscall.Listxattr(path, names)
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	values := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		values[name] = value[:n]
	}
	return values, nil
}

// copyMark says what a node's root is a copy of.
type copyMark struct {
	Snapshot string
	// Since is when the copy was complete.
	Since time.Time
	// Clock is when the machine booted, by the clock that Since was read from: it differs after the clock was set.
	Clock time.Time
}

func (n *Node) markFile() string { return filepath.Join(n.dir(), "copy.json") }

// restore makes the node's root a copy of its snapshot, doing no more than needed.
func (n *Node) restore(ctx context.Context) error {
	snapshot := filepath.Join(n.cluster.snapshot, n.name)
	clock, err := bootTime()
	if err != nil {
		return err
	}
	var mark copyMark
	if err := readJSON(n.markFile(), &mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// From here on until it is finished, nobody knows what the root is.
	if err := os.RemoveAll(n.markFile()); err != nil {
		return err
	}
	if mark.Snapshot == snapshot && clock.Sub(mark.Clock).Abs() < time.Second {
		_, err = restoreTree(ctx, snapshot, n.root(), mark.Since)
	} else if err = remove(ctx, n.root()); err == nil {
		err = copyTree(ctx, snapshot, n.root())
	}
	if err != nil {
		return err
	}
	since, err := settle(ctx, filepath.Join(n.dir(), "settle"))
	if err != nil {
		return err
	}
	return writeJSON(n.markFile(), copyMark{Snapshot: snapshot, Since: since, Clock: clock})
}

// settle returns a time that is not before any change made until now, and before any made after its return.
func settle(ctx context.Context, file string) (time.Time, error) {
	var first time.Time
	for {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return first, err
		}
		if err := os.Chtimes(file, time.Time{}, time.Now()); err != nil {
			return first, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return first, err
		}
		now := changeTime(info)
		if first.IsZero() {
			first = now
		}
		if now.After(first) {
			return first, os.Remove(file)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return first, err
		}
	}
}

func bootTime() (time.Time, error) {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	up, _, _ := strings.Cut(string(data), " ")
	d, err := time.ParseDuration(up + "s")
	return time.Now().Add(-d), err
}
