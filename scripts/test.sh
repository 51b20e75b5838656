#!/usr/bin/env bash
# test.sh: everything that CI runs, phase by phase, with the time of each. Needs root for real bpf().
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"

[ "$(id -u)" -eq 0 ] || die "the tests load eBPF programs and mount bpffs: run as root (sudo -E make test)"

times=()
phase() {
  local name=$1 started=$SECONDS
  shift
  step "$name"
  "$@" || { summary; die "$name failed: $*"; }
  times+=("$(printf '%5ds  %s' $((SECONDS - started)) "$name")")
}
summary() { [ ${#times[@]} -eq 0 ] || printf '%s\n' "${times[@]}" >&2; }

started=$SECONDS
phase 'set-up' scripts/setup.sh
phase 'format' cargo fmt --all --check
# The tools before the Rust builds: both want all processors, and here their progress is seen.
phase 'tools' scripts/tools.sh all
phase 'clippy' cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
phase 'build' cargo build --quiet --workspace --all-targets --locked
phase 'images' scripts/images.sh
phase 'kernels' cargo run --quiet --locked -p bpfleet-e2e -- vm --fetch
phase 'tests' cargo test --quiet --workspace --locked --no-fail-fast
phase 'fuzz' scripts/fuzz.sh --short
summary
say "${green}all passed${plain} in $((SECONDS - started))s"
