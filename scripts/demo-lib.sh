# Shared by the demos: showing commands, waiting, and leaving nothing behind. Sourced after lib.sh, never run. A demo sets
# $state, the directory of its cluster, and defines `report`, which says why it failed.

# nothing_stays: makes the directory $work; whatever happens, it and the cluster go at the end.
nothing_stays() {
  work=$(mktemp -d) up=''
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

finish() {
  local code=$?
  trap - EXIT INT TERM
  if [ -n "$up" ] && kill -0 "$up" 2>/dev/null; then
    if [ "$code" -ne 0 ]; then
      say "${red}the demo failed; this is what is known:${plain}"
      report >&2 2>/dev/null || true
    fi
    kill -TERM "$up" 2>/dev/null || true
    wait "$up" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$code"
}

# keep_it: the cluster outlives the script (KEEP=1).
keep_it() {
  trap - EXIT
  rm -rf "$work"
  disown "$up"
  step "it stays up (KEEP=1)"
}

# show COMMAND…: prints a command as a user would type it, and runs it.
show() {
  local words=("$@")
  case ${words[0]} in */kubectl | */helm) words[0]=${words[0]##*/} ;; esac
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

# compile SOURCE OBJECT: an eBPF object as the README says.
compile() {
  clang -O2 -g -Wall -target bpf -I"/usr/include/$(uname -m)-linux-gnu" -c "$1" -o "$2"
}

# start_harness SECONDS ARGUMENTS…: starts bpfleet-e2e in the background as $up, with its state in $state and its log in
# $work/up.log, shows its progress, and reads the variables that it leaves. Should the script be killed outright it ends,
# too; KEEP=1 lets it stay.
start_harness() {
  local deadline=$((SECONDS + $1)) shown=0 lines guard=(setpriv --pdeathsig TERM)
  shift
  [ -z "${KEEP:-}" ] || guard=(setsid)
  : >"$work/up.log" # read below, maybe before the child has opened it
  "${guard[@]}" "$bin/bpfleet-e2e" "$@" --state "$state" >>"$work/up.log" 2>&1 &
  up=$!
  while [ ! -e "$state/env" ]; do
    kill -0 "$up" 2>/dev/null || { sed -n "$((shown + 1)),\$p" "$work/up.log" >&2; die "the cluster did not start"; }
    [ $SECONDS -lt $deadline ] || die "the cluster did not start in time; see $state/logs"
    lines=$(wc -l <"$work/up.log")
    [ "$lines" -eq "$shown" ] || sed -n "$((shown + 1)),${lines}s/^/    /p" "$work/up.log" >&2
    shown=$lines
    sleep 0.1
  done
  sed -n "$((shown + 1)),\$s/^/    /p" "$work/up.log" >&2
  # shellcheck source=/dev/null
  . "$state/env"
  export KUBECONFIG
}

# stop_harness: ends it in order and looks whether anything is left.
stop_harness() {
  kill -TERM "$up"
  wait "$up" || die "the cluster did not end in order: $(tail -n 5 "$work/up.log")"
  up=''
  [ ! -e "$state" ] || die "$state is left"
  ! grep -qF "$state" /proc/self/mounts || die "a mount below $state is left"
  local left
  left=$(grep -lsF -- "$state" /proc/[0-9]*/cmdline || true)
  [ -z "$left" ] || die "processes are left: $left"
}
