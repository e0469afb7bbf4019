# Every verb of the project. People and CI call the same ones. `make` lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-core test-system test-conformance test-systemd test-faults chaos fuzz build check fmt lint layers doc deny generated generate bench prepare toolchain clean

# Where rustup puts cargo, for a shell that was opened before.
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
CORES := -p skerry-terms -p skerry-agent-core -p skerry-controller-core
CRD_DIRS := charts/skerry/crds deploy/crds

help: ## lists the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## from a bare machine to a page served by an edge node, and leaves it running; KUBE=1: on a real kube-apiserver
	@deploy/demo.sh up $(if $(KUBE),--kube)

demo-down: ## ends everything that `make demo` started
	@deploy/demo.sh down

test: prepare ## all tests: pure, shells, the standalone API against the real one, conformance and the whole system on Docker
	@echo "==> building"
	@$(CARGO) build --workspace --bins --tests
	@echo "==> tests"
	@$(CARGO) test --workspace

test-core: ## the pure crates only: no Docker, no API server, a few seconds
	@$(CARGO) test --quiet $(CORES)

test-system: prepare ## the whole-system tests only; FILTER=name picks some
	@$(CARGO) test --workspace --test system -- $(FILTER)

test-conformance: prepare ## what Kubernetes promises of a pod, on real Docker; FILTER=name picks some
	@$(CARGO) test --workspace --test conformance -- $(FILTER)

test-faults: prepare ## the agent alone, with what it stands on broken under it; FILTER=name picks some
	@$(CARGO) test --workspace --test faults -- $(FILTER)

chaos: prepare ## faults at random; SEED=number plays a run again, STEPS=number says how long
	@SKERRY_CHAOS_SEED=$(or $(SEED),random) SKERRY_CHAOS_STEPS=$(or $(STEPS),2000) \
		$(CARGO) test --workspace --test faults -- chaos --nocapture

test-systemd: prepare ## the agent's unit, its upgrades and its installation under a real systemd; FILTER=name picks some
	@$(CARGO) test --workspace --test systemd -- $(FILTER)

fuzz: ## random input: requests to the standalone API, specs, expansions, every decoder of the agent; SECONDS=60 for each target, SEED=number for the same again
	@SKERRY_FUZZ_SECONDS=$(or $(SECONDS),60) $(if $(SEED),SKERRY_FUZZ_SEED=$(SEED)) $(CARGO) test --workspace --test fuzz
	@SKERRY_FUZZ_SECONDS=$(or $(SECONDS),60) $(if $(SEED),SKERRY_FUZZ_SEED=$(SEED)) $(CARGO) test --workspace --lib -- hurt

prepare: ## installs what the tests need: Docker Engine, busybox, a registry, libfaketime, nginx, mosquitto, kube-apiserver, etcd, kubectl and helm, debootstrap
	@tests/host/prepare.sh --docker --registry --faults --examples --go --clients --systemd
	@tests/host/test-image.sh >/dev/null
	@tests/host/systemd-image.sh >/dev/null
	@tests/kube/assets.sh >/dev/null
	@tests/kube/clients.sh >/dev/null

toolchain:
	@tests/host/prepare.sh

build: toolchain ## debug builds of both daemons
	@$(CARGO) build --workspace --bins

check: toolchain fmt lint layers doc deny generated ## everything that needs no running system

fmt: ## formatting
	@echo "==> fmt"
	@$(CARGO) fmt --all --check

lint: ## clippy, warnings are errors
	@echo "==> clippy"
	@$(CARGO) clippy --quiet --workspace --all-targets --all-features -- -D warnings

layers: ## proves that the pure crates know no IO, and that each library stays in its room
	@echo "==> layers"
	@tests/layers.sh

doc: ## documentation without warnings
	@echo "==> doc"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps --document-private-items

deny: ## licences, banned crates, sources (needs cargo-deny)
	@echo "==> deny"
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --log-level error check bans licenses sources; \
	else echo "cargo-deny is not installed, licences are not checked; get it: cargo install --locked cargo-deny"; fi

generated: ## fails when a generated file is not what its source gives
	@echo "==> generated files"
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(CARGO) run --quiet -p skerry-api --features kube --example generate-crds -- "$$tmp" && \
	for dir in $(CRD_DIRS); do diff -u "$$dir" "$$tmp" || { echo "run: make generate"; exit 1; }; done && \
	$(CARGO) run --quiet -p skerry-api --features kube --example generate-docs -- docs/podspec.md "$$tmp/podspec.md" && \
	{ diff -u docs/podspec.md "$$tmp/podspec.md" || { echo "run: make generate"; exit 1; }; }

generate: ## writes the generated files: the CRDs, and the tables of docs/podspec.md
	@$(CARGO) run --quiet -p skerry-api --features kube --example generate-crds -- $(CRD_DIRS)
	@$(CARGO) run --quiet -p skerry-api --features kube --example generate-docs -- docs/podspec.md docs/podspec.md

bench: prepare ## measures the budgets, prints a table, writes target/bench.json; ONLY=id,… picks some
	@echo "==> building for release"
	@$(CARGO) build --release -p skerry-controller
	@$(CARGO) build --profile agent -p skerry-agent
	@$(CARGO) build --release -p skerry-tests --bin skerry-bench
	@ln -f $(TARGET)/agent/skerry-agent $(TARGET)/release/skerry-agent
	@$(TARGET)/release/skerry-bench $(if $(ONLY),--only $(ONLY))

clean: demo-down ## removes the build
	@$(CARGO) clean
