#!/usr/bin/env bash
# tools.sh NAME…: prints the path of each tool, one a line, after building those that are missing; `all`
# stands for every one.
#
# Their versions are pinned by the Go modules in e2e/tools; a changed pin builds into a directory of its
# own. Progress goes to stderr.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

known='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd coredns helm'

# The Go module, package and linker flags of a tool.
describe() {
  [[ " $known " == *" $1 "* ]] || die "unknown tool '$1'; known: $known"
  flags='-s -w'
  case $1 in
  kube-* | kubelet | kubectl)
    module=kubernetes package=k8s.io/kubernetes/cmd/$1
    local version=k8s.io/component-base/version v
    v=$(awk '/^require k8s.io\/kubernetes /{print $3}' "$repo/e2e/tools/kubernetes/go.mod")
    local minor=${v#v1.}
    flags+=" -X $version.gitVersion=$v -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
    ;;
  etcd) module=etcd package=go.etcd.io/etcd/server/v3 ;;
  coredns) module=coredns package=github.com/coredns/coredns ;;
  helm)
    module=helm package=helm.sh/helm/v3/cmd/helm
    flags+=" -X helm.sh/helm/v3/internal/version.version=$(awk '/^require helm.sh\/helm\/v3 /{print $3}' "$repo/e2e/tools/helm/go.mod")"
    ;;
  esac
  local hash
  hash=$(cat "$repo/e2e/tools/$module/go.mod" "$repo/e2e/tools/$module/go.sum" | sha256sum)
  path=$cache/tools/${hash:0:16}/$1
}

# One build at a time: two would only take each other's processors and memory.
build() {
  local go started=$SECONDS log
  go=$(find_go) || die "building $1 needs Go $go_minimum or newer; run scripts/setup.sh, which installs it"
  mkdir -p "${path%/*}"
  exec 9>"$cache/tools/lock"
  if ! flock -n 9; then
    say "${dim}$1: waiting for another build of the test tools${plain}"
    flock 9
  fi
  if [ ! -x "$path" ]; then
    step "building $1 (once; a cold build of the Kubernetes commands takes minutes)"
    log=$path.log
    (
      cd "$repo/e2e/tools/$module"
      # A toolchain line in go.mod newer than this Go is honoured; the work tree is never written to.
      CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS=-mod=readonly GOWORK=off exec \
        "$go" build -v -trimpath -ldflags "$flags" -o "$path.new" "$package"
    ) >"$log" 2>&1 9>&- &
    local pid=$! told=0
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    while kill -0 "$pid" 2>/dev/null; do
      sleep 0.2
      if [ $((SECONDS - started)) -ge $((told + 5)) ]; then
        told=$((SECONDS - started))
        say "${dim}    $1: ${told}s, $(grep -vc '^go: ' "$log" || true) packages compiled, last $(tail -n1 "$log")${plain}"
      fi
    done
    if ! wait "$pid"; then
      tail -n 30 "$log" >&2
      die "building $1 failed; the whole log: $log"
    fi
    trap - EXIT
    mv "$path.new" "$path"
    rm -f "$log"
    say "    ${green}built${plain} $1 in $((SECONDS - started))s"
  fi
  exec 9>&-
}

[ $# -gt 0 ] || die "usage: scripts/tools.sh NAME…; known: $known"
names=("$@")
[ "$*" != all ] || read -ra names <<<"$known"
for name in "${names[@]}"; do
  describe "$name"
  [ -x "$path" ] || build "$name"
  printf '%s\n' "$path"
done
