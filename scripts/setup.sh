#!/usr/bin/env bash
# setup.sh: installs what building and testing need on a Debian machine that has Rust, and only what is
# missing: packages with apt, and a recent Go (fetched by Debian's own Go) where the machine has none.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

command -v cargo >/dev/null || die "cargo was not found; install Rust first, see https://rustup.rs"

missing=()
# need PACKAGE COMMAND-OR-FILE: what proves that the package, or its like from elsewhere, is there.
need() {
  case $2 in
  /*) [ -e "$2" ] || missing+=("$1") ;;
  *) command -v "$2" >/dev/null || missing+=("$1") ;;
  esac
}
need ca-certificates /etc/ssl/certs/ca-certificates.crt
need clang clang
need libbpf-dev /usr/include/bpf/bpf_helpers.h
need gcc gcc
need libc6-dev /usr/include/linux/bpf.h
# The runtime of the fuzz targets is C++.
need g++ c++
# libbpf, which tests compare with, is built from source.
need libelf-dev /usr/include/libelf.h
need zlib1g-dev /usr/include/zlib.h
need pkgconf pkg-config
need make make
need git git
need jq jq
need iproute2 ip
need bpftool bpftool
need util-linux setpriv
need docker-registry docker-registry
need skopeo skopeo
# For nodes that run pods: the runtime and the network of their containers, kube-proxy's tools, test images.
need containerd containerd
need runc runc
if [ ! -e /opt/cni/bin/ptp ]; then need containernetworking-plugins /usr/lib/cni/ptp; fi
need iptables iptables
need nftables nft
need conntrack conntrack
# Test corpus and guests' kernels (scripts/debian.sh) come out of packages of several of Debian's suites.
need debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
# It becomes an image on its own, and so must need no libraries.
if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then missing+=(busybox-static); fi
# For the kernel without BTF that nodes of tests run on (e2e/src/vm), which is built from source.
need flex flex
need bison bison
need bc bc
need xz-utils xz
need binutils strip
# Any Go will do here: an old one fetches the new one below.
go=$(find_go) || need golang-go go

if [ ${#missing[@]} -gt 0 ]; then
  step "installing with apt: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "apt needs root and there is no sudo; run as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  command -v apt-get >/dev/null || die "this is not a Debian machine; install the like of: ${missing[*]}"
  "${as_root[@]}" apt-get update -q >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
  # Some packages start a service for the whole machine, which nobody asked for; tests start their own.
  for service in docker-registry containerd; do
    if [[ " ${missing[*]} " == *" $service "* ]] && [ -d /run/systemd/system ]; then
      "${as_root[@]}" systemctl disable --now "$service.service" >&2 || say "$service.service could not be disabled"
    fi
  done
fi

# Nodes with kernels of their own are guests under QEMU. Version 7.2, that of Debian 12, crashes guests of newer kernels
# at random; its backports have a newer one.
qemu=$(qemu-system-x86_64 --version 2>/dev/null | sed -nE 's/.* version ([0-9]+\.[0-9]+).*/\1/p') || true
if ! at_least "$qemu" 9.0; then
  step "installing QEMU"
  . /etc/os-release
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  if [ "${VERSION_CODENAME:-}" = bookworm ]; then
    "${as_root[@]}" "$repo/scripts/debian.sh" install bookworm-backports qemu-system-x86
  else
    "${as_root[@]}" apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends qemu-system-x86 >&2
  fi
fi

# Debian's Go may be too old to build Kubernetes, and before 1.21 to fetch a newer one by itself. Newer
# ones are ordinary modules, though: any Go can download one, and checks it against the checksum database.
if [ -z "$go" ] && ! go=$(find_go); then
  fetched=$(go_fetched)
  version=v0.0.1-${fetched##*@v0.0.1-}
  step "fetching Go ($version) from the module proxy, as the machine's is older than $go_minimum"
  mkdir -p "$cache/go"
  (
    cd "$cache/go"
    GOTOOLCHAIN=local GOFLAGS='' GO111MODULE=on GOMODCACHE="$cache/go" go mod download "golang.org/toolchain@$version" >&2
  ) || die "Go could not be fetched; install Go $go_minimum or newer by hand and put it into PATH"
  # Module archives carry no modes.
  chmod -R u+w "$fetched"
  chmod -R a+x "$fetched/bin" "$fetched/pkg/tool"
  go=$(find_go) || die "the fetched Go in $fetched does not run; remove that directory and try again"
fi
