# A real kubeadm cluster on this machine, as root. docs/lab.md says more.
#   make lab-up KUBERNETES=1.34     another version
#   make lab-up LAB_NAME=mine       another cluster beside the first

LAB_NAME ?= lab
KUBERNETES ?=
LAB = lab/bin/lab -name $(LAB_NAME)

.PHONY: lab-bin lab-up lab-status lab-shell lab-reset lab-down lab-test

lab-bin:
	cd lab && CGO_ENABLED=0 go build -trimpath -o bin/lab ./cmd/lab

lab-up: lab-bin
	$(LAB) -kubernetes '$(KUBERNETES)' up

lab-status: lab-bin
	$(LAB) status

lab-shell: lab-bin
	$(LAB) shell

lab-reset: lab-bin
	$(LAB) reset

lab-down: lab-bin
	$(LAB) down

# The lab's own tests. The first run builds Kubernetes: minutes.
lab-test:
	cd lab && go vet -tags lab ./... && go test -tags lab -timeout 60m -count 1 ./...
