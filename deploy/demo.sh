#!/usr/bin/env bash
# The main job on one machine: `kubectl apply` at one end, a served page at the other. Starts the controller with its own
# API, or beside a real kube-apiserver, and one agent, and leaves them running to play with. Called by `make demo` and
# `make demo-down`.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: deploy/demo.sh up [--kube] | down

  up     installs what is missing (and says so first), builds, starts everything, applies deploy/examples/hello.yaml
  --kube on a real kube-apiserver and etcd, which are built the first time (minutes, and a Go toolchain), in place of
         the controller's own API
  down   ends everything that `up` started and removes what it made

  SKERRY_DEMO_DIR   where the demo keeps its files (default: ~/.local/state/skerry/demo)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/.." && pwd)
dir=${SKERRY_DEMO_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/skerry/demo}
node=demo-box
page=http://127.0.0.1:8088/
images=(skerry.local/busybox:1 skerry.dev/pause:1)
# shellcheck source-path=SCRIPTDIR source=../tests/host/process.sh
source "$repository/tests/host/process.sh"

say() { echo "==> $*"; }
die() { echo "demo: $*" >&2; exit 1; }
free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
kubectl() { "$kubectl" --kubeconfig "$kubeconfig" "$@"; }
step() { say "$((++step))/$steps $*"; }
engine_answers() { docker info >/dev/null 2>&1; }

# `wait_for WHAT SECONDS COMMAND…`
wait_for() {
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || die "$what: not within the time; the logs are in $dir"
    sleep 0.1
  done
}

# The ports of an earlier start while that runs or they are free, since the agent and people know them; else new ones.
choose_ports() {
  session_port=7443 ops_port=8080 api_port=6443
  [[ ! -f ports ]] || read -r session_port ops_port api_port <ports
  if alive controller >/dev/null; then return; fi
  until free "$session_port"; do session_port=$((session_port + 1)); done
  until free "$ops_port"; do ops_port=$((ops_port + 1)); done
  until free "$api_port"; do api_port=$((api_port + 1)); done
  echo "$session_port $ops_port $api_port" >ports
}

# A demo stays on the API that it began on: the other one knows nothing of its node.
check_api() {
  [[ ! -f api-is || $(<api-is) == "$1" ]] || die "there is a demo on the other API: \`make demo-down\` first"
}

# The user's own kubectl, if it is not older than what Skerry is tested with.
own_kubectl() {
  local path
  path=$(type -P kubectl) || return 1
  [[ $("$path" version --client -o json 2>/dev/null) =~ \"gitVersion\":\ *\"v1\.([0-9]+) ]] &&
    ((BASH_REMATCH[1] >= 29)) && echo "$path"
}

# Where neither pip nor dl.k8s.io is at hand, Debian has pip.
get_kubectl() {
  own_kubectl || "$repository/tests/kube/clients.sh" kubectl ||
    { "$repository/tests/host/prepare.sh" --clients && "$repository/tests/kube/clients.sh" kubectl; }
}

start_kube() {
  step "a Kubernetes API (built the first time, which takes minutes)"
  kubectl=$("$repository/tests/kube/assets.sh")/kubectl
  "$repository/tests/kube/control-plane.sh" up "$dir/kube" >/dev/null
  kubectl apply --server-side -f "$repository/deploy/crds"
  kubectl wait --for=condition=Established crd --all --timeout=30s >/dev/null
}

# `start_controller VERB FLAG…`
start_controller() {
  alive controller >/dev/null || launch controller "$target/debug/skerry-controller" "$@" \
    --listen "127.0.0.1:$session_port" --http-listen "127.0.0.1:$ops_port"
  wait_for "the controller is ready" 30 curl -sf "http://127.0.0.1:$ops_port/readyz"
}

# What was there before is not ours to remove.
note_what_was_there() {
  [[ ! -f before ]] || return 0
  : >before
  if engine_answers; then echo engine >>before; fi
  for image in "${images[@]}"; do
    docker image inspect "$image" >/dev/null 2>&1 && echo "$image" >>before
  done
  return 0
}

up() {
  local api=standalone step=0 steps=5 prepare=(--docker)
  kubeconfig=$dir/api/admin.kubeconfig
  if [[ ${1:-} == --kube ]]; then
    api=kube steps=6 prepare+=(--go)
    kubeconfig=$dir/kube/kubeconfig
  fi
  (umask 077 && mkdir -p "$dir") && cd "$dir"
  # What is interrupted may have its output redirected, and the trap with it.
  exec {screen}>&1
  trap 'trap - EXIT; { echo; say "interrupted, cleaning up"; down; } >&$screen 2>&1; exit 130' INT TERM
  trap 'code=$?; ((code == 0)) || echo "demo: failed; the logs are in $dir; \`make demo-down\` removes everything" >&2' EXIT

  check_api "$api"
  note_what_was_there
  step "what the machine needs"
  "$repository/tests/host/prepare.sh" "${prepare[@]}"
  "$repository/tests/host/test-image.sh" >/dev/null
  [[ $api == kube ]] || kubectl=$(get_kubectl)
  step "building the controller and the agent (minutes the first time)"
  (cd "$repository" && cargo build -p skerry-controller -p skerry-agent)
  target=$(cd "$repository" && cargo metadata --no-deps --format-version 1 |
    sed -E 's/.*"target_directory":"([^"]*)".*/\1/')

  choose_ports
  echo "$api" >api-is
  if [[ $api == kube ]]; then
    start_kube
    step "the controller"
    start_controller run --kubeconfig "$kubeconfig"
  else
    step "the controller, with its own API"
    start_controller standalone --data-dir "$dir/api" --api-listen "127.0.0.1:$api_port"
  fi
  step "an agent: the edge node $node"
  cat >agent.toml <<TOML
node-name = "$node"
controller = "http://127.0.0.1:$session_port"
state-dir = "$dir/agent"

[labels]
site = "hz"
TOML
  alive agent >/dev/null || launch agent "$target/debug/skerry-agent" run --config "$dir/agent.toml"
  wait_for "the node joins" 30 kubectl get edgenode "$node"
  kubectl wait --for=condition=Ready "edgenode/$node" --timeout=60s >/dev/null
  step "kubectl apply -f deploy/examples/hello.yaml"
  kubectl apply -f "$here/examples/hello.yaml"
  kubectl wait --for=condition=Available edgeapp/hello --timeout=60s
  echo
  kubectl get edgenodes,edgeapps -o wide
  echo
  say "curl $page"
  wait_for "the page is served" 30 curl -sf "$page"
  curl -sf "$page"
  trap - INT TERM
  cat <<TEXT

It runs. To play with it:

  export KUBECONFIG=$kubeconfig$([[ $kubectl -ef $(type -P kubectl) ]] || echo " PATH=${kubectl%/*}:\$PATH")
  kubectl get edgeapps -w
  kubectl patch edgeapp hello --type=json -p '[{"op": "replace",
    "path": "/spec/template/spec/containers/0/env/0/value", "value": "Hello again"}]' && sleep 3 && curl $page
  kubectl apply -f deploy/examples/sidecar.yaml && docker ps
  kubectl explain edgeapp.spec.template.spec
  kubectl delete edgeapp hello

Logs: $dir/controller.log and agent.log. Metrics: http://127.0.0.1:$ops_port/metrics
\`make demo-down\` ends everything.
TEXT
}

down() {
  [[ -d $dir ]] || { echo "demo: nothing runs"; return 0; }
  cd "$dir"
  end agent 10
  if engine_answers; then
    local ids
    ids=$(docker ps -aq --filter "label=skerry.dev/node=$node")
    # shellcheck disable=SC2086 # several ids
    [[ -z $ids ]] || docker rm -fv $ids >/dev/null
    for image in "${images[@]}"; do
      [[ ! -f before ]] || grep -qxF "$image" before || docker rmi "$image" >/dev/null 2>&1 || true
    done
  fi
  end controller 10
  [[ ! -d kube ]] || "$repository/tests/kube/control-plane.sh" down "$dir/kube"
  [[ ! -f before ]] || grep -qx engine before || "$repository/tests/host/prepare.sh" --down
  cd / && rm -rf "$dir"
  echo "demo: ended; nothing is left running"
}

case "$*" in
  up | 'up --kube' | down) "$@" ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
