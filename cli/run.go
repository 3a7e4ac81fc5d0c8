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
	collectLate()
	return Program{Areas: catalog.Areas()}.Run(ctx, streams, args)
}

// Program is the command line over a catalogue.
type Program struct{ Areas []harden.Area }

// Run is Run with the program's own catalogue.
func (p Program) Run(ctx context.Context, streams Streams, args []string) int {
	ctx, stop := untilSignal(ctx)
	defer stop()
	surviveClosedPipes()
	out := &output{w: streams.Out}
	a := &app{Streams: Streams{In: streams.In, Out: out, Err: streams.Err}, stdout: streams.Out, areas: p.Areas, args: args}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(out)
	root.SetErr(streams.Err)
	err := plainly(ctx, root.ExecuteContext(ctx))
	if out.lost() && (exitCode(err) == exitDone || errors.Is(err, syscall.EPIPE)) {
		return exitError
	}
	if exitCode(err) == exitDone && out.err != nil {
		err = fmt.Errorf("writing the output: %w", cause(out.err))
	}
	a.complain(err)
	return exitCode(err)
}

// untilSignal ends with the first signal that ends a program. Of a hangup its cause is errHangup: what an applier of its own
// does goes on then, and only what is done in this process is undone.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				cancel(errHangup)
			}
			cancel(context.Canceled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(context.Canceled) }
}

// app is what the commands share.
type app struct {
	Streams
	stdout io.Writer // as it was given, for the UI
	args   []string
	areas  []harden.Area
	where  whereFlags
	look   lookFlags
	sel    selectFlags
	// unread are the components that were selected and cannot be read.
	unread []harden.ComponentID
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-harden",
		Short: "Harden a Kubernetes cluster without fear",
		Long: `Walks through each hardening area of a kubeadm node, shows the exact diff of every change,
applies it with backup and health gates, and undoes it.

Without a command it opens the terminal UI, which looks only until apply is confirmed.

Exit codes:
` + exitText(),
		Example: `  kubectl-harden demo                      the whole walk on a built-in sandbox, harmless
  sudo kubectl-harden                      the walk on this control-plane node
  sudo kubectl-harden --file FILE          the walk, begun with what was chosen in another
  sudo kubectl-harden assess
  sudo kubectl-harden plan --all
  sudo kubectl-harden apply --all --yes
  sudo kubectl-harden rollback --yes`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := a.look.check(); err != nil {
				return err
			}
			return a.where.check()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.walk(cmd.Context()) },
	}
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name()}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	a.where.add(root.PersistentFlags())
	a.look.add(root.PersistentFlags())
	a.sel.add(root.Flags())
	root.AddCommand(
		a.assessCommand(), a.planCommand(), a.applyCommand(), a.confirmCommand(), a.rollbackCommand(), a.recoverCommand(),
		a.historyCommand(), a.statusCommand(), a.waiveCommand(), a.demoCommand(), a.versionCommand(), a.completionCommand(),
		a.switchCommand(), a.applierCommand(), a.fenceCommand(),
	)
	for _, cmd := range append(root.Commands(), root) {
		a.completeFlags(cmd)
		cmd.Example = strings.ReplaceAll(cmd.Example, program, name())
	}
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		hint := program + " --help"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, ", ") + "?"
		}
		return &hintedError{err: usagef("unknown command: %q", args[0]), hints: []string{hint}}
	}
	return nil
}

// exactlyOne takes one argument.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s wants one %s, not %d", cmd.Name(), what, len(args))
		}
		return nil
	}
}

// atMost takes up to n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			if n == 0 {
				return usagef("%s takes no argument, not %q", cmd.Name(), args[0])
			}
			return usagef("%s takes at most one argument, not %q too", cmd.Name(), args[n])
		}
		return nil
	}
}

func exitText() string {
	var b strings.Builder
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "  %2d  %s\n", e.code, e.means)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// complain prints an error in one line, then its hints.
func (a *app) complain(err error) {
	var code *codeError
	if err == nil || errors.As(err, &code) {
		return
	}
	fmt.Fprintf(a.Err, "error: %s\n", sentence(err.Error()))
	a.printHints(a.hints(err))
	if whole := a.wholeHint(err); whole != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", oneLine(whole))
	}
}

func (a *app) printHints(lines []string) {
	for _, h := range lines {
		if h = a.where.pasteable(h); h != "" {
			fmt.Fprintf(a.Err, "hint: %s\n", sentence(h))
		}
	}
}

// meta is who does what with which binary, for the journal.
func (a *app) meta(command, reason string) backups.Meta {
	return backups.Meta{Command: command, Reason: reason, Who: whoami(), Binary: backups.Binary{Version: version()}}
}

// open gives the engine for where the flags say.
func (a *app) open(command string) (*engine, error) {
	m, err := a.openMachine()
	if err != nil {
		return nil, err
	}
	if m.cannotWrite != nil {
		m.cannotWrite = &hintedError{err: m.cannotWrite, whole: a.again()}
	}
	return newEngine(m, a.areas, a.meta(command, a.sel.reason)), nil
}
