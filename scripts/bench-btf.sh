#!/usr/bin/env bash
# bench-btf.sh: what the btf crate costs beside libbpf and bpftool, as one table. The command is built as
# binaries are released: without shared libraries.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"

host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$repo/target}/static-btf
RUSTFLAGS='-C target-feature=+crt-static' \
  cargo build --quiet --release --locked --package btf --bin btf --target "$host" --target-dir "$out"
BTF_COMMAND=$out/$host/release/btf exec cargo bench --quiet --package btf --bench table
