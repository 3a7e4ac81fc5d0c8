module kubectl-harden.io/kubectl-harden/lab/parts/netpolicy

go 1.26.0
