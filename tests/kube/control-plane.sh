#!/usr/bin/env bash
# A real Kubernetes API for the tests: etcd and kube-apiserver on free loopback ports, everything they write
# under one folder. Called by the tests and `make`. There is no controller manager: nobody collects garbage,
# finishes the deletion of a namespace or makes service accounts.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: tests/kube/control-plane.sh VERB DIR

  up                  starts both, waits until the API is ready, prints the path of the kubeconfig (admin);
                      does nothing more when they run; finds the data of an earlier `up` again
  down                ends both; DIR and its data stay
  status              says what runs; succeeds when both run and the API is ready
  stop-apiserver      ends the API server alone
  start-apiserver     starts it again with the same port, certificate, tokens and data
  restart-apiserver   both

  SKERRY_KUBE_AUDIT=1 for `up`: every request is in DIR/audit.log, level Metadata

Under DIR: kubeconfig, etcd.log, kube-apiserver.log, audit.log and the data of both.
USAGE
}

say() { echo "control-plane: $*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../host/process.sh
source "$here/../host/process.sh"

# `free PORT`: nobody listens there.
free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Keeps the ports of an earlier start while they are free, else takes new ones, below the range from which
# the kernel takes the ports of outgoing connections.
choose_ports() {
  until [[ -n ${etcd_port:-} ]] && free "$etcd_port"; do etcd_port=$((20000 + RANDOM % 6000)); done
  until [[ -n ${api_port:-} ]] && free "$api_port"; do api_port=$((26000 + RANDOM % 6000)); done
  echo "$etcd_port $api_port" >ports
}

# `wait_for NAME SECONDS COMMAND…`: until COMMAND succeeds; gives up when NAME ends or time is over.
wait_for() {
  local name=$1 deadline=$((SECONDS + $2)) next=$((SECONDS + 5))
  shift 2
  until "$@"; do
    alive "$name" >/dev/null || die "$name ended; its last words, from $PWD/$name.log:"$'\n'"$(tail -n 15 "$name.log")"
    ((SECONDS < deadline)) || die "$name is not ready in time, see $PWD/$name.log:"$'\n'"$(tail -n 15 "$name.log")"
    ((SECONDS < next)) || { say "still waiting for $name"; next=$((SECONDS + 5)); }
    sleep 0.1
  done
}

etcd_ready() { curl -sf -m 2 -o /dev/null "http://127.0.0.1:$etcd_port/readyz"; }
api_ready() {
  [[ -f certs/apiserver.crt ]] &&
    curl -sf -m 5 -o /dev/null --cacert certs/apiserver.crt "https://127.0.0.1:$api_port/readyz"
}

start_etcd() {
  # The peer port is never dialled: a cluster of one. No fsync: the data need not survive a power cut.
  alive etcd >/dev/null || launch etcd "$assets/etcd" --data-dir etcd --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls http://127.0.0.1:0 --log-level warn
  wait_for etcd 60 etcd_ready
}

start_apiserver() {
  local audit=()
  [[ ! -f audit-policy.yaml ]] || audit=(--audit-policy-file audit-policy.yaml --audit-log-path audit.log)
  # The server makes its serving certificate before it reads the keys of service accounts, so one key
  # serves both. The advertised address is used by nobody, but without it the server wants a default route.
  alive kube-apiserver >/dev/null || launch kube-apiserver "$assets/kube-apiserver" \
    --etcd-servers "http://127.0.0.1:$etcd_port" \
    --bind-address 127.0.0.1 --secure-port "$api_port" --cert-dir certs \
    --advertise-address 192.0.2.1 --endpoint-reconciler-type none --service-cluster-ip-range 10.0.0.0/24 \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file certs/apiserver.key --service-account-signing-key-file certs/apiserver.key \
    --authorization-mode RBAC --token-auth-file tokens.csv --disable-admission-plugins ServiceAccount \
    "${audit[@]}"
  wait_for kube-apiserver 120 api_ready
}

# At once: whatever it answered is in etcd, and its graceful end would wait for the watches of its clients.
stop_apiserver() { end kube-apiserver 0; }

write_kubeconfig() {
  cat >kubeconfig.new <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: skerry-test
clusters:
- name: skerry-test
  cluster: {server: "https://127.0.0.1:$api_port", certificate-authority-data: $(base64 -w 0 certs/apiserver.crt)}
users:
- name: admin
  user: {token: $(cut -d , -f 1 tokens.csv)}
contexts:
- name: skerry-test
  context: {cluster: skerry-test, user: admin}
KUBECONFIG
  mv kubeconfig.new kubeconfig
}

up() {
  if ! { alive etcd && alive kube-apiserver && api_ready; } >/dev/null; then
    say "starting etcd and kube-apiserver in $PWD"
    trap 'stop_apiserver; end etcd 10' EXIT # a failed `up` leaves nothing behind
    if [[ ${SKERRY_KUBE_AUDIT:-} == 1 ]]; then
      printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'rules: [{level: Metadata}]' >audit-policy.yaml
    else
      rm -f audit-policy.yaml
    fi
    # As the admin of the standalone API is called, which has no uid: answers that name the user are compared.
    [[ -f tokens.csv ]] || echo "$(</proc/sys/kernel/random/uuid),skerry-admin,,system:masters" >tokens.csv
    stop_apiserver
    alive etcd >/dev/null || choose_ports
    start_etcd
    start_apiserver
    write_kubeconfig
    trap - EXIT
    say "ready after $SECONDS s at https://127.0.0.1:$api_port"
  fi
  echo "$PWD/kubeconfig"
}

status() {
  local name pid down=0
  for name in etcd kube-apiserver; do
    if pid=$(alive "$name"); then echo "$name: running, pid $pid"; else echo "$name: not running"; down=1; fi
  done
  ((!down)) && api_ready && echo "ready at https://127.0.0.1:$api_port"
}

verb=${1:-}
case "$verb" in
  -h | --help) usage; exit 0 ;;
  up | down | status | stop-apiserver | start-apiserver | restart-apiserver) ;;
  *) usage >&2; exit 2 ;;
esac
[[ $# == 2 && -n $2 ]] || { usage >&2; exit 2; }

command -v curl >/dev/null || die "needs curl: run tests/host/prepare.sh"
umask 077
case "$verb" in
  up | *start-apiserver) assets=$("$here/assets.sh") ;;
esac
if [[ $verb == up ]]; then
  mkdir -p "$2"
elif [[ ! -d $2 ]]; then
  case "$verb" in
    down | stop-apiserver) exit 0 ;;
    *) die "nothing was ever started in $2" ;;
  esac
fi

# Relative names from here on: pid files, logs and flags are short, and the folder may be renamed while down.
cd "$2"
SECONDS=0
exec {lock}>.lock
[[ $verb == status ]] || flock "$lock" # one change at a time
[[ ! -f ports ]] || read -r etcd_port api_port <ports

case "$verb" in
  up) up ;;
  down) stop_apiserver; end etcd 10 ;;
  status) status ;;
  stop-apiserver) stop_apiserver ;;
  *start-apiserver)
    alive etcd >/dev/null || die "etcd does not run: use \`up\`"
    [[ $verb == start-apiserver ]] || stop_apiserver
    start_apiserver
    ;;
esac
