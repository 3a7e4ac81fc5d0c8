//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// under is what became of requests on connections that live long.
type under struct {
	Requests int64 // that were answered, or cut
	Cut      int64 // that got no answer on a connection that had given one
	Watches  int64 // that were open
	Ended    int64 // watches that ended
	Blind    time.Duration
}

const (
	keepers = 8  // connections over which request follows on request
	watches = 20 // that do nothing but wait
)

// keep uses connections to a server as controllers do, with the administrator's credentials, until its input ends.
func keep(server string) error {
	cert, err := administrator()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var u under
	var blind atomic.Int64
	var wg sync.WaitGroup
	client := func() *http.Client {
		return &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}},
		}}
	}
	for range keepers {
		wg.Go(func() {
			for c := client(); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
				_, err := get(ctx, c, server+"/api/v1/namespaces/default", 5*time.Second)
				if ctx.Err() != nil {
					return
				}
				if atomic.AddInt64(&u.Requests, 1); err != nil {
					atomic.AddInt64(&u.Cut, 1)
				}
			}
		})
	}
	for range watches {
		wg.Go(func() {
			atomic.AddInt64(&u.Watches, 1)
			for c := client(); ctx.Err() == nil; {
				begun := time.Now()
				_, err := get(ctx, c, server+"/api/v1/namespaces?watch=true&timeoutSeconds=3600", time.Hour)
				if ctx.Err() != nil {
					return
				}
				if time.Since(begun) > time.Second {
					atomic.AddInt64(&u.Ended, 1)
				} else if err != nil {
					blind.Add(int64(time.Since(begun)))
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	u.Blind = time.Duration(blind.Load() / watches)
	return json.NewEncoder(os.Stdout).Encode(u)
}

func get(ctx context.Context, c *http.Client, url string, within time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(q)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, fmt.Errorf("status %d", res.StatusCode)
	}
	return res.StatusCode, nil
}

var inKubeconfig = regexp.MustCompile(`client-(certificate|key)-data: (\S+)`)

func administrator() (tls.Certificate, error) {
	text, err := os.ReadFile("/etc/kubernetes/admin.conf")
	if err != nil {
		return tls.Certificate{}, err
	}
	parts := map[string][]byte{}
	for _, m := range inKubeconfig.FindAllSubmatch(text, -1) {
		if parts[string(m[1])], err = base64.StdEncoding.DecodeString(string(m[2])); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(parts["certificate"], parts["key"])
}

// struck is how a command ended that was struck while it led connections elsewhere.
type struck struct {
	Led    bool          // that it did was seen
	PIDs   []int         // of the processes that got the signal
	Gone   time.Duration // from the signal to the end of the table
	Output string
}

const table = "kubectl-harden"

func tableThere() bool { return exec.Command("nft", "list", "table", "inet", table).Run() == nil }

// strike runs a command of the product and, so long after its table is there, sends a signal: to all processes of the product, or to
// those alone whose arguments have a word. Then it waits for the end of the table.
func strike(delay, signal, word string, command []string) error {
	after, err := time.ParseDuration(delay)
	if err != nil {
		return err
	}
	var sig syscall.Signal
	if _, err := fmt.Sscan(signal, &sig); err != nil {
		return err
	}
	var output strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s := struck{}
	for end := time.Now().Add(5 * time.Minute); !s.Led && time.Now().Before(end); {
		select {
		case <-ended:
			s.Output = output.String()
			return json.NewEncoder(os.Stdout).Encode(s)
		case <-time.After(20 * time.Millisecond):
			s.Led = tableThere()
		}
	}
	time.Sleep(after)
	if s.PIDs, err = signalThose(sig, word); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if s.Gone = time.Since(begun); !tableThere() || s.Gone > time.Minute {
			break
		}
	}
	if sig != syscall.SIGKILL {
		if _, err := signalThose(syscall.SIGKILL, ""); err != nil {
			return err
		}
	}
	<-ended
	s.Output = output.String()
	return json.NewEncoder(os.Stdout).Encode(s)
}

// signalThose sends a signal to the processes of the product that have the word among their arguments; to all without a word.
func signalThose(sig syscall.Signal, word string) ([]int, error) {
	if word == "" {
		return signalProduct(sig)
	}
	out, err := exec.Command("sh", "-c", `for p in /proc/[0-9]*; do [ "$(readlink $p/exe)" = "`+productPath+`" ] && echo "${p#/proc/} $(tr '\0' ' ' <$p/cmdline)"; done; :`).Output()
	var pids []int
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pid := 0
		if _, err := fmt.Sscan(words[0], &pid); err != nil || !slices.Contains(words[1:], word) {
			continue
		}
		if syscall.Kill(pid, sig) == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}
