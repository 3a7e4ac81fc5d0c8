//go:build linux

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// part is a set of programs built from one Go module below parts/.
type part struct {
	module   string
	packages []string
	sources  []string // files of our own in the module
	ldflags  string
	cold     string // how long it takes the first time
}

func (r release) part() part {
	major, minor, _ := strings.Cut(r.minor, ".")
	const pkg = "k8s.io/component-base/version."
	return part{
		module: "kubernetes-" + r.minor,
		packages: []string{
			"k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager",
			"k8s.io/kubernetes/cmd/kube-scheduler", "k8s.io/kubernetes/cmd/kube-proxy", "k8s.io/kubernetes/cmd/kubelet",
			"k8s.io/kubernetes/cmd/kubeadm", "k8s.io/kubernetes/cmd/kubectl", "go.etcd.io/etcd/server/v3",
		},
		// kubeadm and the feature gates go by these.
		ldflags: strings.Join([]string{"-X", pkg + "gitVersion=" + r.version, "-X", pkg + "gitMajor=" + major,
			"-X", pkg + "gitMinor=" + minor, "-X", "k8s.io/client-go/pkg/version.gitVersion=" + r.version}, " "),
		cold: "8 to 15 minutes on two cores",
	}
}

var containerdPart = part{
	module: "containerd",
	packages: []string{
		"github.com/containerd/containerd/v2/cmd/containerd",
		"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		"github.com/containerd/containerd/v2/cmd/ctr",
	},
	cold: "1 to 2 minutes on two cores",
}

var corednsPart = part{
	module:   "coredns",
	packages: []string{"."},
	sources:  []string{"main.go"},
	cold:     "half a minute on two cores",
}

// netcheckPart is the lab's own program for pods: it also serves as the pause image.
var netcheckPart = part{
	module:   "netcheck",
	packages: []string{"."},
	sources:  []string{"main.go"},
	cold:     "seconds",
}

// netpolicyPart is the lab's own enforcer of NetworkPolicies.
var netpolicyPart = part{
	module:   "netpolicy",
	packages: []string{"."},
	sources:  []string{"main.go", "policy.go", "setns_amd64.go", "setns_arm64.go"},
	cold:     "seconds",
}

// build returns the folder with the part's programs, building them unless that was done before with the same sources.
func (p part) build(ctx context.Context, cfg Config) (string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(source, "parts", p.module)
	inputs := []string{filepath.Join(dir, "go.mod")}
	for _, f := range p.sources {
		inputs = append(inputs, filepath.Join(dir, f))
	}
	// Of what goes into the programs go.sum says no more than go.mod.
	key, err := digest(append(p.packages, p.ldflags), inputs...)
	if err != nil {
		return "", err
	}
	out := filepath.Join(cfg.Dir, "bin", p.module+"-"+key)
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}

	tmp := out + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	err = step(cfg, fmt.Sprintf("building %s (the first time: %s)", p.module, p.cold), func() error {
		args := []string{"-n", "10", "go", "build", "-trimpath", "-ldflags=-s -w " + p.ldflags, "-o", tmp + "/"}
		cmd := exec.CommandContext(ctx, "nice", append(args, p.packages...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
		return runWatched(cmd, cfg.Log)
	})
	if err != nil {
		return "", err
	}
	// The main package of etcd is named for its module.
	if err := os.Rename(filepath.Join(tmp, "server"), filepath.Join(tmp, "etcd")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// What was built from other sources is of no use any more, and large.
	stale, err := filepath.Glob(filepath.Join(cfg.Dir, "bin", p.module+"-????????????"))
	if err != nil {
		return "", err
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	return out, os.Rename(tmp, out)
}

// sourceDir finds the lab's own source, where the modules of the parts are: around this program (bin/lab) or around the
// working directory.
func sourceDir(ctx context.Context) (string, error) {
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(filepath.Dir(exe))
		if _, err := os.Stat(filepath.Join(dir, "parts", containerdPart.module, "go.mod")); err == nil {
			return dir, nil
		}
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "kubectl-harden.io/kubectl-harden/lab")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return "", fmt.Errorf("finding the lab's source: %w\nhint: run it in the folder lab/ of the source tree", err)
	}
	return dir, nil
}

// runWatched runs a command that may take minutes: it says so twice a minute, and keeps the output for the error.
func runWatched(cmd *exec.Cmd, log io.Writer) error {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(log, "  still at it after %s\n", time.Since(start).Round(time.Second))
		case err := <-done:
			if err != nil {
				lines := strings.Split(strings.TrimSpace(output.String()), "\n")
				return fmt.Errorf("%s: %w:\n%s", cmd.Args[0], err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
			}
			return nil
		}
	}
}

// digest names a set of inputs: files and folders by their names and content, and words.
func digest(words []string, paths ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, words)
	for _, path := range slices.Sorted(slices.Values(paths)) {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, filepath.Base(path), len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
