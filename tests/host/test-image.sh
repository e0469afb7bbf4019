#!/usr/bin/env bash
# Makes the image skerry.local/busybox:1 that tests and the demo run: static busybox on nothing, in the local
# Docker Engine, without a registry. Called by the tests and `make`; instant when the image is there.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: tests/host/test-image.sh

Prints the image's name. It holds every applet of Debian's busybox-static in /bin: sh, httpd, nc, wget, …
That busybox has no `nc -z`, and its `wget -T` crashes: bound a wget with `timeout`.
USAGE
}

case ${1:-} in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

die() { echo "test-image: $*" >&2; exit 1; }

image=skerry.local/busybox:1
busybox=/bin/busybox
[[ -x $busybox ]] || die "no $busybox: run tests/host/prepare.sh --docker"

# What the image is made of, as a label on it: an edit of this script or another busybox makes it anew.
recipe=$(cat "${BASH_SOURCE[0]}" "$busybox" | sha256sum | cut -c 1-16)
present=$(docker image ls --quiet --filter "reference=$image" --filter "label=recipe=$recipe") ||
  die "Docker Engine does not answer: run tests/host/prepare.sh --docker"

if [[ -z $present ]]; then
  [[ -z $(ldd "$busybox" 2>/dev/null) ]] || die "$busybox is not static: install busybox-static"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  chmod 755 "$root"
  mkdir "$root"/{bin,etc,tmp}
  chmod 1777 "$root/tmp"
  cp "$busybox" "$root/bin/busybox"
  "$busybox" --list | grep -vx busybox | while read -r applet; do ln -s busybox "$root/bin/$applet"; done
  echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
  tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
    docker import -c 'ENV PATH=/bin' -c 'CMD ["sh"]' -c "LABEL recipe=$recipe" - "$image" >/dev/null
fi
echo "$image"
