package host

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// Listens says whether a process takes new TCP connections on any port, by the sockets that it holds.
func Listens(proc string, pid int) (bool, error) {
	dir := path.Join(proc, strconv.Itoa(pid))
	listening, err := listeners(dir)
	if err != nil {
		return false, fmt.Errorf("looking at the sockets of process %d: %w", pid, err)
	}
	files, err := os.ReadDir(path.Join(dir, "fd"))
	if err != nil {
		return false, fmt.Errorf("looking at the sockets of process %d: %w", pid, cause(err))
	}
	for _, f := range files {
		target, err := os.Readlink(path.Join(dir, "fd", f.Name()))
		if err != nil {
			continue // closed since
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if isSocket && listening[strings.TrimSuffix(inode, "]")] {
			return true, nil
		}
	}
	return false, nil
}

// listeners are the inodes of the TCP sockets that listen in a process's network namespace.
func listeners(dir string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(path.Join(dir, table))
		if os.IsNotExist(err) && table == "net/tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, cause(err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
			const state, inode, listen = 3, 9, "0A"
			if fields := strings.Fields(lines.Text()); len(fields) > inode && fields[state] == listen {
				out[fields[inode]] = true
			}
		}
		err = lines.Err()
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PodCgroups are the directories of the cgroups that a container's process shares with its pod, as they are now: the kubelet
// removes them as the last thing when it cleans up after a pod. There are none where they are not to be found.
func PodCgroups(proc, sys string, pid int) ([]string, error) {
	data, err := os.ReadFile(path.Join(proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return nil, fmt.Errorf("looking at the cgroups of process %d: %w", pid, cause(err))
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		// hierarchy:controllers:path, with no controllers in version 2
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		pod := path.Dir(fields[2])
		if _, uid := parseCgroup(pod); uid == "" {
			continue
		}
		for _, mount := range []string{strings.TrimPrefix(fields[1], "name="), "unified"} {
			dir := path.Join(sys, "fs/cgroup", mount, pod)
			if fields[1] != "" && mount == "unified" {
				break
			}
			if s, err := os.Stat(dir); err == nil && s.IsDir() {
				found = append(found, dir)
			}
		}
	}
	return found, nil
}
