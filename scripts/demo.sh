#!/usr/bin/env bash
# demo.sh: the whole way on this machine, from kubectl apply to a program in the kernel and back.
#
# KEEP=1 leaves everything up at the end and says how to use it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || die "the demo loads eBPF programs and mounts a bpffs: run as root (sudo -E make demo)"

example=execcount
map=counts
namespace=bpfleet-system
state=${TMPDIR:-/tmp}/bpfleet-demo-$$
work=$(mktemp -d)
up='' begun=$SECONDS

# ---- whatever happens, nothing stays

finish() {
  local code=$?
  trap - EXIT INT TERM
  if [ -n "$up" ] && kill -0 "$up" 2>/dev/null; then
    if [ "$code" -ne 0 ]; then
      say "${red}the demo failed; the ends of the logs:${plain}"
      tail -n 15 "$state"/logs/{operator,agent-local}.log >&2 2>/dev/null || true
    fi
    kill -TERM "$up" 2>/dev/null || true
    wait "$up" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- helpers

# show COMMAND…: prints a command as a user would type it, and runs it.
show() {
  local words=("$@")
  [ "${words[0]}" != "${KUBECTL:-}" ] || words[0]=kubectl
  printf '%s$ %s%s\n' "$dim" "${words[*]}" "$plain" >&2
  "$@"
}

# until_true SECONDS WHAT COMMAND…: waits for a command to succeed.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || die "waited in vain for: $what"
    sleep 0.1
  done
}

# Every program, link and map pinned below a directory, as "prog 12".
pinned_ids() {
  local path kind id
  find "$1" -type f 2>/dev/null | while read -r path; do
    for kind in prog link map; do
      id=$(bpftool -j "$kind" show pinned "$path" 2>/dev/null | jq -r '.id // empty' 2>/dev/null) || continue
      [ -z "$id" ] || printf '%s %s\n' "$kind" "$id"
    done
  done
}

# The sum of all values in the map that the program counts in.
total() {
  bpftool -j map dump pinned "$counts" 2>/dev/null |
    jq '[.[] | (.formatted // .) | (.value // .values[]?.value) | .. | numbers] | add // 0'
}

moved() { [ "$(total)" -ge $(($1 + $2)) ]; }

# Makes the kernel execute something the program counts.
work_a_bit() { for _ in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; }

counters_move() {
  local before
  before=$(total)
  work_a_bit
  until_true 10 "the counters in $counts to move" moved "$before" 10
  say "    the sum of all counters went from ${bold}$before${plain} to ${bold}$(total)${plain} while ten processes ran"
}

compile() {
  clang -O2 -g -Wall -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c "$1" -o "$2"
}

# put_object FILE: the object as a ConfigMap of the name and key that the example refers to.
put_object() {
  "$KUBECTL" -n "$namespace" create configmap "$object_name" --from-file="$object_key=$1" --dry-run=client -o yaml |
    "$KUBECTL" apply --server-side -f - >&2
}

program() { "$KUBECTL" get bpfprogram "$example" -o jsonpath="{$1}"; }
updated() { [ "$(program .status.revision)" != "$1" ] && [ "$(program .status.revision)" = "$(program .status.updatedRevision)" ]; }

# ---- 1. build

scripts/setup.sh
step "1. building (Kubernetes' and etcd's commands once, bpfleet with cargo, the example with clang)"
scripts/tools.sh etcd kube-apiserver kube-controller-manager kubectl >/dev/null
cargo build --workspace --bins --locked
bin=${CARGO_TARGET_DIR:-$repo/target}/debug
compile "examples/$example/$example.bpf.c" "$work/v1.o"
compile "examples/$example/$example-v2.bpf.c" "$work/v2.o"

# ---- 2. start

step "2. starting etcd, the API server, operator and an agent on loopback"
# Should this script be killed outright, the cluster ends too; KEEP=1 lets it stay.
guard=(setpriv --pdeathsig TERM)
[ -z "${KEEP:-}" ] || guard=(setsid)
: >"$work/up.log" # read below, maybe before the child has opened it
"${guard[@]}" "$bin/bpfleet-e2e" up --state "$state" >>"$work/up.log" 2>&1 &
up=$!
deadline=$((SECONDS + 180)) shown=0
while [ ! -e "$state/env" ]; do
  kill -0 "$up" 2>/dev/null || { sed -n "$((shown + 1)),\$p" "$work/up.log" >&2; die "the cluster did not start"; }
  [ $SECONDS -lt $deadline ] || die "the cluster did not start within 180 s; see $state/logs"
  lines=$(wc -l <"$work/up.log")
  [ "$lines" -eq "$shown" ] || sed -n "$((shown + 1)),${lines}s/^/    /p" "$work/up.log" >&2
  shown=$lines
  sleep 0.1
done
sed -n "$((shown + 1)),\$s/^/    /p" "$work/up.log" >&2
# shellcheck source=/dev/null
. "$state/env"
export KUBECONFIG
pins=$PIN_ROOT_LOCAL
counts=$pins/$example/maps/$map

# ---- 3. apply

step "3. applying examples/$example"
manifest=examples/$example/bpfprogram.yaml
object=$("$KUBECTL" create --dry-run=client -o json -f "$manifest" | jq '.spec.variants[0].object.configMap')
object_name=$(jq -r .name <<<"$object") object_key=$(jq -r .key <<<"$object")
put_object "$work/v1.o"
show "$KUBECTL" apply -f "$manifest"
show "$KUBECTL" wait --for=condition=Ready --timeout=60s "bpfprogram/$example"
show "$KUBECTL" get bpfprograms,bpfnodes,bpfrevisions

step "4. the program at work: map '$map' at $counts"
counters_move
show bpftool map dump pinned "$counts" | sed -n 1,12p
pinned_ids "$pins" | sort -u >"$work/ids"

step "5. changing the program: another object in the ConfigMap makes a new revision"
first=$(program .status.revision)
put_object "$work/v2.o"
until_true 60 "the new revision on every node" updated "$first"
say "    revision ${bold}$first${plain} was replaced by ${bold}$(program .status.revision)${plain}"
show "$KUBECTL" wait --for=condition=Ready --timeout=60s "bpfprogram/$example"
show "$KUBECTL" get bpfprograms,bpfrevisions
counters_move
pinned_ids "$pins" | sort -u >>"$work/ids"

if [ -n "${KEEP:-}" ]; then
  trap - EXIT
  rm -rf "$work"
  disown "$up"
  step "it stays up (KEEP=1)"
  cat >&2 <<TEXT
    export KUBECONFIG=$KUBECONFIG PATH=${KUBECTL%/*}:\$PATH
    kubectl get bpfprograms,bpfnodes -o wide
    kubectl explain bpfprogram.spec
    bpftool map dump pinned $counts
    logs: $state/logs
    to end it and remove everything: kill $up
TEXT
  exit 0
fi

# ---- 6. delete, and look for leftovers

step "6. deleting it"
show "$KUBECTL" delete bpfprogram "$example" --timeout=60s
no_pins() { [ -z "$(find "$pins" -type f 2>/dev/null)" ]; }
until_true 30 "every pin below $pins to be gone" no_pins
ids_gone() {
  local kind id
  while read -r kind id; do
    ! bpftool "$kind" show id "$id" >/dev/null 2>&1 || return 1
  done <"$work/ids"
}
until_true 30 "its programs, links and maps to leave the kernel" ids_gone
say "    $(sort -u "$work/ids" | wc -l) programs, links and maps were in the kernel, none is now"

step "7. stopping everything"
kill -TERM "$up"
wait "$up" || die "the cluster did not end in order: $(tail -n 5 "$work/up.log")"
up=''
[ ! -e "$state" ] || die "$state is left"
! grep -qF "$state" /proc/self/mounts || die "a mount below $state is left"
left=$(grep -lsF -- "$state" /proc/[0-9]*/cmdline || true)
[ -z "$left" ] || die "processes are left: $left"
say "    no process, mount, pin or file is left; ${green}done${plain} in $((SECONDS - begun))s"
