#!/usr/bin/env bash
# e2e.sh: the tests that are too long for every change: e2e/tests/faults, and e2e/tests/vm on every kernel,
# with all of Debian's libbpf-tools. Needs root.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"

[ "$(id -u)" -eq 0 ] || die "the tests start nodes in namespaces and load eBPF programs: run as root (sudo -E make e2e)"
started=$SECONDS
scripts/setup.sh
scripts/tools.sh all >/dev/null
cargo build --quiet --workspace --bins --locked
scripts/images.sh
# One cluster at a time: two cores carry no more.
cargo test --locked -p bpfleet-e2e --test faults -- --test-threads 1 --nocapture
BPFLEET_VM=all BPFLEET_TOOLS=all cargo test --locked -p bpfleet-e2e --test vm -- --nocapture
say "${green}all passed${plain} in $((SECONDS - started))s"
