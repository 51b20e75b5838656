# Shared by the scripts: the cache's place, messages, and a Go that is new enough. Sourced, never run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${BPFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/bpfleet

# The Go that is fetched where the machine's own is older than $go_minimum.
go_minimum=1.25
go_toolchain=go1.26.8

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' cyan=$'\e[36m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' cyan='' plain=''
fi

# Messages go to stderr: stdout belongs to results (paths).
say() { printf '%s\n' "$*" >&2; }
step() { printf '%s==>%s %s%s%s\n' "$cyan" "$plain" "$bold" "$*" "$plain" >&2; }
die() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; exit 1; }

# go_version GO: "1.26" of a go command, nothing when it cannot tell.
go_version() { GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -nE 's/^go version go([0-9]+\.[0-9]+).*/\1/p'; }

# at_least VERSION MINIMUM
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | sed -n 1p)" = "$2" ]; }

# Where the fetched toolchain lies: in a module cache of our own, as Go's own client put it there.
go_fetched() {
  local arch
  case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
  printf '%s/go/golang.org/toolchain@v0.0.1-%s.linux-%s' "$cache" "$go_toolchain" "$arch"
}

# find_go: prints a go command of at least $go_minimum; fails when there is none yet.
find_go() {
  local go
  for go in "$(command -v go || true)" /usr/local/go/bin/go "$(go_fetched)/bin/go"; do
    if [ -n "$go" ] && [ -x "$go" ] && at_least "$(go_version "$go")" "$go_minimum"; then
      printf '%s\n' "$go"
      return 0
    fi
  done
  return 1
}
