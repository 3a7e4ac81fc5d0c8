package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Version is set when a release is built (-ldflags "-X ...cli.Version=v1.2.3").
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "The version of this program", Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "kubectl-harden %s %s/%s\n", version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// thisBinary names the running program by version and digest.
func thisBinary() backups.Binary {
	b := backups.Binary{Version: version()}
	path, err := os.Executable()
	if err != nil {
		return b
	}
	f, err := os.Open(path)
	if err != nil {
		return b
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err == nil {
		b.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	return b
}

func whoami() backups.Who {
	w := backups.Who{SudoUser: os.Getenv("SUDO_USER"), LoginUID: loginUID()}
	if u, err := user.Current(); err == nil {
		w.User = u.Username
	}
	return w
}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "A completion script for bash, zsh, fish or powershell",
		Long: `A completion script for bash, zsh, fish or powershell.

For "kubectl harden", kubectl looks for an executable kubectl_complete-harden in the PATH:

  #!/bin/sh
  exec kubectl-harden __complete "$@"`,
		Example: `  kubectl-harden completion bash > /etc/bash_completion.d/kubectl-harden`,
		Args:    exactlyOne("SHELL"), ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			}
			return usagef("SHELL is bash, zsh, fish or powershell, not %q", args[0])
		},
	}
}

// loginUID is who logged in at the beginning of the session, whatever sudo made of it since; empty where it is not kept.
func loginUID() string {
	data, err := os.ReadFile("/proc/self/loginuid")
	if err != nil || strings.HasPrefix(string(data), "4294967295") {
		return ""
	}
	return strings.TrimSpace(string(data))
}
