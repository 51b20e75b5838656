#!/usr/bin/env bash
# demo-cluster.sh: bpfleet as a user has it: a real cluster of two nodes on this machine, images from a registry, helm
# install, a program on both nodes, helm upgrade, helm uninstall, and nothing left.
#
# KEEP=1 leaves it up before the uninstalling and says how to use it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/demo-lib.sh"
cd "$repo"
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || die "the demo starts nodes in namespaces and loads eBPF programs: run as root (sudo -E make demo-cluster)"

namespace=bpfleet-system
state=${TMPDIR:-/tmp}/bpfleet-cluster-$$
begun=$SECONDS
nothing_stays

# report: what a person asks for when the demo failed.
report() {
  "$KUBECTL" get nodes,pods -A -o wide
  "$KUBECTL" get events -A --sort-by=.lastTimestamp | tail -n 20
  "$KUBECTL" -n "$namespace" logs -l app.kubernetes.io/name=bpfleet --prefix --tail=10
}

# on NODE COMMAND…: runs a command on a node, as after logging in there.
on() {
  local prefix=IN_${1^^}
  shift
  # The prefix is several words.
  # shellcheck disable=SC2086
  ${!prefix} "$@"
}

# on_each COMMAND…: on both nodes, shown as typed there.
on_each() {
  local node
  for node in node1 node2; do
    printf '%s%s$ %s%s\n' "$dim" "$node" "$*" "$plain" >&2
    on "$node" "$@"
  done
}

# The sum of all counters of the program on a node.
counted() {
  on "$1" bpftool -j map dump pinned "$counts" 2>/dev/null |
    jq '[.[] | (.formatted // .) | (.value // .values[]?.value) | .. | numbers] | add // 0'
}
moved() { [ "$(counted "$1")" -gt "$2" ]; }

# ---- 1. build

scripts/setup.sh
step "1. building (Kubernetes and etcd once, bpfleet and its images with cargo)"
scripts/tools.sh all >/dev/null
cargo build --workspace --bins --locked
scripts/images.sh >"$work/images.txt"
sed 's/^/    /' "$work/images.txt" >&2
bin=${CARGO_TARGET_DIR:-$repo/target}/debug
compile examples/execcount/execcount.bpf.c "$work/execcount.bpf.o"

# ---- 2. start

step "2. starting a cluster of two nodes, with containerd, kubelets and a registry, in namespaces of its own"
start_harness 180 cluster --nodes 2
scripts/images.sh --push "$REGISTRY/bpfleet" --plain-http >/dev/null
show "$KUBECTL" get nodes -o wide

# ---- 3. install

step "3. installing bpfleet"
started=$SECONDS
values=(--set "image.registry=$REGISTRY_IN_CLUSTER/bpfleet")
show "$HELM" install bpfleet charts/bpfleet -n "$namespace" --create-namespace "${values[@]}" --wait
show "$KUBECTL" -n "$namespace" get pods -o wide
show "$HELM" -n "$namespace" test bpfleet

# ---- 4. run

step "4. running examples/execcount on every node"
show "$KUBECTL" -n "$namespace" create configmap execcount --from-file "$work/execcount.bpf.o"
show "$KUBECTL" apply -f examples/execcount/bpfprogram.yaml
show "$KUBECTL" wait --for=condition=Ready --timeout=60s bpfprogram/execcount
say "    ${bold}$((SECONDS - started)) s${plain} from helm install to a program that runs on every node, the test of the chart included"
show "$KUBECTL" get bpfprograms,bpfnodes
counts=/sys/fs/bpf/bpfleet/execcount/maps/counts
on_each sh -c "bpftool map dump pinned $counts | sed -n 1,7p"

# ---- 5. upgrade

step "5. upgrading: every pod is replaced, no program is"
on_each find /sys/fs/bpf/bpfleet/execcount/revisions -name 'link-*' | tee "$work/links"
before=$(counted node1)
show "$HELM" upgrade bpfleet charts/bpfleet -n "$namespace" "${values[@]}" \
  --set agent.logLevel=debug --set operator.logLevel=debug --wait
show "$KUBECTL" -n "$namespace" rollout status daemonset/bpfleet-agent --timeout=120s
until_true 60 "the counters on node1 to move" moved node1 "$before"
say "    counted on node1 before: ${bold}$before${plain}, after: ${bold}$(counted node1)${plain}"
show "$KUBECTL" get bpfprograms

if [ -n "${KEEP:-}" ]; then
  keep_it
  cat >&2 <<TEXT
    export KUBECONFIG=$KUBECONFIG PATH=${KUBECTL%/*}:${HELM%/*}:\$PATH
    kubectl get pods -A -o wide
    on node1: $IN_NODE1 bash
    registry: $REGISTRY from here, $REGISTRY_IN_CLUSTER in the cluster
    logs: $state/logs
    to end it and remove everything: kill $up
TEXT
  exit 0
fi

# ---- 6. uninstall, and look for leftovers

step "6. uninstalling"
show "$HELM" uninstall bpfleet -n "$namespace" --wait
clean() { [ -z "$(on "$1" find /sys/fs/bpf/bpfleet /var/lib/bpfleet 2>/dev/null)" ]; }
for node in node1 node2; do until_true 60 "$node to be clean" clean "$node"; done
on_each ls /sys/fs/bpf
show "$KUBECTL" get bpfprograms
show "$KUBECTL" delete crd --timeout=60s bpfprograms.bpfleet.io bpfrevisions.bpfleet.io bpfnodes.bpfleet.io

step "7. stopping everything"
stop_harness
say "    no process, mount, pin or file is left; ${green}done${plain} in $((SECONDS - begun))s"
