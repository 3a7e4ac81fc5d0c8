package cli

import "github.com/spf13/cobra"

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "The whole walk on a built-in sandbox node, harmless", Args: atMost(0)}
}
