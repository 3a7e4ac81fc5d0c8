// Package cli is the command line: one file per command, the flags, the exit codes, the plain-text and the JSON voice. It
// joins the packages that act to those that decide.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// Streams are the program's.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run is the whole program. It returns the exit code of the contract.
func Run(ctx context.Context, streams Streams, args []string) int {
	// SIGHUP too: a closed session undoes at the next safe point rather than leaving a change half proven.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	a := &app{Streams: streams, areas: catalog.Areas()}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	a.complain(err)
	return exitCode(err)
}

// app is what the commands share.
type app struct {
	Streams
	areas []harden.Area
	where whereFlags
	look  lookFlags
	sel   selectFlags
}

// name is how the program is called: as a kubectl plugin it is "kubectl harden".
func name() string {
	if strings.HasPrefix(lookupEnv("KUBECTL_PATH"), "/") {
		return "kubectl harden"
	}
	return "kubectl-harden"
}

func lookupEnv(key string) string { return os.Getenv(key) }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-harden",
		Short: "Harden a Kubernetes cluster without fear",
		Long: `Walks through each hardening area of a kubeadm node, shows the exact diff of every change,
applies it with backup and health gates, and undoes it.

Without a command it opens the terminal UI, which looks only until apply is confirmed.`,
		Example: `  kubectl-harden demo                      the whole walk on a built-in sandbox, harmless
  sudo kubectl-harden                      the walk on this control-plane node
  sudo kubectl-harden assess
  sudo kubectl-harden plan --all
  sudo kubectl-harden apply --all --yes
  sudo kubectl-harden rollback --yes`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return a.walk(cmd.Context()) },
	}
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name()}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	a.where.add(root.PersistentFlags())
	a.look.add(root.PersistentFlags())
	root.AddCommand(
		a.assessCommand(), a.planCommand(), a.applyCommand(), a.confirmCommand(), a.rollbackCommand(), a.recoverCommand(),
		a.historyCommand(), a.statusCommand(), a.demoCommand(), a.versionCommand(), a.completionCommand(),
	)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &hintedError{usagef("unknown command: %q", args[0]), []string{name() + " --help"}}
	}
	return nil
}

// atMost takes up to n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%s takes at most %d argument, not %q", cmd.Name(), n, args[n])
		}
		return nil
	}
}

// complain prints an error in one line, then its hints.
func (a *app) complain(err error) {
	var code *codeError
	if err == nil || errors.As(err, &code) {
		return
	}
	fmt.Fprintf(a.Err, "error: %s\n", inert(err.Error()))
	a.printHints(hints(err))
}

func (a *app) printHints(lines []string) {
	for _, h := range lines {
		fmt.Fprintf(a.Err, "hint: %s\n", inert(h))
	}
}

// meta is who does what with which binary, for the journal.
func (a *app) meta(command, reason string) backups.Meta {
	return backups.Meta{Command: command, Reason: reason, Who: whoami(), Binary: thisBinary()}
}

// open gives the engine for where the flags say.
func (a *app) open(ctx context.Context, command string) (*engine, error) {
	m, err := openMachine(ctx, a.where)
	if err != nil {
		return nil, err
	}
	return newEngine(m, a.areas, a.meta(command, a.sel.reason)), nil
}
