// Command netpolicy is the lab's own enforcer of NetworkPolicies: in the network namespace of every pod of its node it keeps
// nftables rules that let in what the policies allow. It knows ingress only, and IPv4 only. It runs as a privileged pod of the
// host's network and processes, on every node; when it ends it takes its rules away.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "netpolicy:", err)
		os.Exit(1)
	}
}

// every is how often the API is asked. It is asked from its cache, which costs it little.
const every = 500 * time.Millisecond

func run(ctx context.Context) error {
	a, err := inCluster()
	if err != nil {
		return err
	}
	e := enforcer{written: map[string]string{}}
	for {
		w, err := a.world(ctx)
		if err == nil {
			err = e.enforce(w)
		}
		if err != nil && ctx.Err() == nil {
			// What was enforced stays so.
			fmt.Fprintln(os.Stderr, "netpolicy:", err)
		}
		select {
		case <-ctx.Done():
			return e.enforce(world{})
		case <-time.After(every):
		}
	}
}

// api is the cluster's, as a pod sees it.
type api struct {
	client *http.Client
	base   string
}

const account = "/var/run/secrets/kubernetes.io/serviceaccount"

func inCluster() (*api, error) {
	ca, err := os.ReadFile(account + "/ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &api{
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
		base:   "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")),
	}, nil
}

func (a *api) world(ctx context.Context) (world, error) {
	var w world
	for path, list := range map[string]any{
		"/api/v1/namespaces": &w.namespaces,
		"/api/v1/pods":       &w.pods,
		"/apis/networking.k8s.io/v1/networkpolicies": &w.policies,
	} {
		if err := a.list(ctx, path, list); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (a *api) list(ctx context.Context, path string, items any) error {
	token, err := os.ReadFile(account + "/token")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path+"?resourceVersion=0", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, res.Status)
	}
	var answer struct{ Items json.RawMessage }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return json.Unmarshal(answer.Items, items)
}

// enforcer remembers what it has written, by network namespace.
type enforcer struct{ written map[string]string }

// enforce makes every network of this node that belongs to a pod obey.
func (e *enforcer) enforce(w world) error {
	networks, node, err := networksOfNode()
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, p := range w.pods {
		if p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
			continue
		}
		for _, ip := range p.Status.PodIPs {
			if n, ok := networks[ip.IP]; ok {
				rules, isolated := w.rulesFor(p)
				want[n.id] = table(rules, isolated, node)
			}
		}
	}
	var errs []error
	for _, n := range networks {
		script, selected := want[n.id]
		if !selected {
			script = table(nil, false, nil)
		}
		was, touched := e.written[n.id]
		if script == was || !touched && script == table(nil, false, nil) {
			continue
		}
		if err := n.nft(script); err != nil {
			errs = append(errs, err)
			continue
		}
		e.written[n.id] = script
	}
	return errors.Join(errs...)
}

// network is a network namespace, by a process in it.
type network struct{ id, path string }

// networksOfNode finds the networks of pods by the addresses in them, and the node's own addresses.
func networksOfNode() (map[string]network, []string, error) {
	node, err := addresses()
	if err != nil {
		return nil, nil, err
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, nil, err
	}
	paths, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, nil, err
	}
	out := map[string]network{}
	seen := map[string]bool{own: true}
	for _, path := range paths {
		id, err := os.Readlink(path)
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		n := network{id, path}
		var in []string
		if err := n.inside(func() (err error) { in, err = addresses(); return err }); err != nil {
			continue // its last process has ended
		}
		for _, ip := range in {
			out[ip] = n
		}
	}
	return out, node, nil
}

// addresses are the IPv4 addresses of this thread's network.
func addresses() ([]string, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range list {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			out = append(out, ip.IP.String())
		}
	}
	return out, nil
}

// inside runs f on a thread of its own in the network. The thread ends with it.
func (n network) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread
		file, err := os.Open(n.path)
		if err != nil {
			done <- err
			return
		}
		defer file.Close()
		if _, _, errno := syscall.RawSyscall(sysSetns, file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			done <- errno
			return
		}
		done <- f()
	}()
	return <-done
}

func (n network) nft(script string) error {
	return n.inside(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = bytes.NewReader([]byte(script))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s\n%s", err, bytes.TrimSpace(out), script)
		}
		return nil
	})
}
