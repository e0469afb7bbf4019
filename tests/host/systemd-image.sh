#!/usr/bin/env bash
# Makes the image skerry.local/systemd:1 in the local Docker Engine: this Debian's own release with a systemd that can be PID 1, and nothing
# else, so that the agent's unit is tested under a real systemd. About a minute and 100 MB of packages the first time; instant when
# the image is there. Called by the tests and `make`.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

usage() {
  cat <<'USAGE'
Usage: tests/host/systemd-image.sh

Prints the image's name. Needs root and debootstrap: run tests/host/prepare.sh --systemd
USAGE
}

case ${1:-} in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

die() { echo "systemd-image: $*" >&2; exit 1; }

image=skerry.local/systemd:1
packages=systemd,systemd-sysv,dbus
# The agent under test was linked here: the image has the same C library.
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[[ $suite ]] || die "this is no Debian release"

# What the image is made of, as a label on it: an edit of this script or another release makes it anew.
recipe=$(echo "$suite" | cat "${BASH_SOURCE[0]}" - | sha256sum | cut -c 1-16)
present=$(docker image ls --quiet --filter "reference=$image" --filter "label=recipe=$recipe") ||
  die "Docker Engine does not answer: run tests/host/prepare.sh --docker"

if [[ -z $present ]]; then
  command -v debootstrap >/dev/null || die "no debootstrap: run tests/host/prepare.sh --systemd"
  ((!EUID)) || die "debootstrap works as root only"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  chmod 755 "$root"
  debootstrap --variant=minbase "--include=$packages" "$suite" "$root/root" >"$root/log" 2>&1 ||
    die "debootstrap failed:"$'\n'"$(tail -n 5 "$root/log")"
  rm -rf "$root"/root/var/{cache/apt/archives/*.deb,lib/apt/lists/*} "$root"/root/usr/share/{doc,man,locale}/*
  # Containers have no terminals to log in at, and no devices to wait for.
  chroot "$root/root" systemctl mask --quiet getty.target systemd-udevd.service systemd-logind.service
  tar -C "$root/root" --numeric-owner -c . |
    docker import -c 'CMD ["/sbin/init"]' -c "LABEL recipe=$recipe" - "$image" >/dev/null
fi
echo "$image"
