#!/usr/bin/env bash
# render.sh: rewrites the generated manifests that the tests and the demo apply without Helm,
# e2e/manifests/rbac.yaml (the chart's RBAC and admission policy, by helm) and crds.yaml (by crdgen).
# render.sh --rbac: prints the former instead. HELM names the helm command; otherwise the pinned one is built.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$repo"

rbac() {
  local helm=${HELM:-}
  [ -n "$helm" ] || helm=$(scripts/tools.sh helm)
  "$helm" template bpfleet charts/bpfleet --namespace bpfleet-system --kube-version 1.33.0 \
    -s templates/rbac/operator.yaml -s templates/rbac/agent.yaml -s templates/admission-policy.yaml
}

# Through a file beside it: a failure leaves the old one as it was.
write() {
  local file=$1
  shift
  trap 'rm -f "$file.new"' EXIT
  "$@" >"$file.new"
  mv "$file.new" "$file"
  trap - EXIT
}

case "$*" in
'')
  mkdir -p e2e/manifests
  write e2e/manifests/rbac.yaml rbac
  write e2e/manifests/crds.yaml cargo run --quiet -p bpfleet-crds --bin crdgen -- --stdout
  ;;
--rbac) rbac ;;
*) die "usage: scripts/render.sh [--rbac]" ;;
esac
