# carl: build, check, test, show. `make build` and `make demo` need Go alone;
# `make test` and `make wit` also need the tools that `.ci/run` installs.

GO      ?= go
BIN     := bin/carl
BUILT   := plugins/built
GUEST   := GOOS=wasip1 GOARCH=wasm $(GO) build -trimpath -buildvcs=false -buildmode=c-shared -ldflags="-s -w"
# Without cgo the command needs no C library, here or where it is copied to.
HOST    := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
FUZZ    ?= 10s
BENCH   ?= .

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
JCO         := @bytecodealliance/jco@1.35.0

.PHONY: build plugins test race check fuzz bench demo wit install clean

build: plugins
	$(HOST) -o $(BIN) ./cmd/carl

# The bundled plugins, as wasm, where the command embeds them from.
plugins:
	$(GUEST) -o $(BUILT)/axon.wasm ./plugins/axon
	$(GUEST) -o $(BUILT)/forward-camp.wasm ./plugins/forward/camp
	$(GUEST) -o $(BUILT)/forward-jsonl.wasm ./plugins/forward/jsonl
	$(GUEST) -o $(BUILT)/slime.wasm ./plugins/slime

install: build
	install -d $(DESTDIR)$(or $(PREFIX),/usr/local)/bin
	install -m 0755 $(BIN) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/carl

# A Go guest takes ten times as long to compile under the race detector, so
# the packages that run wasm are tested without it, and all others with it.
# Allocations are counted without the detector as well.
PLAIN_TESTS := ./host/plugin/wasm/... ./plugins/... ./cmd/... ./host ./host/redact
test: plugins race
	$(GO) test -timeout 30m $(PLAIN_TESTS)

race: plugins
	$(GO) test -race -timeout 30m $$($(GO) list ./... | grep -vE '/host/plugin/wasm|/plugins|/cmd/|/carl/host$$')
	$(GO) test -race -timeout 30m -run 'Record|OnStep|Open' ./host

check:
	@sh .ci/check "$(GO)" "$(STATICCHECK)" "$(GOVULNCHECK)"

# Each fuzz target for a moment: a smoke test of the targets, not a campaign.
fuzz:
	@sh .ci/fuzz "$(GO)" "$(FUZZ)"

bench: build
	$(GO) run -C host/bench . -bench '$(BENCH)' -json ../../bin/bench.json

demo: build
	@$(GO) run ./examples/demo $(BIN)

# The contract must parse with the Bytecode Alliance's tools.
wit: plugins
	@sh .ci/wit "$(JCO)"

clean:
	rm -rf bin .cache $(BUILT)/*.wasm
