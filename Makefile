# Everything a fresh Debian machine with Go and make needs. CGO is off: one
# static binary, the same for Linux, macOS and Windows.
export CGO_ENABLED = 0
GO ?= go
PKGS = ./...
# How long each fuzz target runs: a time, or a number of inputs (2000x). With a
# time, the Go tool now and then calls its own deadline a failure.
FUZZTIME ?= 2000x
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0

# The bootable test image, and where its slow parts are kept.
TESTIMAGE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/forensics-testimage
TESTIMAGE ?= $(TESTIMAGE_CACHE)/testimage.iso
# What is fuzzed long, and how long each target.
PROOF_PKGS ?= analyzers/iso analyzers/iso/squashfs analyzers/iso/initrd analyzers/journal/native analyzers/journal analyzers/units/unitfile analyzers/bundle/archive
PROOFTIME ?= 10m

.PHONY: build test race lint fuzz proof docs bench cross testimage e2e clean

build:
	$(GO) build -trimpath -o bin/forensics ./cmd/forensics

test:
	$(GO) test $(PKGS)

# The race detector needs cgo and a C compiler.
race:
	CGO_ENABLED=1 $(GO) test -race $(PKGS)

lint:
	@out=$$(gofmt -l analyzers cmd rules corpus); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PKGS)
	$(GO) run $(STATICCHECK) $(PKGS)

# Each fuzz target with FUZZTIME.
fuzz:
	@for pkg in $$($(GO) list $(PKGS)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; \
	done

# Each fuzz target of PROOF_PKGS for PROOFTIME, and a table. A failing input
# stops it and is named; a run that only ended by its own deadline does not.
proof:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	printf '%-32s %-16s %14s %12s\n' package target executions interesting; \
	for pkg in $(PROOF_PKGS); do \
	  targets=$$($(GO) test -list '^Fuzz' ./$$pkg) || { echo "$$targets"; exit 1; }; \
	  for f in $$(echo "$$targets" | grep '^Fuzz'); do \
	    if ! $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(PROOFTIME) -fuzzminimizetime 10x ./$$pkg >"$$log" 2>&1; then \
	      if grep -q 'Failing input written' "$$log" || ! grep -q 'context deadline exceeded' "$$log"; then \
	        cat "$$log"; exit 1; \
	      fi; \
	    fi; \
	    sed -n 's/^fuzz: elapsed: .* execs: \([0-9]*\) .* new interesting: \([0-9]*\) .*/\1 \2/p' "$$log" | tail -n 1 \
	      | { read -r execs new || true; printf '%-32s %-16s %14s %12s\n' "$$pkg" "$$f" "$$execs" "$$new"; }; \
	  done; \
	done

# Pages that the program prints; a test keeps them as they are printed.
docs: build
	bin/forensics rules --format markdown > docs/conditions.md
	bin/forensics rules --format dot > docs/conditions.dot
	bin/forensics rules --facts --format markdown > docs/facts.md

# Medians of five runs, each with its ratio to the first of its group: where
# that is ours, 2.00 means that the peer took twice as long.
bench:
	$(GO) test -run '^$$' -bench . -benchmem -count 5 $(PKGS) >bench.out || { cat bench.out; exit 1; }
	awk -f .ci/medians.awk bench.out

cross:
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/forensics
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/forensics

# The bootable image: three minutes on a machine that never made it, nothing
# when it is newer than its sources. Needs root on Debian 12.
testimage: $(TESTIMAGE)

TESTIMAGE_SOURCES = $(shell find corpus/testimage -type f ! -name README.md ! -name record.py)

$(TESTIMAGE): $(TESTIMAGE_SOURCES)
	TESTIMAGE_CACHE='$(TESTIMAGE_CACHE)' corpus/testimage/build.sh '$@'

# Boots the image under software emulation, healthy and with faults, and judges
# the program by what was injected. E2E_BOOTS chooses boots by a regular
# expression (healthy|disk-sda), E2E_OUTPUT=DIR keeps the bundles.
E2E_BOOTS ?= .
e2e: build testimage
	FORENSICS='$(CURDIR)/bin/forensics' TESTIMAGE='$(abspath $(TESTIMAGE))' TESTIMAGE_CACHE='$(TESTIMAGE_CACHE)' \
	  $(GO) test -tags e2e -count 1 -timeout 40m -parallel 2 -v -run '^TestEndToEnd$$/^(boot|diff)$$/($(E2E_BOOTS))|^TestCaptureInterrupted$$' ./cmd/forensics

clean:
	rm -rf bin bench.out
