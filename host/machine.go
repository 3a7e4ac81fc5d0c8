package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// MachineID is the identity that systemd gave to this installation, and that the kubelet reports as
// status.nodeInfo.machineID.
func (r *Root) MachineID() (string, error) {
	// In the kubelet's own order.
	for _, file := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		data, err := r.Read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		id := strings.TrimSpace(string(data))
		if len(id) != 32 || !isHex(id) {
			return "", fmt.Errorf("reading %q: it holds no machine id", file)
		}
		return id, nil
	}
	return "", fmt.Errorf("no machine id: %w", fs.ErrNotExist)
}

// Hostname is the running machine's, or what an offline root would be called.
func (r *Root) Hostname() (string, error) {
	if r.Proc != "" {
		return r.Sysctl("kernel.hostname")
	}
	data, err := r.Read("/etc/hostname")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", errors.New(`reading "/etc/hostname": it is empty`)
}

// LoginUID is the user who logged in to start this process, whatever sudo made of it since. It is not known for
// processes that no login started.
func (r *Root) LoginUID() (uid int, known bool) {
	if r.Proc == "" {
		return 0, false
	}
	data, err := os.ReadFile(path.Join(r.Proc, "self/loginuid"))
	if err != nil {
		return 0, false
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	if err != nil || id == math.MaxUint32 {
		return 0, false
	}
	return int(id), true
}

// Sysctl reads a kernel parameter of the running machine by its name, such as net.ipv4.ip_forward. Runs of white space
// in it are one space each.
func (r *Root) Sysctl(key string) (string, error) {
	file, err := r.sysctlFile(key)
	if err != nil {
		return "", fmt.Errorf("reading sysctl %q: %w", key, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading sysctl %q: %w", key, cause(err))
	}
	return strings.Join(strings.Fields(string(data)), " "), nil
}

// SetSysctl sets a kernel parameter until the next boot, and fails when the kernel then holds another value.
func (r *Root) SetSysctl(key, value string) error {
	file, err := r.sysctlFile(key)
	if err == nil && strings.ContainsAny(value, "\n\x00") {
		err = fmt.Errorf("%q is not one line", value)
	}
	if err != nil {
		return fmt.Errorf("setting sysctl %q: %w", key, err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("setting sysctl %q: %w", key, cause(err))
	}
	_, err = f.Write([]byte(value + "\n"))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("setting sysctl %q: %w", key, cause(err))
	}
	now, err := r.Sysctl(key)
	if err != nil {
		return err
	}
	if now != strings.Join(strings.Fields(value), " ") {
		return fmt.Errorf("setting sysctl %q to %q: the kernel holds %q", key, value, now)
	}
	return nil
}

// sysctlFile maps a name to its file. As in sysctl(8) dots separate and a slash stands for a dot in an interface's
// name, or the other way round if the first of them is a slash.
func (r *Root) sysctlFile(key string) (string, error) {
	if r.Proc == "" {
		return "", ErrOffline
	}
	name := []byte(key)
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		name = bytes.Map(func(c rune) rune {
			switch c {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return c
		}, name)
	}
	if !fs.ValidPath(string(name)) || string(name) == "." {
		return "", errors.New("it is not the name of a parameter")
	}
	return path.Join(r.Proc, "sys", string(name)), nil
}

// cause strips the path off an error of the os package, which repeats it unquoted.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
