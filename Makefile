# What a contributor needs. `make` alone says what there is.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME   ?= 30s

.PHONY: docs help build test proofs race lint fuzz bench demo

help:
	@echo 'make build    the program, static'
	@echo 'make test     all tests'
	@echo 'make proofs   the crash, fault and loss tests, with their counts'
	@echo 'make race     all tests under the race detector'
	@echo 'make lint     gofmt, go vet for each system, staticcheck, govulncheck where its database is reachable'
	@echo 'make fuzz     each fuzz target for FUZZTIME ($(FUZZTIME))'
	@echo 'make bench    benchmarks'
	@echo 'make docs     docs/controls.md, from the catalogue'
	@echo 'make demo     the whole walk on the sandbox, without questions'
	@echo 'make lab-up   a real cluster on this machine (root; see docs/lab.md)'
	@echo 'make e2e      everything that is promised, seen on real clusters (root)'

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o kubectl-harden .

test:
	go test -timeout 30m ./...

# Every kill, fault and lost write that the store and the applier are brought through, counted: after lost writes
# a sample of the states beside the other tests, then all of them.
proofs:
	@out=$$(mktemp); \
	go test -count=1 -v -timeout 30m -run 'Kill|Fault|Loss|Dies|Death|Dead|Restore|Journal' ./backups ./harden/apply >$$out 2>&1 && \
	go test -count=1 -v -timeout 60m -run '^TestLoss$$' ./backups -every-state >>$$out 2>&1; status=$$?; \
	grep -E '^(--- |ok|FAIL)|^ +[a-z_]+_test.go:[0-9]+: ' $$out; rm $$out; exit $$status

race:
	go test -race ./...

lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "gofmt: $$bad"; exit 1; fi
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...
	go run $(STATICCHECK) ./...
	@if go run $(GOVULNCHECK) -version >/dev/null 2>&1 && curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; \
	then go run $(GOVULNCHECK) ./...; else echo 'govulncheck: NOT RUN, its database cannot be reached from here'; fi

# One target after the other: go test fuzzes one at a time. Now and then it reports its own deadline as a failure, of no input: that is
# the end of the time, and nothing that was found.
fuzz:
	@out=$$(mktemp); go list ./... | while read -r pkg; do \
	  go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' | while read -r target; do \
	    echo "fuzz $$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "$$pkg" >$$out 2>&1; status=$$?; cat $$out; \
	    if [ $$status -ne 0 ] && ! { grep -A1 '^--- FAIL' $$out | grep -qx '    context deadline exceeded' && ! grep -q 'Failing input' $$out; }; then exit 1; fi; \
	  done || exit 1; \
	done; status=$$?; rm -f $$out; exit $$status

bench:
	go test -run '^$$' -bench . -benchmem ./...

docs:
	go test . -run TestControlsAreDocumented -update

demo:
	go run . demo --yes

include lab/lab.mk
