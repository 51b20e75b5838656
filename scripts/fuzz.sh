#!/usr/bin/env bash
# fuzz.sh: feeds what reads objects and BTF with inputs that nobody would write. --help says how.
#
# libFuzzer by plain cargo: cargo-fuzz wants a nightly compiler for its sanitizers, and these crates have no
# unsafe code for those to watch. What is looked for is panics, overflows, hangs and memory out of proportion.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo/fuzz"

known='parse relocate minimize inspect globals resolve'
kept_files=32 kept_bytes=48000

usage() {
  cat <<TEXT
Feeds what reads objects and BTF with inputs that nobody would write.

Usage: scripts/fuzz.sh [OPTIONS] [TARGET…]

  --seconds N   how long for each target (default: 600)
  --short       what CI runs: lints, the inputs of fuzz/corpus, and 3 seconds of new ones that are made from
                the same random numbers each time
  --keep        put what reaches most with least into fuzz/corpus afterwards, $kept_files files and
                $((kept_bytes / 1000)) kB of each target; alone: --seconds 0 --keep
  -h, --help    this text

Targets: $known (default: all)

What is found grows in $cache/fuzz from run to run.
Exit codes: 0 nothing was found, 1 something was, or failed, 2 wrong command line.
TEXT
}

wrong() { say "${red}error:${plain} $*; see scripts/fuzz.sh --help"; exit 2; }

seconds=600 short='' keep='' targets=()
while [ $# -gt 0 ]; do
  case $1 in
  --seconds) [[ ${2:-} =~ ^[0-9]+$ ]] || wrong "--seconds wants a number"; seconds=$2; shift ;;
  --short) short=yes seconds=3 ;;
  --keep) keep=yes ;;
  -h | --help) usage; exit 0 ;;
  -*) wrong "unknown option '$1'" ;;
  *) [[ " $known " == *" $1 "* ]] || wrong "unknown target '$1'"; targets+=("$1") ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || read -ra targets <<<"$known"
[ -z "$short" ] || [ -z "$keep" ] || wrong "--short finds nothing to keep"

work=$cache/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$repo/target}/fuzz
bin=$out/$host/release
mkdir -p "$work"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# instrumented COMMAND…: cargo for the fuzz targets. Build scripts stay as they are: flags go to the target alone,
# for the target is named.
instrumented() {
  local flags=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
  ) all
  all=$(printf '%s\x1f' "${flags[@]}")
  env -u RUSTFLAGS CARGO_ENCODED_RUSTFLAGS="${all%$'\x1f'}" \
    cargo "$1" --quiet --locked --release --target "$host" --target-dir "$out" "${@:2}"
}

# example NAME ARGUMENT…
example() { cargo run --quiet --locked --example "$1" --target-dir "$out" -- "${@:2}"; }

# run TARGET LOG DIRECTORY… : new inputs go into the first directory.
run() {
  local target=$1 log=$2 length=4096
  case $target in inspect | resolve) length=16384 ;; esac
  mkdir -p "$work/findings/$target"
  nice -n 10 "$bin/$target" -max_total_time="$seconds" -max_len=$length -timeout=10 -rss_limit_mb=512 \
    ${short:+-seed=1} -print_final_stats=1 -artifact_prefix="$work/findings/$target/" "${@:3}" >"$log" 2>&1
}

fuzz() {
  local target=$1 log=$work/$1.log fresh=$work/corpus/$1 seeds=("$work/seeds/$1")
  if [ -n "$short" ]; then fresh=$temporary/$target seeds=(); fi
  mkdir -p "$fresh" "corpus/$target"
  if ! run "$target" "$log" "$fresh" "corpus/$target" "${seeds[@]}"; then
    grep -aE -A 4 'panicked at|memory allocation of|ERROR: libFuzzer' "$log" | cut -c -400 >&2 || true
    local input
    input=$(sed -nE 's/.*Test unit written to (.*)/\1/p' "$log" | tail -n 1)
    [ -n "$input" ] || { tail -n 20 "$log" >&2; die "$target did not run; the whole log: $log"; }
    say "again:   $bin/$target $input"
    say "smaller: $bin/$target -minimize_crash=1 -max_total_time=60 $input"
    case $target in relocate | minimize) say "shown:   cargo run --manifest-path fuzz/Cargo.toml --example show $input" ;; esac
    die "$target found something; the whole log: $log"
  fi
  say "$(printf '    %-9s %9d inputs, %5d edges' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1)")"
}

# Replaces the inputs in the tree by the best of those and of all that were found.
pick() {
  local target=$1 control=$temporary/$1.control file
  mkdir -p "$temporary/merged" "corpus/$target"
  rm -f "$temporary/merged"/*
  nice -n 10 "$bin/$target" -merge=1 -use_counters=0 -rss_limit_mb=512 -merge_control_file="$control" \
    "$temporary/merged" "$work/corpus/$target" "corpus/$target" >"$work/$target.merge.log" 2>&1 ||
    die "the inputs of $target could not be compared; see $work/$target.merge.log"
  mkdir -p "$temporary/picked"
  example pick "$control" $kept_files $kept_bytes | while read -r file; do
    cp "$file" "$temporary/picked/$(sha1sum <"$file" | cut -c -16)"
  done
  rm -f "corpus/$target"/*
  mv "$temporary/picked"/* "corpus/$target"
}

step "building the fuzz targets"
if [ -n "$short" ]; then
  cargo fmt --check
  instrumented clippy --all-targets -- -D warnings
else
  example seeds "$work/seeds"
fi
instrumented build --bins
[ "$seconds" -eq 0 ] || step "fuzzing, ${seconds}s each"
for target in "${targets[@]}"; do
  [ "$seconds" -eq 0 ] || fuzz "$target"
  [ -z "$keep" ] || pick "$target"
done
