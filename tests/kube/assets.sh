#!/usr/bin/env bash
# Prints the folder that holds kube-apiserver, kubectl and etcd (envtest's layout) and, the first time, builds
# them there from the versions pinned in go.mod and etcd/go.mod. Called by control-plane.sh and the tests.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: tests/kube/assets.sh

Prints a folder on stdout, progress on stderr. The first call takes some minutes, later ones milliseconds.

  KUBEBUILDER_ASSETS   a folder that holds the three already: checked, printed, nothing is built
  SKERRY_CACHE         where builds are kept (default: $XDG_CACHE_HOME/skerry or ~/.cache/skerry)
USAGE
}

say() { echo "assets: $*" >&2; }
die() { say "$@"; exit 1; }

# `missing FOLDER`: those of the three that FOLDER does not hold as executables, separated by blanks.
missing() {
  local tool missing=()
  for tool in kube-apiserver kubectl etcd; do
    [[ -f $1/$tool && -x $1/$tool ]] || missing+=("$tool")
  done
  echo "${missing[*]}"
}

case ${1:-} in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  lacks=$(missing "$KUBEBUILDER_ASSETS")
  [[ -z $lacks ]] || die "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold $lacks as executables:" \
    "correct it, or unset it and the tests build their own"
  realpath "$KUBEBUILDER_ASSETS"
  exit 0
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=("$here"/go.{mod,sum} "$here"/etcd/go.{mod,sum})

# `pinned GOMOD MODULE`: the version of MODULE that GOMOD requires.
pinned() {
  [[ $(<"$1") =~ [[:space:]]"$2 "(v[^[:space:]]+) ]] || die "$1 does not require $2; write it anew with update.sh"
  echo "${BASH_REMATCH[1]}"
}
kubernetes=$(pinned "$here/go.mod" k8s.io/kubernetes)
etcd=$(pinned "$here/etcd/go.mod" go.etcd.io/etcd/server/v3)

# A Kubernetes binary that was not told its version reports one that clients cannot parse.
[[ $kubernetes =~ ^v([0-9]+)\.([0-9]+)\. ]]
version=k8s.io/component-base/version
ldflags="-s -w -X $version.gitVersion=$kubernetes"
ldflags+=" -X $version.gitMajor=${BASH_REMATCH[1]} -X $version.gitMinor=${BASH_REMATCH[2]}"

root=$(realpath -m "${SKERRY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/skerry}")/kube
key=$({ cat "${pins[@]}"; echo "$ldflags" "$MACHTYPE"; } | sha256sum)
assets=$root/$kubernetes-$etcd-${key:0:8}

done_already() { [[ -z $(missing "$assets") ]] && echo "$assets"; }
if done_already; then exit 0; fi

# Go 1.21 is the first that fetches the newer toolchain which go.mod asks for.
export GOTOOLCHAIN=auto GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
command -v go >/dev/null || die "building needs Go, and no go is on the PATH:" \
  "run tests/host/prepare.sh --go, or install Go 1.21 or newer from https://go.dev/dl"
installed=$(GOTOOLCHAIN=local go env GOVERSION)
[[ $installed =~ ^go1\.(2[1-9]|[3-9][0-9]) ]] ||
  die "$(command -v go) is ${installed:-too old to say its version}; building needs Go 1.21 or newer:" \
    "run tests/host/prepare.sh --go, or install one from https://go.dev/dl"

mkdir -p "$root"
exec {lock}>"$root/.lock"
if ! flock --nonblock "$lock"; then
  say "another build is under way: waiting for it"
  flock "$lock"
fi
if done_already; then exit 0; fi

rm -rf "$root"/.build.* # of builds that were killed: nobody else builds while we hold the lock
work=$(mktemp -d "$root/.build.XXXXXX")
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/bin"
: >"$work/log"

# Reports every 15 s: a build without a sign of life looks hung. The read waits on a pipe that nobody
# writes to: a sleep without a child process that could outlive this one.
tick() {
  local never
  exec {lock}>&- {never}<> <(:)
  while ! read -rt 15 -u "$never"; do
    say "${SECONDS} s: $(wc -l <"$work/log") steps done, now at $(tail -n 1 "$work/log")"
  done
}
SECONDS=0
tick &

# `build FOLDER OUTPUT FLAGS PACKAGE…` with the pins of FOLDER.
build() {
  cd "$1"
  nice -n 5 go build -v -trimpath -ldflags "$3" -o "$2" "${@:4}" >>"$work/log" 2>&1 &
  wait $! || die "go build failed:"$'\n'"$(tail -n 20 "$work/log")"
  say "$SECONDS s: built ${*:4}"
}
say "building kube-apiserver and kubectl $kubernetes and etcd $etcd with $(cd "$here" && go env GOVERSION)" \
  "into $assets; this happens once and takes about 5 minutes on 2 cores"
build "$here" "$work/bin/" "$ldflags" k8s.io/kubernetes/cmd/{kube-apiserver,kubectl}
build "$here/etcd" "$work/bin/etcd" "-s -w" go.etcd.io/etcd/server/v3

rm -rf "$assets"
mv "$work/bin" "$assets"
echo "$assets"
