//go:build linux

// Command lab starts, uses and ends a real kubeadm cluster on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"kubectl-harden.io/kubectl-harden/lab"
)

const usage = `usage: lab [flags] COMMAND

  check                 say what this machine lacks to carry a lab: exit code 3 where something is
  build                 build what clusters are made of, and start nothing
  up                    start the cluster, building first what is missing
  status                say what runs
  shell                 a root shell in the node
  exec -- CMD [ARG...]  run a command in the node
  outside -- CMD ...    run a command of this machine in the cluster's network, beside the node
  copy SRC DST          copy a file into the node
  journal [UNIT...]     print the node's journal
  logs                  print the end of every container's log
  kill                  end the node without warning, as a power cut would
  boot                  start a killed node again
  bring VERSION         load another version's images, and put its packages into /opt, for an upgrade by hand
  policies on|off       enforce NetworkPolicies, or do not (the default)
  reset                 a pristine cluster
  down                  end the cluster and remove it

flags:
`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var cfg lab.Config
	cfg.Log = os.Stderr
	node := "cp1"
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.StringVar(&cfg.Name, "name", "lab", "the cluster's `name`; several can run side by side")
	flags.StringVar(&cfg.Kubernetes, "kubernetes", "", "the Kubernetes `version` for build and up: "+strings.Join(lab.Versions(), " or "))
	flags.Func("nodes", "the `nodes` for up: cp1,cp2,cp3,w1 (default cp1)", func(s string) error {
		cfg.Nodes = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
	flags.StringVar(&cfg.Dir, "dir", "", "`folder` of what is built and of the clusters (default $KUBECTL_HARDEN_LAB or "+
		lab.DefaultDir+")")
	flags.StringVar(&node, "node", node, "the `node` for shell, exec, copy, journal, logs, kill and boot")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, cfg, node, flags.Args())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		flags.Usage()
		return 2
	case errors.Is(err, errLacks):
		return 3
	case errors.As(err, &exit) && slices.Contains([]string{"exec", "outside", "shell"}, flags.Arg(0)):
		return exit.ExitCode() // the command has said what is wrong
	}
	fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	if errors.Is(err, lab.ErrNotRunning) {
		fmt.Fprintln(os.Stderr, "hint: start it: make lab-up")
	}
	return 1
}

var (
	errUsage = errors.New("usage")
	errLacks = errors.New("this machine cannot carry a lab") // what it lacks has been said
)

func command(ctx context.Context, cfg lab.Config, nodeName string, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	name, args := args[0], args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	switch name {
	case "check":
		return check(ctx, cfg)
	case "build":
		return lab.Build(ctx, cfg)
	case "up":
		c, err := lab.Start(ctx, cfg)
		if err != nil {
			return err
		}
		var names []string
		for _, n := range c.Nodes() {
			names = append(names, n.Name())
		}
		fmt.Printf("%s runs on %s\n", c.Version(), strings.Join(names, ", "))
		return nil
	case "down":
		return lab.Down(ctx, cfg)
	}

	c, err := lab.Open(cfg)
	if err != nil {
		return err
	}
	node, err := c.Node(nodeName)
	if err != nil {
		return err
	}
	switch {
	case name == "status":
		return c.Status(ctx, os.Stdout)
	case name == "reset":
		return c.Reset(ctx)
	case name == "bring" && len(args) == 1:
		dir, err := c.Bring(ctx, args[0])
		if err != nil {
			return err
		}
		fmt.Printf("its packages: %s\nhint: tar -C / -xf %s/kubeadm.tar in the node installs that one\n", dir, dir)
		return nil
	case name == "policies" && len(args) == 1 && (args[0] == "on" || args[0] == "off"):
		return c.EnforcePolicies(ctx, args[0] == "on")
	case name == "kill":
		return node.Kill(ctx)
	case name == "boot":
		if err := node.Boot(ctx); err != nil {
			return err
		}
		return c.WaitReady(ctx)
	case name == "copy" && len(args) == 2:
		return node.CopyIn(ctx, args[0], args[1])
	case name == "shell":
		// An interrupt is for the shell, which is in the terminal's foreground too. Its terminal is one of the node's own:
		// tmux and tty know no other.
		return attach(node.Command(context.WithoutCancel(ctx), "script", "--quiet", "--return", "--command", "bash -l", "/dev/null"))
	case name == "exec" && len(args) > 0:
		return attach(node.Command(context.WithoutCancel(ctx), args[0], args[1:]...))
	case name == "outside" && len(args) > 0:
		return attach(c.CommandOutside(ctx, args[0], args[1:]...), nil)
	case name == "journal":
		return print(os.Stdout)(node.Journal(ctx, args...))
	case name == "logs":
		return print(os.Stdout)(node.PodLogs(ctx))
	}
	return errUsage
}

// check prints what is missing, one a line, where a script can take it.
func check(ctx context.Context, cfg lab.Config) error {
	lacks, err := lab.Check(ctx, cfg)
	for _, l := range lacks {
		fmt.Println(strings.ReplaceAll(l, "\n", " "))
	}
	if err == nil && len(lacks) > 0 {
		return errLacks
	}
	return err
}

// attach runs a command on our own terminal.
func attach(cmd *exec.Cmd, err error) error {
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func print(w io.Writer) func([]byte, error) error {
	return func(data []byte, err error) error {
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
}
