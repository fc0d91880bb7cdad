# Everything a fresh Debian machine with Go and make needs. CGO is off: one
# static binary, the same for Linux, macOS and Windows.
export CGO_ENABLED = 0
GO ?= go
PKGS = ./...
# How long each fuzz target runs: a time, or a number of inputs (2000x). With a
# time, the Go tool now and then calls its own deadline a failure.
FUZZTIME ?= 2000x
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build test lint fuzz docs bench cross clean

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
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

# Pages that the program prints; a test keeps them as they are printed.
docs: build
	bin/forensics rules --format markdown > docs/conditions.md
	bin/forensics rules --format dot > docs/conditions.dot
	bin/forensics rules --facts --format markdown > docs/facts.md

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

cross:
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/forensics
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/forensics

clean:
	rm -rf bin
