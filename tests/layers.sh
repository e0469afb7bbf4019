#!/usr/bin/env bash
# Proves the direction of dependencies: the pure crates pull in no runtime, no network and no cluster, and each outside
# library is named only in the room that wraps it. Called by `make layers`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
fail() { echo "layers: $*" >&2; failed=1; }

# `pure CRATE`: nothing below it does IO.
pure() {
  local found
  found=$(cargo tree -p "$1" -e normal --prefix none --format '{p}' --locked |
    grep -E '^(tokio|bollard|tonic|prost|hyper|axum|kube|kube-[a-z]+|skerry-proto) v' | sort -u || true)
  [[ -z $found ]] || fail "$1 must be pure and depends on: ${found//$'\n'/, }"
}
pure skerry-terms
pure skerry-agent-core
pure skerry-controller-core

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
only kube controller -- agent/src controller proto
only axum controller/src/ops -- agent/src controller proto

# Nothing of ours depends on the tests.
for crate in skerry-terms skerry-proto skerry-agent-core skerry-agent skerry-api skerry-controller-core skerry-controller; do
  cargo tree -p "$crate" --prefix none --format '{p}' --locked | grep -q '^skerry-tests ' && fail "$crate depends on the tests"
done
exit "$failed"
