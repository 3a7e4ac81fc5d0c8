//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The agent is this program inside a node, or in the cluster's network: what has to be watched or done without the delays of
// entering the node each time. It prints JSON, one value a line.
const agentPath = "/usr/local/lib/e2e-agent"

func agent(args []string) error {
	usage := errors.New("usage: agent instances NAME... | files PATH... | stored secrets | served ADDRESS... | watch NAME... | poll URL... | keep SERVER | impostor KIND SERVER | killat LINES SIGNAL COMMAND... | strike DELAY SIGNAL WORD COMMAND...")
	if len(args) < 2 {
		return usage
	}
	switch name, args := args[0], args[1:]; {
	case name == "instances":
		found, err := findInstances(args)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	case name == "files":
		found, err := describeFiles(args)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	case name == "stored":
		found, err := beginnings()
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	case name == "served":
		found, err := showCertificates(args)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	case name == "watch":
		return watch(args)
	case name == "poll":
		return poll(args)
	case name == "impostor" && len(args) == 2:
		return impostor(args[0], args[1])
	case name == "keep" && len(args) == 1:
		return keep(args[0])
	case name == "strike" && len(args) > 3:
		return strike(args[0], args[1], args[2], args[3:])
	case name == "killat" && len(args) > 2:
		return killAt(args[0], args[1], args[2:])
	}
	return usage
}

// instance is one life of a component, as /proc shows it.
type instance struct {
	Component string
	PID       int
	Started   string // in clock ticks since the machine booted
	Container string // empty outside of a container
	Args      []string
}

func (i instance) id() string { return fmt.Sprintf("%s %d %s", i.Component, i.PID, i.Started) }

func findInstances(components []string) ([]instance, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []instance
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(cmdline) == 0 {
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		name := filepath.Base(args[0])
		if !slices.Contains(components, name) {
			continue
		}
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 20 || fields[0] == "Z" {
			continue
		}
		// A child that has not yet become what it is to run looks like its parent.
		if parent, err := os.ReadFile("/proc/" + fields[1] + "/cmdline"); err == nil && bytes.Equal(parent, cmdline) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		out = append(out, instance{Component: name, PID: pid, Started: fields[19], Container: containerOf(dir), Args: args})
	}
	return out, nil
}

// containerOf is the container id in a process's control group.
func containerOf(proc string) string {
	groups, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(groups)) {
		last := filepath.Base(strings.TrimSpace(line))
		last = strings.TrimSuffix(strings.TrimPrefix(last, "cri-containerd-"), ".scope")
		if len(last) == 64 && strings.Trim(last, "0123456789abcdef") == "" {
			return last
		}
	}
	return ""
}

// describeFiles says of everything at and below the paths what an undo must bring back: kind, mode, owner, extended attributes
// and content. Paths may be missing.
func describeFiles(paths []string) (map[string]string, error) {
	out := map[string]string{}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			out[path], err = describeFile(path)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func describeFile(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	st := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
	switch {
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf(" %x", sha256.Sum256(data))
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		return text + " " + to, err
	}
	names := make([]byte, 1<<12)
	n, err := syscall.Listxattr(path, names)
	if err != nil && !errors.Is(err, syscall.ENOTSUP) {
		return "", err
	}
	for name := range strings.SplitSeq(strings.Trim(string(names[:max(n, 0)]), "\x00"), "\x00") {
		value := make([]byte, 1<<12)
		if n, err := syscall.Getxattr(path, name, value); name != "" && err == nil {
			text += fmt.Sprintf(" %s=%q", name, value[:n])
		}
	}
	return text, nil
}

// watch prints every instance of the components once, as soon as it is there, until its input ends, and then how well it has
// watched.
func watch(components []string) error {
	out := json.NewEncoder(os.Stdout)
	seen := map[string]bool{}
	var w watched
	last := time.Now()
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	for {
		found, err := findInstances(components)
		if err != nil {
			return err
		}
		for _, i := range found {
			if seen[i.id()] {
				continue
			}
			seen[i.id()] = true
			if err := out.Encode(i); err != nil {
				return err
			}
		}
		w.Looks, w.Longest, last = w.Looks+1, max(w.Longest, time.Since(last)), time.Now()
		select {
		case <-done:
			return out.Encode(w)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answer is what one request of a poller came to.
type answer struct {
	URL    string
	At     time.Time // when it was asked
	Took   time.Duration
	Status int
	Err    string
}

// pollEvery is how often a poller asks, and pollTimeout how long it waits for an answer.
const (
	pollEvery   = 50 * time.Millisecond
	pollTimeout = time.Second
)

// poll asks each URL by connections of its own, one after the other, until its input ends.
func poll(urls []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	answers := make(chan answer)
	for _, url := range urls {
		go func() {
			client := &http.Client{Timeout: pollTimeout, Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}}
			for ctx.Err() == nil {
				a := ask(client, url)
				answers <- a
				time.Sleep(time.Until(a.At.Add(pollEvery)))
			}
		}()
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	out := json.NewEncoder(w)
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-answers:
			if err := out.Encode(a); err != nil {
				return err
			}
		}
	}
}

func ask(client *http.Client, url string) answer {
	a := answer{URL: url, At: time.Now()}
	res, err := client.Get(url)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		a.Status = res.StatusCode
	}
	if err != nil {
		a.Err = err.Error()
	}
	a.Took = time.Since(a.At)
	return a
}

// killed is how a command that was to be killed ended.
type killed struct {
	Lines  int   // of the journal when it was killed, or at its end
	PIDs   []int // that were killed; none where the command ended before
	Last   string
	Code   int
	Output string
}

// stateDir is where the product keeps its transactions.
const stateDir = "/var/lib/kubectl-harden"

// killAt runs a command of the product and sends a signal to all processes of the product once the journal of the transaction
// that it began has so many lines.
func killAt(lines, signal string, command []string) error {
	n, err := strconv.Atoi(lines)
	if err != nil {
		return err
	}
	sig, err := strconv.Atoi(signal)
	if err != nil {
		return err
	}
	before, err := journals()
	if err != nil {
		return err
	}
	var output strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &output, &output
	// What it leaves running may hold its output open.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// On a busy machine the command would be lines ahead before it is hit.
	runtime.LockOSThread()
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, -20); err != nil {
		return err
	}

	var k killed
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		default:
			time.Sleep(500 * time.Microsecond)
		}
		now, err := journals()
		if err != nil {
			return err
		}
		for _, j := range now {
			if slices.Contains(before, j) {
				continue
			}
			text, err := os.ReadFile(j)
			if err != nil {
				continue
			}
			if k.Lines = strings.Count(string(text), "\n"); over || k.Lines < n {
				continue
			}
			if k.PIDs, err = signalProduct(syscall.Signal(sig)); err != nil {
				return err
			}
			all := strings.Split(strings.TrimSpace(string(text)), "\n")
			k.Last = all[len(all)-1]
			if syscall.Signal(sig) == syscall.SIGKILL {
				<-ended
				awaitGone(k.PIDs) // until then they hold their lock
			}
			over = true
		}
	}
	if cmd.ProcessState != nil {
		k.Code = cmd.ProcessState.ExitCode()
	}
	k.Output = output.String()
	return json.NewEncoder(os.Stdout).Encode(k)
}

// awaitGone waits for processes that were killed, as long as a busy machine may need.
func awaitGone(pids []int) {
	for range 1000 {
		if !slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil }) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func journals() ([]string, error) { return filepath.Glob(stateDir + "/transactions/*/journal.jsonl") }

// signalProduct sends a signal to every process that runs the product, whatever it was started as.
func signalProduct(sig syscall.Signal) ([]int, error) {
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, exe := range exes {
		path, err := os.Readlink(exe)
		if err != nil || !isProduct(path) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(exe)))
		if err != nil {
			return nil, err
		}
		if err := syscall.Kill(pid, sig); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isProduct(exe string) bool {
	exe = strings.TrimSuffix(exe, " (deleted)")
	return exe == productPath || exe == harmfulPath || strings.HasPrefix(exe, stateDir+"/")
}
