#!/usr/bin/env bash
# images.sh: makes the container images of operator and agent, without a container engine. --help says how.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
caller=$PWD
cd "$repo"

usage() {
  cat <<'TEXT'
Makes the images bpfleet-operator and bpfleet-agent, without a container engine: static programs, built by
cargo, in an OCI layout below target/images (or $CARGO_TARGET_DIR/images). The same sources, Rust and root
certificates give the same digests on every machine.

Usage: scripts/images.sh [OPTIONS]

  --arch ARCH        amd64, arm64, or all; may be repeated (default: that of this machine)
  --prefix PREFIX    registry and path in front of the images' names (default: localhost)
  --tag TAG          tag of both images (default: bpfleet's version)
  --ca-bundle PATH   root certificates for the operator, a file or a directory of *.crt files (default:
                     /usr/share/ca-certificates/mozilla)
  --archive FILE     also writes both images to FILE, for: ctr -n k8s.io images import FILE
  --push HOST/PREFIX also pushes both images, with skopeo; log in before with: skopeo login HOST
  --plain-http       that registry speaks HTTP
  -h, --help         this text

Examples:
  scripts/images.sh --archive bpfleet.tar
  scripts/images.sh --arch all --push registry.example/team

The table lists names, digests and sizes. Exit codes: 0 done, 1 failed, 2 wrong command line.
TEXT
}

wrong() { say "${red}error:${plain} $*; see scripts/images.sh --help"; exit 2; }

# Files are named from where the caller stands.
from_caller() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$caller" "$1" ;; esac; }

case $(uname -m) in x86_64) native=amd64 ;; aarch64) native=arm64 ;; *) native=$(uname -m) ;; esac
arches=() names=() archive='' push='' plain_http=()
# Mozilla's, as the package brings them. Not /etc/ssl/certs/ca-certificates.crt: an authority that somebody
# added to this machine must not become one that every cluster trusts.
ca_bundle=/usr/share/ca-certificates/mozilla
while [ $# -gt 0 ]; do
  case $1 in
  -h | --help) usage; exit 0 ;;
  --plain-http) plain_http=(--plain-http); shift; continue ;;
  --arch | --prefix | --tag | --ca-bundle | --archive | --push) ;;
  *) wrong "unknown argument '$1'" ;;
  esac
  [ -n "${2:-}" ] || wrong "$1 wants a value"
  case $1 in
  --arch)
    case $2 in
    amd64 | arm64) arches+=("$2") ;;
    all) arches+=(amd64 arm64) ;;
    *) wrong "there are images for amd64 and arm64, not for '$2'" ;;
    esac
    ;;
  --prefix | --tag) names+=("$1" "$2") ;;
  --ca-bundle) ca_bundle=$(from_caller "$2") ;;
  --archive) archive=$(from_caller "$2") ;;
  --push) push=$2 ;;
  esac
  shift 2
done
[ ${#arches[@]} -gt 0 ] || arches=("$native")
mapfile -t arches < <(printf '%s\n' "${arches[@]}" | sort -u)
[ -r "$ca_bundle" ] || die "$ca_bundle cannot be read; install ca-certificates (apt-get install ca-certificates), or name another file with --ca-bundle"
[ -z "$push" ] || command -v skopeo >/dev/null || die "--push needs skopeo; install it: apt-get install skopeo"

# ---- programs

programs=() inputs=()
for arch in "${arches[@]}"; do
  step "building operator and agent for $arch"
  dir=$(scripts/static.sh "$arch")
  programs+=(--operator "$arch=$dir/bpfleet-operator" --agent "$arch=$dir/bpfleet-agent")
  inputs+=("$dir/bpfleet-operator" "$dir/bpfleet-agent")
done
tool=$(scripts/static.sh "$native" bpfleet-images)/bpfleet-images

# ---- images

out=${CARGO_TARGET_DIR:-$repo/target}
[[ $out == /* ]] || out=$repo/$out
layout=$out/images stamp=$out/images.stamp
# Until the images are archived and pushed: another run may pack them under other names.
exec 9>"$layout.lock"
if ! flock -n 9; then
  say "${dim}waiting for another run that packs images${plain}"
  flock 9
fi
# Everything the images depend on, the program that packs them included.
now=$(sha256sum "$tool" "${inputs[@]}"; find "$ca_bundle" -type f -exec sha256sum {} + | LC_ALL=C sort; printf '%s\n' "${arches[*]}" "${names[*]:-}" "${SOURCE_DATE_EPOCH:-}")
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && table=$("$tool" show "$layout" 2>/dev/null); then
  step "nothing changed: $layout"
  printf '%s\n' "$table"
else
  step "packing $layout"
  rm -f "$stamp"
  "$tool" build --out "$layout" "${programs[@]}" --ca-bundle "$ca_bundle" "${names[@]}"
  printf '%s\n' "$now" >"$stamp"
fi
[ ${#arches[@]} -gt 1 ] || say "${dim}only for ${arches[0]}; a release has both: scripts/images.sh --arch all${plain}"

if [ -n "$archive" ]; then
  step "writing the archive"
  "$tool" archive --layout "$layout" --out "$archive"
fi
if [ -n "$push" ]; then
  step "pushing to $push"
  "$tool" push --layout "$layout" --to "$push" "${plain_http[@]}"
fi
