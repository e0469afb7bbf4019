#!/usr/bin/env bash
# Pins another Kubernetes, and if asked another etcd, for the tests: writes go.mod and go.sum anew.
# Called by hand when a version is bumped; assets.sh notices the new pins and builds what they name.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: tests/kube/update.sh KUBERNETES [ETCD]      for example: tests/kube/update.sh v1.37.2 v3.6.16

Without ETCD the pinned etcd stays. Needs go and the Go module proxy; commit what it changes.
USAGE
}

case "${1:-} ${2:-}" in
  -h* | --help*) usage; exit 0 ;;
  v1.*.*' ' | v1.*.*' 'v3.*.*) ;;
  *) usage >&2; exit 2 ;;
esac

export GOTOOLCHAIN=auto GOFLAGS='' GOWORK=off
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# `pin FOLDER MODULE VERSION COMMAND…`: writes FOLDER's go.mod and go.sum. The commands are `tool` lines, so
# the module needs no Go file, and the go line is MODULE's own, because GODEBUG defaults hang on it.
pin() {
  local folder=$1 module=$2 version=$3 upstream
  mkdir -p "$work/module" && cd "$work/module"
  upstream=$(cd "$work" && go list -m -f '{{.GoMod}}' "$module@$version")
  {
    printf 'module skerry.dev/tests/%s\n\n' "$(basename "$folder")"
    grep '^go ' "$upstream"
    printf '\nrequire %s %s\n\n' "$module" "$version"
    printf 'tool %s\n' "${@:4}"
    # Kubernetes replaces its staging modules with folders of its own repository, which nobody else has;
    # v1.X.Y publishes each of them as v0.X.Y.
    awk -v v="v0.${version#v*.}" '
      $2 == "=>" && $3 ~ "^./staging/" { if (!n++) print "\nreplace ("; print "\t" $1 " => " $1 " " v }
      END { if (n) print ")" }' "$upstream"
  } >go.mod
  go mod tidy
  mv go.mod go.sum "$folder/"
}

pin "$here" k8s.io/kubernetes "$1" k8s.io/kubernetes/cmd/{kube-apiserver,kubectl}
[[ -z ${2:-} ]] || pin "$here/etcd" go.etcd.io/etcd/server/v3 "$2" go.etcd.io/etcd/server/v3
