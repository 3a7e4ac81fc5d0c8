package cli

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

// Each script is one behaviour of the program. $R is a fresh 1.37 node, and these commands act on it:
//
//	on CODE ARG...       kubectl-harden on the offline root $R ends with CODE
//	exits CODE CMD...    any command ends with CODE
//	pasted CODE          the command in the first hint of the last stderr, pasted into a shell, ends with CODE
//	mark, same           $R is as it was when it was marked
//	change FILE OLD NEW  replaces text in a file of $R
//	signal NAME CODE     a run that applies everything gets the signal before its first change and ends with CODE
//	hold                 another process would see the lock of $R as held, until the script ends
//	cluster FILE         writes a kubeconfig of a cluster that is not the node's
//	forbidding FILE      writes one of the node's own cluster, which says no to everything
//
// [root] holds where the tests have all of root's rights.
func TestScripts(t *testing.T) {
	work := tempRoot(t)
	var m marks
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), WorkdirRoot: work, RequireUniqueNames: true,
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			// In a user namespace of one user, nothing belongs to others and no file can be made immutable.
			users, err := os.ReadFile("/proc/self/uid_map")
			return strings.HasSuffix(strings.TrimSpace(string(users)), "4294967295"), err
		},
		Setup: func(env *testscript.Env) error {
			root := filepath.Join(env.WorkDir, "r")
			env.Setenv("R", root)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("ESC", "\x1b")
			env.Setenv("BIDI", "\u202e")
			return errors.Join(os.Mkdir(root, 0o755), os.Chmod(env.WorkDir, 0o755), makeRoot(t, root, "1.37"))
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"on": func(ts *testscript.TestScript, _ bool, args []string) {
				exits(ts, args[0], program, at(ts.Getenv("R"), args[1:]...)...)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) { exits(ts, args[0], args[1], args[2:]...) },
			"pasted": func(ts *testscript.TestScript, _ bool, args []string) {
				for line := range strings.Lines(ts.ReadFile("stderr")) {
					if hint, ok := strings.CutPrefix(line, "hint: "); ok {
						exits(ts, args[0], "sh", "-c", strings.TrimSpace(hint))
						return
					}
				}
				ts.Fatalf("there is no hint")
			},
			"mark":       func(ts *testscript.TestScript, _ bool, _ []string) { m.set(t, ts.Getenv("R")) },
			"same":       func(ts *testscript.TestScript, neg bool, _ []string) { m.same(t, ts, neg) },
			"change":     change,
			"signal":     stop,
			"hold":       hold,
			"cluster":    otherCluster,
			"forbidding": forbidding,
			"fixall":     fixAll,
		},
	})
}

// marks are the trees of the scripts, which run at the same time, by their roots.
type marks struct{ sync.Map }

func (m *marks) set(t *testing.T, root string) { m.Store(root, tree(t, root)) }

func (m *marks) same(t *testing.T, ts *testscript.TestScript, neg bool) {
	root := ts.Getenv("R")
	before, ok := m.Load(root)
	if !ok {
		ts.Fatalf("%s was not marked", root)
	}
	if d := differences(before.(map[string]entry), tree(t, root)); (len(d) > 0) != neg {
		ts.Fatalf("differences: %q", d)
	}
}

func exits(ts *testscript.TestScript, want, name string, args ...string) {
	err := ts.Exec(name, args...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
	if wrong := wrongHint(ts.ReadFile("stderr") + ts.ReadFile("stdout")); wrong != "" {
		ts.Fatalf("what is proposed does not work: %s", wrong)
	}
}

func change(ts *testscript.TestScript, _ bool, args []string) {
	p := filepath.Join(ts.Getenv("R"), args[0])
	text := ts.ReadFile(p)
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", p, args[1])
	}
	ts.Check(os.WriteFile(p, []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// stop holds a run at its first line of progress, by a pipe that is full, until it has got the signal.
func stop(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	for range 10 {
		code := stopped(ts, signals[args[0]])
		if strconv.Itoa(code) == args[1] {
			return
		}
		if code != exitDone {
			ts.Fatalf("exit code %d, want %s", code, args[1])
		}
		// It had written everything before it heard of the signal.
		exits(ts, "0", program, at(ts.Getenv("R"), "rollback", "--yes")...)
	}
	ts.Fatalf("no signal was heard in time")
}

func stopped(ts *testscript.TestScript, sig syscall.Signal) int {
	progress, full, err := fullPipe()
	ts.Check(err)
	defer progress.Close()
	root := ts.Getenv("R")
	old := transactionsIn(root)
	cmd := exec.Command(program, at(root, "apply", "--all", "--yes")...)
	cmd.Stderr = full
	ts.Check(cmd.Start())
	full.Close()
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for transactionsIn(root) == old {
		select {
		case <-ended:
			return cmd.ProcessState.ExitCode()
		case <-time.After(time.Millisecond):
		}
	}
	ts.Check(cmd.Process.Signal(sig))
	for buf := make([]byte, 4096); ; {
		if n, err := progress.Read(buf); n == 0 || err != nil {
			break
		}
	}
	<-ended
	return cmd.ProcessState.ExitCode()
}

// fullPipe holds whoever writes to it until it is read.
func fullPipe() (progress, full *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, err
	}
	for page := make([]byte, 4096); ; {
		if _, err := unix.Write(fds[1], page); err != nil {
			break // it is full
		}
	}
	return os.NewFile(uintptr(fds[0]), "progress"), os.NewFile(uintptr(fds[1]), "full"), unix.SetNonblock(fds[1], false)
}

// transactionsIn counts those that are whole.
func transactionsIn(root string) int {
	found, _ := filepath.Glob(filepath.Join(root, defaultStateDir, "transactions", "[0-9]*"))
	return len(found)
}

// fixAll applies a remedy of every control that fails and has one, whatever it can hurt.
func fixAll(ts *testscript.TestScript, _ bool, _ []string) {
	cmd := exec.Command(program, at(ts.Getenv("R"), "assess", "-o", "json")...)
	out, err := cmd.Output()
	ts.Check(err)
	var a struct{ Findings []harden.Finding }
	ts.Check(json.Unmarshal(out, &a))
	var failing []string
	for _, f := range a.Findings {
		// What is stored can be written anew only where the API server runs.
		if f.Status == harden.StatusFail && len(f.Remedies) > 0 && f.Control != "apiserver-encryption-at-rest" {
			failing = append(failing, f.Control)
		}
	}
	list := strings.Join(failing, ",")
	exits(ts, "0", program, at(ts.Getenv("R"), "apply", "--yes", "--control", list, "--accept", list)...)
}

func hold(ts *testscript.TestScript, _ bool, _ []string) {
	root, err := host.OpenRoot(ts.Getenv("R"))
	ts.Check(err)
	s, err := backups.Open(root, backups.Options{Dir: defaultStateDir}).Lock(backups.Holder{PID: os.Getpid(), Who: "ops", Command: "apply", Since: time.Unix(1700000000, 0)})
	ts.Check(err)
	ts.Defer(func() { ts.Check(errors.Join(s.Unlock(), root.Close())) })
}

// forbidding makes the server's certificate the node's CA.
func forbidding(ts *testscript.TestScript, _ bool, args []string) {
	otherCluster(ts, false, args)
	ca := ts.ReadFile(args[0] + ".crt")
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("R"), "etc/kubernetes/pki/ca.crt"), []byte(ca), 0o644))
}

func otherCluster(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`)
	}))
	ts.Defer(server.Close)
	ca := ts.MkAbs(args[0] + ".crt")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil, kubeconfig, server.URL, ca), 0o600))
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
