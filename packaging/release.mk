# What is given to users: make release, make man, make packages, make image. Everything lands in DIST.

DIST     ?= dist
ARCHS    ?= amd64 arm64
VERSION  ?= $(or $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null),v0.5.0-dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo ' modified')
NFPM     ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.1
HELM     ?= $(GO) run helm.sh/helm/v3/cmd/helm@v3.22.0

# The same commit, Go and VERSION give the same bytes, wherever they are built: no path, no time, no setting of the builder's
# own gets in. The commit is written in by us: the go command does not see it in every kind of checkout.
# An id of the build would hold the folder in which the headers of IBM MQ are.
RELEASE  = GOFLAGS= GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 GOOS=linux $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION) -X "main.builtFrom=$(COMMIT)"'
EPOCH   := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
BINARIES = $(ARCHS:%=$(DIST)/posthouse_linux_%) $(MQ_BINARY)

# With IBM MQ built in it needs a C compiler, and libc at run time; IBM's client is looked for when it is needed.
MQ_BINARY = $(if $(wildcard internal/mqi),$(patsubst %,$(DIST)/posthouse-mq_linux_%,$(filter amd64,$(ARCHS))))

.PHONY: release man completions packages image chart always

# make release: the programs for linux, and their checksums.
release: $(BINARIES)
	cd $(DIST) && sha256sum $(notdir $(BINARIES)) > SHA256SUMS && cat SHA256SUMS

$(DIST)/posthouse_linux_%: always
	CGO_ENABLED=0 GOARCH=$* $(RELEASE) -o $@ ./cmd/posthouse

$(DIST)/posthouse-mq_linux_%: always
	CGO_ENABLED=1 GOARCH=$* $(RELEASE) $(TAGS) -o $@ ./cmd/posthouse

# make man: a page for each command, compressed.
man:
	SOURCE_DATE_EPOCH=$(EPOCH) $(GO) test ./cmd/posthouse -count=1 -run '^TestManPages$$' -args -man $(abspath $(DIST))/man

completions:
	mkdir -p $(DIST)/completions
	$(GO) run ./cmd/posthouse completion bash > $(DIST)/completions/posthouse.bash
	$(GO) run ./cmd/posthouse completion zsh > $(DIST)/completions/_posthouse
	$(GO) run ./cmd/posthouse completion fish > $(DIST)/completions/posthouse.fish

# make packages: deb and rpm of what make release builds.
packages: release man completions
	$(foreach b,$(BINARIES),$(foreach as,deb rpm,$(call package,$(subst _linux_, ,$(notdir $(b))),$(as)))) true

# package, of a program's name and architecture, in a format
package = DIST=$(DIST) SOURCE_DATE_EPOCH=$(EPOCH) PACKAGE=$(word 1,$(1)) ARCH=$(word 2,$(1)) VERSION=$(VERSION) \
	$(if $(filter posthouse,$(word 1,$(1))),OTHER=posthouse-mq,OTHER=posthouse DEB_LIBC=libc6 RPM_LIBC=glibc) $(NFPM) package -f packaging/nfpm.yaml -p $(2) -t $(DIST) &&$(space)
space   = $(empty) $(empty)

# make image: the container image, where there is a docker daemon.
image:
	docker build -f packaging/docker/Dockerfile --build-arg VERSION=$(VERSION) --build-arg COMMIT='$(COMMIT)' -t posthouse:$(VERSION) .

# make chart: the Helm chart, linted and rendered with its defaults.
chart:
	$(HELM) lint packaging/helm/posthouse
	$(HELM) template --kube-version 1.31.0 posthouse packaging/helm/posthouse
