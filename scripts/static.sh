#!/usr/bin/env bash
# static.sh ARCH [PACKAGE…]: builds operator and agent (or the packages named) as they go into images, and
# prints the directory they are in. ARCH is amd64 or arm64, as in OCI images.
#
# Used by scripts/images.sh and by the Containerfile, so that both make the same. The binaries bring their
# libc along, since the images hold nothing else, and no path of this machine: the same sources give the
# same bytes in every directory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"

arch=${1:-}
case $arch in
amd64) target=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu package=gcc-x86-64-linux-gnu ;;
arm64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu package=gcc-aarch64-linux-gnu ;;
*) say "usage: scripts/static.sh amd64|arm64 [PACKAGE…]"; exit 2 ;;
esac
shift
packages=("$@")
[ $# -gt 0 ] || packages=(bpfleet-operator bpfleet-agent)

command -v cargo >/dev/null || die "cargo was not found; install Rust first, see https://rustup.rs"
host=$(rustc -vV | sed -n 's/^host: //p')
linker=$gnu-gcc libc=libc6-dev-$arch-cross
[ "$host" != "$target" ] || linker=cc package=gcc libc=libc6-dev

# ---- what is missing, all of it said at once

missing=()
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || missing+=("rustup target add $target")
if ! command -v "$linker" >/dev/null; then
  missing+=("apt-get install $package $libc")
elif [[ $("$linker" -print-file-name=libc.a) != /* ]]; then
  missing+=("apt-get install $libc")
fi
if [ ${#missing[@]} -gt 0 ]; then
  say "${red}error:${plain} this machine cannot build for $arch yet; what is missing comes with:"
  printf '    %s\n' "${missing[@]}" >&2
  exit 1
fi

# ---- build

out=${CARGO_TARGET_DIR:-$repo/target}
[[ $out == /* ]] || out=$repo/$out
home=${CARGO_HOME:-$HOME/.cargo}
# The flags go to the target only, and never to a developer's builds: those stay dynamic, and their paths
# true. Separated by the byte 0x1f, since paths may have spaces. Of two prefixes that fit, the last counts.
printf -v flags '%s\x1f' \
  -Ctarget-feature=+crt-static \
  "--remap-path-prefix=$repo=/bpfleet" \
  "--remap-path-prefix=$home=/cargo" \
  "--remap-path-prefix=$out=/bpfleet/target"
upper=${target^^}
under=${target//-/_}
# C code is compiled without its paths as well, which asserts would keep. cc splits flags at blanks, and such
# paths are left as they are.
cflags=()
[[ $out$home == *' '* ]] || cflags=("-ffile-prefix-map=$home=/cargo" "-ffile-prefix-map=$out=/bpfleet/target")
# Under cargo, as in a test that wants the images, build scripts would take its variables for changes.
unset "${!CARGO_PKG_@}" "${!CARGO_BIN_@}" CARGO_MANIFEST_DIR CARGO_MANIFEST_PATH CARGO_CRATE_NAME CARGO_PRIMARY_PACKAGE
selected=()
for package in "${packages[@]}"; do selected+=(-p "$package"); done
env -u RUSTFLAGS CARGO_ENCODED_RUSTFLAGS="${flags%$'\x1f'}" CARGO_TARGET_DIR="$out" CARGO_INCREMENTAL=0 \
  "CFLAGS_$under=${cflags[*]}" "CC_$under=$linker" "CARGO_TARGET_${upper//-/_}_LINKER=$linker" \
  cargo build --release --locked --target "$target" "${selected[@]}" >&2
printf '%s\n' "$out/$target/release"
