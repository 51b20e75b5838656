#!/usr/bin/env bash
# debian.sh: packages of several of Debian's suites, whatever this machine itself runs. What to fetch is decided by
# those who call it (oracle/src/debian, scripts/setup.sh):
#
#   debian.sh index DIR                       updates apt's lists below DIR; prints "SUITE PACKAGE VERSION ARCH BYTES"
#                                             of each package of interest, older versions first, and
#                                             "SUITE gone" or "SUITE silent" of each suite that could not be read
#   debian.sh unpack DIR INTO GLOB… -- SPEC…  downloads PACKAGE:ARCH=VERSION… and unpacks what the patterns name into
#                                             INTO, which holds nothing of the packages themselves afterwards
#   debian.sh install SUITE PACKAGE…          installs packages of a suite that this machine's apt may not know (root)
#
# The mirror is the one that this machine's apt is set to. The host's lists and sources stay as they are, and
# what comes is checked against Debian's archive keys like everything that apt installs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# A stable release's newest kernel comes through its security suite, whose index is a twentieth of the
# release's own. The whole index is read where more than kernels is wanted of it, or nothing smaller exists.
# Nobody renews the signature's date in a release that has reached its end: its lists may be old, not unsigned.
suites='
bullseye-security    amd64        old
bookworm             amd64
bookworm-security    amd64,arm64
bookworm-backports   amd64
trixie               amd64
trixie-security      amd64,arm64
trixie-backports     amd64,arm64
forky                amd64
sid                  amd64
'
# uri SUFFIX: where the host's apt takes Debian's archive from ('' for releases, '-security' for their security
# suites). Whatever serves a suite of Debian's name will do; the signatures tell whether it is Debian's.
uri() {
  printf '%s\n' "$host" | awk -v suffix="$1" '
    match($0, /\/dists\/(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)[a-z-]*\/InRelease/) {
      base = substr($0, 1, RSTART - 1)
      suite = substr($0, RSTART + 7, RLENGTH - 17)
      security = suite ~ /-security$/
      if (security != (suffix == "-security")) next
      # Others have suites of these names too; a mirror of Debian is named debian far more often than not.
      rank = base ~ /\/debian(-security)?\/?$/ ? 1 : 2
      if (!best || rank < best) { best = rank; found = base }
    }
    END { print found }'
}

# write_sources SUITES: a line of apt's for each line of these.
write_sources() {
  local keys host main security suite archs age base options
  for keys in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp} ''; do [ ! -r "$keys" ] || break; done
  [ -n "$keys" ] || die "Debian's archive keys are missing; install them: apt-get install debian-archive-keyring"
  host=$(apt-get --print-uris update 2>/dev/null | sed -nE "s/^'([^']+)'.*/\1/p")
  main=$(uri '') security=$(uri -security)
  [ -n "$main" ] || die "this machine's apt has no mirror of Debian among its sources, so there is nothing to fetch from; add one to /etc/apt/sources.list.d"
  security=${security:-${main%/}-security}
  while read -r suite archs age; do
    [ -n "$suite" ] || continue
    base=$main
    case $suite in *-security) base=$security ;; esac
    options="arch=$archs signed-by=$keys"
    [ "$age" != old ] || options+=" check-valid-until=no"
    printf 'deb [%s] %s %s main\n' "$options" "$base" "$suite"
  done <<<"$1" >"$dir/sources.list"
}

# The host's settings of how to fetch (a proxy, say), without its hooks, and state of our own. What is installed is of
# no account, unless a file that says it is given.
write_config() {
  local status=${1:-$dir/status}
  mkdir -p "$dir/lists/partial" "$dir/archives/partial"
  : >"$dir/status"
  {
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' || true
    cat <<TEXT
#clear Acquire::Languages;
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$dir";
Dir::State::status "$status";
Dir::Cache "$dir";
TEXT
  } >"$dir/apt.conf"
}

index() {
  command -v apt-get >/dev/null || die "this comes out of Debian's packages, and there is no apt-get here; run on a Debian machine"
  mkdir -p "$dir"
  write_sources "$suites"
  write_config
  echo 'APT::Architectures { "amd64"; "arm64"; };' >>"$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
  local started=$SECONDS log=$dir/update.log targets suite file
  say "${dim}reading the package lists of Debian's suites${plain}"
  # It fails when one suite does; the others are there all the same.
  apt-get update >"$log" 2>&1 || true
  # shellcheck disable=SC2016 # apt fills these in
  targets=$(apt-get indextargets --format '$(RELEASE) $(FILENAME)' 'Created-By: Packages')
  [ -n "$targets" ] || { tail -n 20 "$log" >&2; die "none of Debian's package lists could be read (above is what apt says); try again when the mirror answers"; }
  [ $((SECONDS - started)) -lt 2 ] || say "${dim}package lists read in $((SECONDS - started))s${plain}"
  apt-cache gencaches >/dev/null 2>&1 || true
  while read -r suite _; do
    if [ -z "$suite" ] || grep -q "^$suite " <<<"$targets"; then continue; fi
    if grep -A1 " $suite \(In\)\?Release" "$log" | grep -q ' 404 '; then
      printf '%s gone\n' "$suite"
    else
      printf '%s silent\n' "$suite"
    fi
  done <<<"$suites"
  while read -r suite file; do
    /usr/lib/apt/apt-helper cat-file "$file" | awk -v suite="${suite%-security}" '
      /^Package: /{package = $2} /^Version: /{version = $2} /^Architecture: /{arch = $2} /^Size: /{bytes = $2}
      function end() {
        if (package ~ /^(libbpf-tools|linux-source-[0-9]+\.[0-9]+|linux-(image|binary|base|modules)-[0-9]+\.[0-9]+\.[0-9].*-(amd64|arm64))$/)
          print suite, package, version, arch, bytes
        package = ""
      }
      /^$/{end()} END{end()}'
  done <<<"$targets" | sort -V -k3,3
}

unpack() {
  local into=$1 deb patterns=() said
  shift
  while [ "$1" != -- ]; do patterns+=("$1"); shift; done
  shift
  export APT_CONFIG=$dir/apt.conf
  mkdir -p "$into"
  cd "$into"
  apt-get -qq download "$@" >&2
  for deb in *.deb; do
    # No package has all of these, which tar takes for an error; any other is one.
    said=$(dpkg-deb --fsys-tarfile "$deb" | LC_ALL=C tar -x --wildcards --no-same-owner "${patterns[@]}" 2>&1 || true)
    said=$(grep -v -e 'Not found in archive$' -e 'Exiting with failure status' <<<"$said" || true)
    [ -z "$said" ] || die "$deb could not be unpacked: $said"
    rm -f "$deb"
  done
}

# Only the machine's own release beside the wanted suite: what the package needs is to come from there.
install() {
  local suite=$1 release=${1%-backports}
  shift
  dir=$(mktemp -d)
  # shellcheck disable=SC2064 # now
  trap "rm -rf '$dir'" EXIT
  write_sources "$(printf '%s amd64\n' "$release" "$release-security" "$suite")"
  write_config /var/lib/dpkg/status
  export APT_CONFIG=$dir/apt.conf
  apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -t "$suite" "$@" >&2
}

case ${1:-} in
index) [ $# -eq 2 ] || die "usage: debian.sh index DIR"; dir=$2; index ;;
unpack) [ $# -ge 6 ] || die "usage: debian.sh unpack DIR INTO GLOB… -- SPEC…"; dir=$2; unpack "${@:3}" ;;
install) [ $# -ge 3 ] || die "usage: debian.sh install SUITE PACKAGE…"; install "${@:2}" ;;
*) die "usage: debian.sh index|unpack|install …; its first lines explain" ;;
esac
