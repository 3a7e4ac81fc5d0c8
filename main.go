// Command kubectl-harden hardens a Kubernetes cluster without fear.
package main

import (
	"context"
	"os"

	"kubectl-harden.io/kubectl-harden/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
}
