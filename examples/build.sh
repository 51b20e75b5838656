#!/bin/sh
# build.sh OUT: compiles every example into OUT/NAME.bpf.o.
# Needs clang, libbpf's headers and the kernel's (apt-get install clang libbpf-dev linux-libc-dev).
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
for source in "$here"/*/*.bpf.c; do
  "${CLANG:-clang}" -O2 -g -Wall -target bpf -I"/usr/include/$(uname -m)-linux-gnu" \
    -c "$source" -o "$out/$(basename "$source" .c).o"
done
