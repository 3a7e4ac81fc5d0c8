// Command harmful is kubectl-harden with one area more: controls that break things, each in its own way. The lab's tests ask
// of it what no control of the catalogue ever asks. It is no part of the product and is installed on no cluster but the lab's.
package main

import (
	"context"
	"os"

	"kubectl-harden.io/kubectl-harden/cli"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

func main() {
	program := cli.Program{Areas: append(catalog.Areas(), area())}
	os.Exit(program.Run(context.Background(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
}
