#!/usr/bin/env bash
# Proves the direction of dependencies: the pure crates pull in no runtime, no network and no cluster, and each outside
# library is named only in the room that wraps it. Called by `make layers`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
fail() { echo "layers: $*" >&2; failed=1; }

# `below CRATE FLAG…`: all that it depends on.
below() { cargo tree -p "$1" "${@:2}" --prefix none --format '{p}' --locked; }

# `without CRATE WHY PATTERN`: no crate whose name is of the pattern is below it.
without() {
  local below found
  below=$(below "$1" -e normal) || { fail "cargo tree -p $1 failed, see above"; return; }
  found=$(grep -E "^($3) v" <<<"$below" | sort -u || true)
  [[ -z $found ]] || fail "$1 $2 and depends on: ${found//$'\n'/, }"
}

# `pure CRATE`: nothing below it does IO.
pure() { without "$1" 'must be pure' 'tokio|bollard|tonic|prost|hyper|axum|rusqlite|kube|kube-[a-z]+|skerry-proto'; }
pure skerry-terms
pure skerry-agent-core
pure skerry-controller-core

# An API that knows what its client is made of would agree with it, and not with Kubernetes. kube-cel is no client.
without skerry-standalone 'is an API and knows no client' \
  'kube|kube-(client|core|derive|runtime)|k8s-openapi|tonic|bollard|skerry-.*(api|core|proto|agent|controller)'

# `only LIBRARY ROOM… -- PATH…`: under PATH, the library is named in these rooms alone.
only() {
  local library=$1 rooms=()
  shift
  while [[ $1 != -- ]]; do rooms+=("$1"); shift; done
  shift
  local file room
  while IFS= read -r file; do
    for room in "${rooms[@]}"; do [[ $file == $room* ]] && continue 2; done
    fail "$file names $library, which belongs to ${rooms[*]}"
  done < <(grep -rlE "\b$library::" --include='*.rs' "$@" || true)
}
only bollard agent/src/engine -- agent/src controller proto
only tonic agent/src/uplink controller/src/grpc proto -- agent/src controller proto
only kube controller/api controller/src -- agent/src controller proto
only skerry_standalone controller/src/standalone -- agent/src controller/src controller/core controller/api proto
standalone=controller/standalone/src
only axum controller/src/ops "$standalone"/{serve,http,view,room,catalogue,standalone} -- agent/src controller proto
only rusqlite "$standalone/store" -- agent/src controller proto
only rcgen agent/src/http_get/tests "$standalone"/{access,serve/tests,builtin_rules/certificates,builtin_rules/pem,builtin_rules/tests} -- agent/src controller proto
only x509_parser "$standalone"/{access,builtin_rules/certificates,builtin_rules/pem} -- agent/src controller proto

# Nothing of ours depends on the tests.
for crate in skerry-terms skerry-proto skerry-agent-core skerry-agent skerry-api skerry-controller-core \
  skerry-standalone skerry-controller; do
  [[ $(below "$crate") == "$crate "* ]] || fail "cargo tree -p $crate failed, see above"
  below "$crate" | grep '^skerry-tests ' >/dev/null && fail "$crate depends on the tests"
done
exit "$failed"
