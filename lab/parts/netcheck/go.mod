module kubectl-harden.io/kubectl-harden/lab/parts/netcheck

go 1.26.0
