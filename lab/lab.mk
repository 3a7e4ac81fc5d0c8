# A real kubeadm cluster on this machine, as root. docs/lab.md says more.
#   make lab-up KUBERNETES=1.34     another version
#   make lab-up LAB_NAME=mine       another cluster beside the first
#   make lab-up NODES=cp1,cp2,cp3,w1   three control-plane nodes and a worker

LAB_NAME ?= lab
KUBERNETES ?=
NODES ?=
LAB = lab/bin/lab -name $(LAB_NAME)

.PHONY: lab-bin lab-up lab-status lab-shell lab-reset lab-down lab-test e2e

lab-bin:
	cd lab && CGO_ENABLED=0 go build -trimpath -o bin/lab ./cmd/lab

lab-up: lab-bin
	$(LAB) -kubernetes '$(KUBERNETES)' -nodes '$(NODES)' up

lab-status: lab-bin
	$(LAB) status

lab-shell: lab-bin
	$(LAB) shell

lab-reset: lab-bin
	$(LAB) reset

lab-down: lab-bin
	$(LAB) down

# What the product promises, seen on real clusters. docs/lab.md says more.
#   make e2e E2E=-list
#   make e2e E2E='-run kill -full -seed 7'
E2E ?=
e2e:
	cd lab && go vet ./... && go test ./... && go -C parts/netpolicy test ./... && CGO_ENABLED=0 go build -trimpath -o bin/e2e ./e2e && bin/e2e $(E2E)

# The lab's own tests. The first run builds Kubernetes: minutes.
lab-test:
	cd lab && go vet -tags lab ./... && go test -tags lab -timeout 60m -count 1 ./...
