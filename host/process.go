package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one process of the running machine.
type Process struct {
	PID int
	UID int // effective
	// Exe is the program file as the process itself sees it: inside its container. Empty for kernel threads, and where
	// we may not look.
	Exe     string
	Argv    []string
	Started time.Time
	// Ticks is the start in clock ticks since boot. With the PID it names this process and no later one; Started moves
	// when the clock is set.
	Ticks uint64
	// ContainerID is read off the cgroup; empty outside of containers.
	ContainerID string
	Resident    uint64 // bytes of memory that it holds
}

const (
	ticksPerSecond = 100 // USER_HZ, the same on every architecture that we build for
	maxProcFile    = 8 << 20
)

// Processes lists the processes whose program file, or first argument, has one of the base names given; all without
// a name. Any user can start a program of any name: what belongs to the control plane is told by UID and ContainerID.
// A root that is not the running machine's has no processes.
func (r *Root) Processes(names ...string) ([]Process, error) {
	if r.Proc == "" {
		return nil, nil
	}
	boot, err := bootTime(r.Proc)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	dir, err := os.Open(r.Proc)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer dir.Close()
	entries, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry)
		if err != nil || pid <= 0 {
			continue
		}
		p, err := readProcess(path.Join(r.Proc, entry), names)
		switch {
		case err == nil:
			p.PID = pid
			p.Started = boot.Add(time.Duration(p.Ticks) * (time.Second / ticksPerSecond))
			found = append(found, p)
		case !errors.Is(err, errOther) && !gone(err):
			return nil, fmt.Errorf("reading process %d: %w", pid, err)
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found, nil
}

// errOther marks a process that was not asked for.
var errOther = errors.New("another program")

// gone reports whether a process ended while it was being read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// readProcess reads one process.
func readProcess(dir string, names []string) (Process, error) {
	d, err := openProc(dir)
	if err != nil {
		return Process{}, err
	}
	defer d.close()
	return d.process(names)
}

// process reads the process if it has one of the names; without any in each case.
func (d procDir) process(names []string) (p Process, err error) {
	p.Exe, err = d.readLink("exe")
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		err = nil // a kernel thread, or another user's
	}
	if err != nil {
		return p, err
	}
	p.Exe = strings.TrimSuffix(p.Exe, " (deleted)") // or replaced since
	cmdline, err := d.read("cmdline")
	if err != nil {
		return p, err
	}
	if p.Argv = parseCmdline(cmdline); len(names) > 0 && !slices.ContainsFunc(names, p.Is) {
		return p, errOther
	}
	stat, err := d.read("stat")
	if err != nil {
		return p, err
	}
	if p.Ticks, err = parseStat(stat); err != nil {
		return p, err
	}
	status, err := d.read("status")
	if err != nil {
		return p, err
	}
	if p.UID, err = parseUID(status); err != nil {
		return p, err
	}
	p.Resident = parseResident(status)
	cgroup, err := d.read("cgroup")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // kernels can be built without cgroups
		return p, err
	}
	p.ContainerID, _ = parseCgroup(string(cgroup))
	return p, nil
}

// Is says whether the process's program file, or its first argument, has a base name.
func (p Process) Is(name string) bool {
	return path.Base(p.Exe) == name || len(p.Argv) > 0 && path.Base(p.Argv[0]) == name
}

// parseCmdline splits the content of /proc/PID/cmdline. Empty arguments count; nil means that there is no command
// line, as for kernel threads.
func parseCmdline(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// parseStat finds the start time in /proc/PID/stat. The second field is the program's name in
// parentheses and may hold anything, parentheses included, so the last one ends it.
func parseStat(data []byte) (ticks uint64, err error) {
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	const start = 22 - 3 // numbered as in proc(5), less the fields up to here
	if end < 0 || len(fields) <= start {
		return 0, errors.New("stat has too few fields")
	}
	if ticks, err = strconv.ParseUint(fields[start], 10, 64); err != nil {
		return 0, fmt.Errorf("start time in stat: %w", err)
	}
	return ticks, nil
}

// parseUID finds the effective user in /proc/PID/status.
func parseUID(data []byte) (int, error) {
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "Uid:"); ok {
			if ids := strings.Fields(list); len(ids) > 1 {
				return strconv.Atoi(ids[1])
			}
		}
	}
	return 0, errors.New("status does not tell the user")
}

// parseResident finds the resident memory in /proc/PID/status; kernel threads have none.
func parseResident(data []byte) uint64 {
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if n, err := kibibytes(rest); err == nil {
				return n
			}
		}
	}
	return 0
}

// HasVariable says whether a process was started with an environment variable, as far as we may look.
func (r *Root) HasVariable(p Process, name string) bool {
	if r.Proc == "" {
		return false
	}
	d, err := openProc(path.Join(r.Proc, strconv.Itoa(p.PID)))
	if err != nil {
		return false
	}
	defer d.close()
	data, err := d.read("environ")
	return err == nil && slices.ContainsFunc(strings.Split(string(data), "\x00"), func(v string) bool { return strings.HasPrefix(v, name+"=") })
}

// parseCgroup finds container and pod in /proc/PID/cgroup, whatever the cgroup version and driver: the last elements
// that look like one, such as "cri-containerd-<id>.scope", "crio-<id>.scope" or "<id>" below
// "kubepods-burstable-pod<uid>.slice" or "pod<uid>".
func parseCgroup(data string) (container, pod string) {
	for line := range strings.Lines(data) {
		for element := range strings.SplitSeq(strings.TrimSpace(line), "/") {
			element = strings.TrimSuffix(strings.TrimSuffix(element, ".scope"), ".slice")
			if id := element[strings.LastIndexAny(element, "-:")+1:]; len(id) == 64 && isHex(id) {
				container = id
			}
			if i := strings.LastIndex(element, "pod"); i >= 0 && (i == 0 || element[i-1] == '-') {
				if uid := strings.ReplaceAll(element[i+len("pod"):], "_", "-"); isUID(uid) {
					pod = uid
				}
			}
		}
	}
	return container, pod
}

// isUID accepts UUIDs, and the bare hashes that the kubelet gives to static pods.
func isUID(s string) bool {
	return len(s) >= 32 && len(s) <= 36 && isHex(strings.ReplaceAll(s, "-", ""))
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// bootTime finds the time of boot in /proc/stat.
func bootTime(proc string) (time.Time, error) {
	data, err := os.ReadFile(path.Join(proc, "stat"))
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, errors.New("/proc/stat does not tell the time of boot")
}
