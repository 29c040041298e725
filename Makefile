# `make` lists the targets; CONTRIBUTING.md has more on those for developers.

GO         ?= go
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SHAREDIR   ?= $(PREFIX)/share

VERSION := $(shell sh deploy/version.sh)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
STAMPS  := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# The time of everything that is built, as reproducible-builds.org has it.
ifndef SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
endif
export SOURCE_DATE_EPOCH

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: build ## mirror Docker Hub on 127.0.0.1:5000, with no configuration
	bin/mirrord serve

.PHONY: demo
demo: build ## show what mirrord saves, in ten seconds; needs no Docker, no internet
	$(GO) build -trimpath -o bin/hubsim ./cmd/hubsim
	bin/hubsim demo --mirrord bin/mirrord

.PHONY: test
test: cc ## run all tests except e2e under the race detector (needs gcc)
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...
	$(GO) -C dashboards/generate test ./...
	$(GO) -C deploy/release test ./...
	$(GO) -C test/deploy test ./...

.PHONY: e2e
e2e: ## test with real clients, installing those missing (Debian, root)
	sh test/e2e/install.sh
	sh test/e2e/clients.sh
	sh test/e2e/trees.sh
	$(GO) test -tags e2e -count=1 -v -timeout 40m ./test/e2e/...

.PHONY: measure
measure: ## measure how long each client takes after a refusal, for docs/clients.md
	sh test/e2e/install.sh
	sh test/e2e/clients.sh
	E2E_MEASURE=1 $(GO) test -tags e2e -count=1 -v -timeout 60m -parallel 16 -run TestMeasure ./test/e2e

CRASH_ROUNDS ?= 200

.PHONY: crash
crash: cc ## kill mirrors 200 times under load; CRASH_SEED=N repeats a run
	CRASH_ROUNDS=$(CRASH_ROUNDS) CGO_ENABLED=1 $(GO) test -race -count=1 -v -timeout 30m -run TestCrash ./cmd/mirrord

.PHONY: docs
docs: ## write the pages that are made from the program: docs/verbs.md
	$(GO) test -count=1 -run TestVerbs ./cmd/mirrord -update

FUZZTIME ?= 30s

# Go 1.26 sometimes fails when the time is over (go.dev/issue/75804), hence the second
# try: a real finding was saved, and fails that one too.
.PHONY: fuzz
fuzz: ## run every fuzz target, FUZZTIME=30s each
	@set -e; fuzz() { $(GO) test -run '^$$' -fuzz "^$$2\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$1" </dev/null; }; \
	grep -r --include='*_test.go' '^func Fuzz' . | sed 's|/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*| \1|' | sort | \
	while read -r package target; do \
		echo "+ $$package $$target"; \
		fuzz "$$package" "$$target" || fuzz "$$package" "$$target"; \
	done

SOAK ?= 20m

.PHONY: soak
soak: build ## run a mixed load against the mirror for SOAK=20m
	SOAK=$(SOAK) SOAK_BINARY=$(CURDIR)/bin/mirrord $(GO) test -count=1 -v -timeout 2h -run TestSoak ./cmd/mirrord

.PHONY: nightly
nightly: crash fuzz soak ## crash, fuzz and soak: half an hour and more

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: tls
tls: build ## measure what TLS costs, beside nginx (taskset, Debian's nginx, two cores)
	$(GO) build -trimpath -o bin/bench-tls ./bench/tls
	bin/bench-tls

.PHONY: office
office: ## simulate two days in an office behind a pull limit, for docs/quota.md
	$(GO) test -count=1 -v -run TestOfficeDay ./test/officeday

.PHONY: fleet-sim
fleet-sim: ## simulate a thousand mirrors that pull one image, for docs/fleet.md
	FLEET_SIM=1000 $(GO) test -count=1 -v -timeout 30m ./test/fleetsim

.PHONY: dashboards
dashboards: ## write the dashboards for Grafana again, after a change of their generator
	cd dashboards/generate && $(GO) run .

.PHONY: lint
lint: ## run gofmt, go vet, staticcheck and govulncheck
	@files="$$(gofmt -l .)"; test -z "$$files" || { echo "not formatted, run gofmt -w:" $$files >&2; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e,man ./...
	$(GO) -C dashboards/generate vet ./...
	$(GO) -C deploy/release vet ./...
	$(GO) -C test/deploy vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool staticcheck -tags e2e,man ./...
	@$(MAKE) --no-print-directory vuln

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is called, if the database can be reached
	@found="$$($(GO) tool govulncheck $(VULNDB) ./... 2>&1)" || case "$$found" in \
		*"fetching vulnerabilities"*) echo "govulncheck: skipped, https://vuln.go.dev cannot be reached" ;; \
		*) echo "$$found" >&2; exit 1 ;; \
	esac

.PHONY: build
build: ## build the static binary bin/mirrord, and what is installed with it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w $(STAMPS)" -o bin/mirrord ./cmd/mirrord
	@touch bin/mirrord
	@$(MAKE) --no-print-directory bin/share

# What an installed binary is newer than: make install builds it again if it is not.
SOURCES := go.mod go.sum $(shell find cmd internal -type f ! -name '*_test.go' ! -path '*/testdata/*')

bin/mirrord: $(SOURCES) bin/stamps
	@$(MAKE) --no-print-directory build

# The file changes when the version does.
bin/stamps: FORCE
	@mkdir -p bin
	@echo '$(STAMPS)' | cmp -s - $@ || echo '$(STAMPS)' >$@

FORCE:

# Manual pages, completions and the sample configuration, by a build that runs here.
bin/share: $(SOURCES) bin/stamps
	@rm -rf $@ && mkdir -p $@/man $@/completions
	GOOS= GOARCH= CGO_ENABLED=0 $(GO) build -trimpath -tags man -ldflags "$(STAMPS)" -o bin/mirrord-man ./cmd/mirrord
	bin/mirrord-man man $@/man
	for shell in bash zsh fish; do bin/mirrord-man completion $$shell >$@/completions/mirrord.$$shell; done
	bin/mirrord-man config sample >$@/mirrord.yaml

.PHONY: install
install: bin/mirrord bin/share ## install it with its systemd units (PREFIX, DESTDIR)
	install -D -m 755 bin/mirrord $(DESTDIR)$(PREFIX)/bin/mirrord
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SHAREDIR)/man/man1
	for unit in $(UNITS); do \
		sed 's|/usr/local/bin/|$(PREFIX)/bin/|' deploy/systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit && \
		chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit; \
	done
	install -m 644 bin/share/man/* $(DESTDIR)$(SHAREDIR)/man/man1
	install -D -m 644 bin/share/completions/mirrord.bash $(DESTDIR)$(BASH_COMPLETION)
	install -D -m 644 bin/share/completions/mirrord.zsh $(DESTDIR)$(ZSH_COMPLETION)
	install -D -m 644 bin/share/completions/mirrord.fish $(DESTDIR)$(FISH_COMPLETION)
	test -e $(DESTDIR)$(SYSCONFDIR)/mirrord/mirrord.yaml || \
		install -D -m 644 bin/share/mirrord.yaml $(DESTDIR)$(SYSCONFDIR)/mirrord/mirrord.yaml

UNITS           := $(notdir $(wildcard deploy/systemd/mirrord.*))
BASH_COMPLETION := $(SHAREDIR)/bash-completion/completions/mirrord
ZSH_COMPLETION  := $(SHAREDIR)/zsh/site-functions/_mirrord
FISH_COMPLETION := $(SHAREDIR)/fish/vendor_completions.d/mirrord.fish

.PHONY: uninstall
uninstall: ## remove what make install has installed, but for the configuration
	rm -f $(DESTDIR)$(PREFIX)/bin/mirrord $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS)) \
		$(DESTDIR)$(SHAREDIR)/man/man1/mirrord.1 $(DESTDIR)$(SHAREDIR)/man/man1/mirrord-*.1 \
		$(addprefix $(DESTDIR),$(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))

# Files of a release have the version in their names, and are the same wherever they are
# built: see deploy/release.
PLATFORMS  ?= linux/amd64,linux/arm64
MAINTAINER ?= mirrord maintainers <maintainers@mirrord.example.org>

RELEASE = $(GO) -C deploy/release build -trimpath -buildvcs=false -o ../../bin/release . && \
	bin/release -version '$(VERSION)' -commit '$(COMMIT)' -ldflags '-s -w $(STAMPS)' -maintainer '$(MAINTAINER)' -platforms '$(PLATFORMS)'

.PHONY: packages
packages: bin/share ## build packages for Debian and Red Hat in dist (PLATFORMS, MAINTAINER)
	$(RELEASE) packages

.PHONY: image
image: bin/share ## build container images in dist (PLATFORMS)
	$(RELEASE) image

.PHONY: release
release: ## build packages, images, archives, SBOMs and checksums: VERSION=v0.x.y
	@test -z "$$(git status --porcelain)" || { echo "make release: commit your changes first" >&2; exit 1; }
	rm -rf dist
	@$(MAKE) --no-print-directory bin/share
	$(RELEASE) packages image archives sbom sums

.PHONY: clean
clean: ## remove what make has built
	rm -rf bin dist

.PHONY: cc
cc:
	@command -v "$$($(GO) env CC)" >/dev/null || \
		{ echo "the race detector needs a C compiler: apt-get install gcc libc6-dev" >&2; exit 1; }
