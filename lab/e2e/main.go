//go:build linux

// Command e2e proves on a real cluster what the product promises: it builds the product, starts clusters of its own, goes
// through the scenarios, and ends with a table of what they came to and of what was measured. What it believes is what the
// cluster shows; what the product says of itself is only compared with that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// options are the command line.
type options struct {
	name, kubernetes, logs string
	summary                string
	kubeBench              string
	only                   *regexp.Regexp
	full, keep, retry      bool
	within, beginWithin    time.Duration
	parallel               int
	seed                   uint64
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		if err := agent(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var o options
	var only string
	list := false
	flags := flag.NewFlagSet("e2e", flag.ContinueOnError)
	flags.StringVar(&only, "run", "", "only scenarios whose name matches the `pattern`, and long ones as well")
	flags.BoolVar(&list, "list", false, "list the scenarios")
	flags.BoolVar(&o.full, "full", false, "the long scenarios too, and kill at every line of the journal, not at a choice of them: hours")
	flags.BoolVar(&o.keep, "keep", false, "leave the last cluster running")
	flags.BoolVar(&o.retry, "retry", false, "try a scenario that fails once more, on a cluster as new; the table says so")
	flags.DurationVar(&o.within, "within", 0, "`time` for everything, builds included; what is not over by then has failed")
	flags.DurationVar(&o.beginWithin, "begin-within", 0, "`time` after which no scenario is begun any more: what is left is said, and is no failure")
	flags.IntVar(&o.parallel, "parallel", 2, "how many scenarios that measure nothing run at the same time, each on a `cluster` of its own")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`seed` of what is random; it is printed")
	flags.StringVar(&o.name, "name", "e2e", "the cluster's `name`")
	flags.StringVar(&o.kubernetes, "kubernetes", "", "the Kubernetes `version`: "+strings.Join(lab.Versions(), " or "))
	flags.StringVar(&o.logs, "logs", "e2e-logs", "`folder` for what is kept of scenarios that fail")
	flags.StringVar(&o.summary, "summary", "", "`file` to write the last lines of the table to: which scenarios passed, failed, were not begun")
	flags.StringVar(&o.kubeBench, "kube-bench", "", "`folder` with kube-bench's program and its cfg, for the scenario with a scanner that is not ours")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	pattern, err := regexp.Compile(only)
	if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "e2e:", errors.Join(err, fmt.Errorf("unexpected: %q", flags.Args())))
		return 2
	}
	if o.kubernetes != "" && !slices.ContainsFunc(lab.Versions(), func(v string) bool { return v == o.kubernetes || strings.HasPrefix(v, "v"+o.kubernetes+".") }) {
		fmt.Fprintf(os.Stderr, "e2e: no Kubernetes %q: there is %s\n", o.kubernetes, strings.Join(lab.Versions(), " and "))
		return 2
	}
	o.only = pattern
	chosen := slices.DeleteFunc(scenarios(), func(s scenario) bool { return !o.only.MatchString(s.name) })
	if list {
		for _, s := range chosen {
			fmt.Printf("%-16s %s\n", s.name, s.proves)
			if s.long != "" {
				fmt.Printf("%-16s   left out without -full or -run: %s\n", "", s.long)
			}
		}
		return 0
	}
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "e2e: no scenario matches %q\nhint: -list names them\n", only)
		return 2
	}
	if o.logs, err = filepath.Abs(o.logs); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &runner{options: o, started: time.Now()}
	return r.run(ctx, chosen)
}
