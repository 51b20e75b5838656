#!/usr/bin/env bash
# corpus.sh: fetches the test corpus (eBPF objects and kernel BTF out of Debian's packages) into the cache.
# The program decides what to fetch and carves it; what it asks apt for is in scripts/debian.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"
exec cargo run --quiet --locked -p bpf-oracle --bin corpus
