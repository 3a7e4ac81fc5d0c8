module kubectl-harden.io/kubectl-harden/lab

go 1.26.0
