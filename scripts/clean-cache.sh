#!/usr/bin/env bash
# clean-cache.sh: removes what these scripts keep between runs, and nothing else.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

step "removing $cache"
# Go makes its module cache read-only.
[ ! -d "$cache/go" ] || chmod -R u+w "$cache/go"
rm -rf --one-file-system "$cache/tools" "$cache/images" "$cache/go" "$cache/corpus" "$cache/vm" "$cache/fuzz" "$cache/ci-target"
rmdir "$cache" 2>/dev/null || say "left in it: $(ls "$cache" 2>/dev/null | tr '\n' ' ')"
