package cli

import "testing"

// TestAnOlderKubectlWasNotSeen: it leaves no word of its own; what called it does. A program that was called by its name, as a
// shell calls it, was called by no kubectl.
func TestAnOlderKubectlWasNotSeen(t *testing.T) {
	for name, tt := range map[string]struct{ by, sudo, shell, want string }{
		"by sudo":              {sudo: "/usr/bin/kubectl harden plan --all", shell: "/usr/bin/sudo", want: "kubectl harden"},
		"by a shell":           {shell: "/usr/local/bin/kubectl", want: "kubectl harden"},
		"newer":                {by: "/opt/kubectl-1.37", want: "kubectl harden"},
		"by sudo, as a plugin": {sudo: "/usr/local/bin/kubectl-harden plan", want: program},
		"in sudo's shell":      {sudo: "/bin/bash", shell: "/usr/local/bin/kubectl-harden", want: program},
		"by nobody":            {want: program},
	} {
		t.Setenv("KUBECTL_PATH", tt.by)
		t.Setenv("SUDO_COMMAND", tt.sudo)
		t.Setenv("_", tt.shell)
		if got := nameOf("/usr/local/bin/elsewhere"); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	t.Setenv("KUBECTL_PATH", "") // rows come in any order
	t.Setenv("SUDO_COMMAND", "")
	t.Setenv("_", "/usr/bin/kubectl")
	if got := nameOf(program); got != program {
		t.Errorf("called by its name: %q", got)
	}
}
