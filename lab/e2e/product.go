//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// Where the programs are in a node.
const (
	productPath = "/usr/local/bin/kubectl-harden"
	harmfulPath = "/usr/local/bin/harmful"
)

// products are the programs that go into the nodes, where they were built.
type products struct{ dir string }

// build builds the product as it is released, and its harmful twin, from the tree around the lab.
func (r *runner) build(ctx context.Context) error {
	tree, err := sourceTree()
	if err != nil {
		return err
	}
	r.products.dir = filepath.Join(tree, "lab", "bin", "e2e-products")
	if err := os.MkdirAll(r.products.dir, 0o755); err != nil {
		return err
	}
	start := time.Now()
	for name, pkg := range map[string]string{"kubectl-harden": ".", "harmful": "./cli/harmful"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(r.products.dir, name), pkg)
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", pkg, err, bytes.TrimSpace(out))
		}
	}
	r.say("the product is built in %s", seconds(time.Since(start)))
	return nil
}

// sourceTree is the product's, found from the working directory.
func sourceTree() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(dir) != "lab" {
		return "", fmt.Errorf("finding the source tree: %q is not its folder lab: %w", dir, errors.Join(err, errors.New("run it there")))
	}
	return filepath.Dir(dir), nil
}

func (p products) install(ctx context.Context, n *lab.Node) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for src, dst := range map[string]string{
		filepath.Join(p.dir, "kubectl-harden"): productPath,
		filepath.Join(p.dir, "harmful"):        harmfulPath,
		self:                                   agentPath,
	} {
		if err := n.CopyIn(ctx, src, dst); err != nil {
			return err
		}
	}
	return nil
}

// said is what a command of the product said, and how it ended.
type said struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func (s said) String() string {
	return fmt.Sprintf("exit code %d after %s\n%s%s", s.code, seconds(s.took), s.stdout, s.stderr)
}

// command runs a program in a node to its end.
func (t *T) command(n *lab.Node, name string, args ...string) said {
	return t.commandWithin(8*time.Minute, n, name, args...)
}

func (t *T) commandWithin(limit time.Duration, n *lab.Node, name string, args ...string) said {
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	cmd, err := n.Command(ctx, name, args...)
	t.need(err)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err = cmd.Run()
	s := said{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		s.code = exit.ExitCode()
	case err != nil:
		t.fatalf("%s: %v", name, err)
	}
	t.detail("%s %s: %s", filepath.Base(name), strings.Join(args, " "), s)
	if s.code < 0 {
		t.fatalf("%s %s did not end:\n%s", name, strings.Join(args, " "), s)
	}
	return s
}

// harden runs the product in the first node.
func (t *T) harden(args ...string) said { return t.command(t.node, productPath, args...) }

// must runs the product and wants an exit code.
func (t *T) must(code int, args ...string) said { return t.wants(code, productPath, args...) }

// harm is must with the harmful twin.
func (t *T) harm(code int, args ...string) said { return t.wants(code, harmfulPath, args...) }

func (t *T) wants(code int, program string, args ...string) said {
	s := t.command(t.node, program, args...)
	if s.code != code {
		t.fatalf("%s %s: wanted exit code %d: %s", filepath.Base(program), strings.Join(args, " "), code, s)
	}
	return s
}

// shell runs a script in the first node and gives its output.
func (t *T) shell(script string, args ...string) string { return t.shellIn(t.node, script, args...) }

func (t *T) shellIn(n *lab.Node, script string, args ...string) string {
	out, err := n.Run(t.ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
	if err != nil {
		t.fatalf("%s: %v\n%s", strings.TrimSpace(script), err, out)
	}
	return string(out)
}

// agent asks the agent in a node, whose answer is one JSON value.
func (t *T) agent(n *lab.Node, answer any, args ...string) {
	out, err := n.Run(t.ctx, agentPath, append([]string{"agent"}, args...)...)
	t.need(err)
	if err := json.Unmarshal(out, answer); err != nil {
		t.fatalf("agent %s: %v: %q", args[0], err, out)
	}
}
