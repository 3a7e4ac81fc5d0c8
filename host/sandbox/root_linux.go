package sandbox

import "kubectl-harden.io/kubectl-harden/host"

func openRoot(dir string) (root, error) { return host.OpenRoot(dir) }
