#!/bin/sh
# build.sh OUT: compiles every test program of this folder into OUT/NAME.bpf.o.
# Needs clang, libbpf's headers and the kernel's (apt-get install clang libbpf-dev linux-libc-dev).
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
for source in "$here"/*.bpf.c; do
  name=$(basename "$source" .c)
  target=bpf
  # The byte order that this machine does not have.
  if [ "$name" = big_endian.bpf ]; then target=bpfeb; fi
  "${CLANG:-clang}" -O2 -g -Wall -target "$target" -I"/usr/include/$(uname -m)-linux-gnu" \
    -c "$source" -o "$out/$name.o"
done
