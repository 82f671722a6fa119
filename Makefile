# The commands of README and CI. Real brokers are started by internal/testbed on free loopback ports.
GO         ?= go
TESTBED     = $(GO) run ./internal/testbed
TESTFLAGS  ?= -race -count=1 -p 2 -timeout 20m -artifacts -outputdir $(CURDIR)/bin
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0

# IBM MQ is behind a tag: the binding is C and includes headers by name, which are ours (internal/mqi). With a client of
# IBM's on this machine the linker would find its library too; it is not needed and left out.
TAGS        = -tags ibmmq
export CGO_CFLAGS  := $(or $(CGO_CFLAGS),-g -O2) -I$(CURDIR)/internal/mqi/include
export CGO_LDFLAGS := $(or $(CGO_LDFLAGS),-g -O2) -Wl,--as-needed

.DEFAULT_GOAL := test
.PHONY: build test test-mq bench-mq lint check bench bench-spool brokers mutants crash faults

# make test: all tests, with every broker that can be had here; one line per broker at the end.
test:
	@mkdir -p bin # pictures of the console stay in bin/_artifacts
	$(TESTBED) test -- $(TESTFLAGS) $(TAGS) ./...

# make build: the program, ./posthouse, with every adapter. It needs a C compiler; go build ./cmd/posthouse does not, and
# leaves IBM MQ out.
build:
	$(GO) build $(TAGS) ./cmd/posthouse

# make test-mq: the tests of the IBM MQ adapter: against the stand-in, or the queue manager that POSTHOUSE_MQ_ADDRESS names.
test-mq:
	$(GO) test -race -count=1 $(TAGS) ./adapters/ibmmq

# make bench-mq: units of work at the stand-in of IBM MQ.
bench-mq:
	$(GO) test -run '^$$' -bench . -benchtime 5000x -count 3 $(TAGS) ./adapters/ibmmq

# make lint: what reads the code. Fast red first.
lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	CGO_ENABLED=0 $(GO) vet ./...
	$(GO) vet $(TAGS) ./...
	$(STATICCHECK) $(TAGS) ./...

# make check: what CI runs (lint, test), and a short fuzz of every parser of foreign input.
check: lint test
	$(TESTBED) fuzz -time 5s ./...

# make bench: figures, outside of the tests.
bench:
	$(TESTBED) run -brokers artemis,artemis2,kafka -- $(GO) run ./internal/bench -only '$(BENCHONLY)'

# make bench-spool: the journal against its disk, a log library and a broker, then lanes that use it on real brokers (a
# backlog of 5 GB with LANEFLAGS=-full); some minutes and gigabytes.
bench-spool:
	$(GO) run ./internal/benchspool $(BENCHFLAGS)
	$(TESTBED) run -brokers artemis,artemis2 -- $(GO) run ./internal/bench -spool $(LANEFLAGS)

# make brokers: download what the brokers need, start nothing.
brokers:
	$(TESTBED) fetch

# make mutants: plant one bug at a time in the journal and in the engine; their tests must find each by name.
mutants:
	$(GO) test ./internal/mutants -count=1 -v

# make faults: the daemon killed at every crash point and everything around it broken, under load, with a table at the end: once
# between NATS servers, once between real brokers. FAULTFLAGS="-duration 30m" for a long one that changes between them, "-seed N" for the schedule of another run, "-only C13" for some faults only.
faults:
	$(TESTBED) run -brokers artemis,kafka,rabbitmq4 -- $(GO) test ./internal/faults -count=1 -v -timeout 0 -run '^TestStorm|^TestC22$$' -args $(FAULTFLAGS)

# make crash: 100,000 power failures of a disk in memory, in half a minute on two processors.
crash:
	$(GO) test ./spool -count=1 -run 'TestCrashSeeds$$' -v -args -seeds 100000

# make release, make man, make packages, make image, make chart
include packaging/release.mk
