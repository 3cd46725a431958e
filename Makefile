# Building, running and testing need Go only. `make lint` and `make gen` use the
# development tools pinned in .ci/tools; `make race` needs a C compiler.
GO      ?= go
TOOL    := $(GO) tool -modfile=.ci/tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
CC      ?= cc
CROSS   ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
ROUNDS  ?= 50
SEED    ?= 1
HUBS    ?= 1
CROWD   ?= 100,10000
SCHEDULES ?= 50
MESSAGES  ?= 1000
OUTAGE  ?= 60s

.DEFAULT_GOAL := help

help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/wildcat and the example connector
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/wildcat ./examples/connector-go

test: ## Run all tests: conformance suites, stories through the real binary, the short crash story
	$(GO) test -timeout 10m ./...

test-mongo: ## Run the MongoDB engine's tests against MONGODB_URI (WILDCAT_MONGO_LARGE=1: with 64 files of 64 MB and one of 2 GB)
	@test -n "$(MONGODB_URI)" || { echo "set MONGODB_URI, such as mongodb://127.0.0.1:27017; databases named wildcat_test_* are made and dropped"; exit 1; }
	MONGODB_URI='$(MONGODB_URI)' REQUIRE_MONGO=1 $(GO) test -count=1 -timeout 30m $(MONGOFLAGS) ./core/store/mongo/ ./core/devices/... ./core/account/

RACEPKGS ?= ./...
# The detector's check of pointers is left out of SQLite, which is C translated to Go: it costs a sixth of the whole.
race: ## Run all tests under the race detector (needs cgo and a C compiler: cc, or CC=...)
	GORACE='suppressions=$(CURDIR)/.ci/race.suppressions' CGO_ENABLED=1 CC=$(CC) $(GO) test -race -gcflags=modernc.org/...=-d=checkptr=0 -timeout 20m $(RACEFLAGS) $(RACEPKGS)

lint: ## Check formatting, style and the layers
	$(TOOL) golangci-lint run ./...

fmt: ## Format the code
	$(TOOL) golangci-lint fmt ./...

gen: ## Regenerate what is generated (the connector protocol)
	$(GO) generate ./...

bench: ## Measure against floors taken in the same run; prints a table and writes bench.json
	$(GO) run ./cmd/wildcat-bench -out bench.json

crash: ## Kill the real hub at every named point and at random (ROUNDS, SEED, DATABASE=mongodb://..., HUBS=3: several on that database)
	@test "$(HUBS)" = 1 || test -n "$(DATABASE)" || { echo "several hubs share a DATABASE=mongodb://..."; exit 1; }
	WILDCAT_CRASH_DATABASE='$(DATABASE)' WILDCAT_CRASH_HUBS=$(HUBS) WILDCAT_CRASH_ROUNDS=$(ROUNDS) WILDCAT_CRASH_SEED=$(SEED) \
		$(GO) test -count=1 -timeout 80m -run '$(if $(filter 1,$(HUBS)),^TestCrashStory(SeesDeliberateFaults)?$$,SeveralHubs|WasStopped)' -v ./core/app/crash/

outage: ## Take the database away from the real hub in five ways, a minute each (OUTAGE=60s, MONGODB_URI)
	@test -n "$(MONGODB_URI)" || { echo "set MONGODB_URI, such as mongodb://127.0.0.1:27017; databases named wildcat_test_* are made and dropped"; exit 1; }
	MONGODB_URI='$(MONGODB_URI)' REQUIRE_MONGO=1 WILDCAT_OUTAGE=$(OUTAGE) $(GO) test -count=1 -timeout 30m -parallel 8 -run 'Outages|HubsThatLost' -v ./core/app/

crowd: ## Let 100 simulated accounts exchange 10,000 messages (CROWD=ACCOUNTS,MESSAGES)
	SIMULATOR_CROWD=$(CROWD) $(GO) test -count=1 -timeout 30m -run 'Crowd' -v ./core/simulator/

soak: ## Run random fault schedules of the simulator (SCHEDULES, SEED, MESSAGES); a seed makes its schedule again
	WILDCAT_SOAK_SCHEDULES=$(SCHEDULES) WILDCAT_SOAK_SEED=$(SEED) WILDCAT_SOAK_MESSAGES=$(MESSAGES) \
		$(GO) test -count=1 -timeout 120m -parallel 16 -v ./core/simulator/soak/

demo: ## See the main job work, end to end, with no phone (DEMOFLAGS=--database=mongodb://... stores there)
	$(GO) run ./cmd/wildcat demo $(DEMOFLAGS)

deploy-schema: ## Read deploy/ with the types of Kubernetes and of compose (a module of its own; ./deploy is checked by make test)
	$(GO) -C deploy/schema mod tidy -diff
	$(GO) -C deploy/schema test ./...

cross: ## Build for every supported platform (CROSS names others)
	@for t in $(CROSS); do \
		echo "build $$t"; CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build $(CROSSFLAGS) -o /dev/null ./cmd/wildcat || exit 1; \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build $(CROSSFLAGS) ./sdk/... ./examples/... || exit 1; done

vuln: ## Check for known vulnerabilities (needs the network)
	$(TOOL) govulncheck ./...

.PHONY: help build test test-mongo race lint fmt gen bench crash outage crowd soak demo deploy-schema cross vuln
