#!/usr/bin/env bash
# demo.sh: the whole way on this machine, from kubectl apply to a program in the kernel and back.
#
# KEEP=1 leaves everything up at the end and says how to use it. KERNELS names the kernels that are booted beside this
# machine's own ('bpfleet-e2e vm --list'); KERNELS= boots none.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/demo-lib.sh"
cd "$repo"
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || die "the demo loads eBPF programs and mounts a bpffs: run as root (sudo -E make demo)"

example=execcount
kernels=${KERNELS-v5-10 newest}
map=counts
namespace=bpfleet-system
fleet_columns='NODE:.metadata.name,KERNEL:.status.facts.kernelRelease,BTF:.status.facts.btf.kernel'
fleet_columns+=',PROGRAM:.status.programs[*].name,VARIANT:.status.programs[*].variant'
fleet_columns+=',HOOKS:.status.programs[*].hooksAttached'
state=${TMPDIR:-/tmp}/bpfleet-demo-$$
begun=$SECONDS
nothing_stays

# report: what a person asks for when the demo failed.
report() { tail -n 15 "$state"/logs/{operator,agent-local}.log; }

# ---- helpers

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

step "2. starting etcd, the API server, operator and agents: on this machine, and in guests with kernels of their own"
guests=()
for kernel in $kernels; do guests+=(--vm "$kernel"); done
# The first time the kernels are fetched from Debian.
start_harness 600 up "${guests[@]}"
known() { [ "$("$KUBECTL" get bpfnodes -o json | jq '[.items[] | select(.status.facts)] | length')" -eq $((1 + ${#guests[@]} / 2)) ]; }
until_true 60 "every node to tell what its kernel can do" known
show "$KUBECTL" get bpfnodes
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
step "   one BpfProgram, a kernel each: what each node runs"
show "$KUBECTL" get bpfnodes -o custom-columns="$fleet_columns"

step "   examples/unlinks: the function that removes files has another name on newer kernels"
compile examples/unlinks/unlinks.bpf.c "$work/unlinks.o"
"$KUBECTL" -n "$namespace" create configmap unlinks --from-file="unlinks.bpf.o=$work/unlinks.o" >&2
show "$KUBECTL" apply -f examples/unlinks/bpfprogram.yaml
settled() {
  "$KUBECTL" get bpfprogram unlinks -o json |
    jq -e '.status.nodes | .selected == .ready + .failed + .unreachable + .withoutAgent and .selected > 0'
}
until_true 60 "every node to run unlinks, or to say why not" settled
say "${dim}\$ kubectl get bpfprogram unlinks -o json | jq .status.kernels${plain}"
"$KUBECTL" get bpfprogram unlinks -o json |
  jq -r '.status.kernels[] | "    \(.kernel): \(.ready) of \(.nodes) ready; \(.message // "served by the first alternative")"' | cut -c1-200
show "$KUBECTL" delete bpfprogram unlinks --timeout=60s

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
  keep_it
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
stop_harness
say "    no process, mount, pin or file is left; ${green}done${plain} in $((SECONDS - begun))s"
