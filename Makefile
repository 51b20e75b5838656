# The commands of a developer. `make` alone explains them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help setup demo demo-cluster test e2e bench-btf fuzz fmt lint generate images tools corpus clean-cache

help: ## this text
	@echo "bpfleet: declare an eBPF program once, every node runs the build that fits its kernel"
	@echo
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo "New here? 'make demo' starts an API server, operator and agent on this machine, runs an example"
	@echo "in its kernel and removes it again (root; KEEP=1 leaves it up). 'make test' is what CI runs."

setup: ## install what is missing on a Debian machine (apt, Go); nothing if nothing is
	@scripts/setup.sh

demo: setup ## the whole way on this machine: kubectl apply to a program in the kernel (KEEP=1)
	@scripts/demo.sh

demo-cluster: setup ## a real cluster of two nodes: helm install, run, upgrade, uninstall (KEEP=1)
	@scripts/demo-cluster.sh

test: ## everything CI runs: format, clippy, generated files, unit and integration tests (root)
	@scripts/test.sh

e2e: ## what takes too long for CI: faults of nodes, parts and ways out in real clusters, every kernel (root)
	@scripts/e2e.sh

bench-btf: setup ## what the btf crate costs beside libbpf and bpftool, as one table (3 minutes)
	@scripts/bench-btf.sh

fuzz: setup ## ten minutes of inputs that nobody would write, for each reader of objects and BTF (more: scripts/fuzz.sh --help)
	@scripts/fuzz.sh

fmt: ## format the Rust code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: ## check format and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

generate: ## rewrite generated files: CRDs, the chart's values reference, rendered manifests (tests compare them)
	cargo run --quiet -p bpfleet-crds --bin crdgen -- charts/bpfleet/templates/crds
	cargo run --quiet -p bpfleet-crds --bin chartdoc -- charts/bpfleet
	scripts/render.sh

images: ## container images of operator and agent, into target/images (more: scripts/images.sh --help)
	@scripts/images.sh

tools: setup ## build the pinned Kubernetes, etcd and Helm commands into the cache
	@scripts/tools.sh all

corpus: setup ## fetch what tests compare with, eBPF objects and kernel BTF of Debian's, into the cache (once)
	@scripts/corpus.sh

clean-cache: ## remove the cache: built tools, test images, test corpus, guests' kernels, fuzzing inputs, fetched Go, CI's target directory
	@scripts/clean-cache.sh
