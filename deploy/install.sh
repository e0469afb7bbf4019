#!/usr/bin/env bash
# Installs the Skerry agent as a systemd service, or takes it away again. Says what it does, changes only what differs, and is safe to run again:
# a second run with the same binary restarts nothing. Containers and what the agent has stored are left alone, whatever happens.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: deploy/install.sh [BINARY]
       deploy/install.sh --uninstall

BINARY is the skerry-agent to install (default: beside this script, else target/agent, target/release, target/debug). Needs root.

  /usr/local/bin/skerry-agent                  the binary; an agent that runs is upgraded with `skerry-agent upgrade`, which goes back if the new one fails
  /etc/systemd/system/skerry-agent.service     the unit; local changes belong into skerry-agent.service.d
  /etc/skerry/agent.toml                       made with the host's name if it is missing; kept otherwise

--uninstall stops the agent and removes binary and unit. Containers run on; /etc/skerry and /var/lib/skerry stay.

  SKERRY_CONTROLLER   controller for a new agent.toml (default: http://127.0.0.1:7443)
USAGE
}

say() { echo "install: $*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=/usr/local/bin/skerry-agent
unit=/etc/systemd/system/skerry-agent.service
config=/etc/skerry/agent.toml

uninstall=
source=
for argument; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    --uninstall) uninstall=yes ;;
    -*) usage >&2; exit 2 ;;
    *) [[ -z $source ]] || { usage >&2; exit 2; }; source=$argument ;;
  esac
done

((!EUID)) || die "this needs root: sudo $0 $*"
[[ -d /run/systemd/system ]] || die "there is no systemd here: start \`skerry-agent run\` with what starts services on this box"

if [[ $uninstall ]]; then
  systemctl disable --now skerry-agent.service 2>/dev/null || true
  rm -f "$unit" "$binary" "$binary".{new,previous}
  systemctl daemon-reload
  say "removed. Containers run on, and /etc/skerry and /var/lib/skerry are kept"
  exit 0
fi

if [[ -z $source ]]; then
  for candidate in "$here"/skerry-agent "$here"/../target/{agent,release,debug}/skerry-agent; do
    [[ ! -x $candidate ]] || { source=$candidate; break; }
  done
fi
[[ -f $source ]] || die "no binary${source:+ at $source}: give its path, or build one with: cargo build --profile agent -p skerry-agent"
"$source" --version >/dev/null || die "$source does not run here"

# `put SOURCE TARGET MODE`: replaces a file at once, and sets `changed` to whether it differed. What is not whole never gets into place.
put() {
  changed=
  ! cmp -s "$1" "$2" || return 0
  install -D -m "$3" "$1" "$2.installing" || die "cannot write $2.installing"
  sync "$2.installing" || die "$2.installing does not get onto the disk"
  mv -f "$2.installing" "$2" || die "cannot replace $2"
  changed=yes
  say "wrote $2"
}

if [[ ! -e $config ]]; then
  install -d -m 0755 /etc/skerry
  {
    echo "# Every key is described by: skerry-agent run --help"
    echo "node-name = \"$(uname -n | tr '[:upper:]' '[:lower:]')\""
    echo "controller = \"${SKERRY_CONTROLLER:-http://127.0.0.1:7443}\""
  } >"$config.installing"
  mv "$config.installing" "$config"
  say "wrote $config"
fi

if systemctl is-active --quiet skerry-agent.service && [[ -x $binary ]]; then
  if ! cmp -s "$source" "$binary"; then
    say "upgrading $("$binary" --version) to $("$source" --version)"
    "$binary" upgrade "$source" || die "the version that ran before runs on"
  fi
else
  put "$source" "$binary" 0755
fi
# After the upgrade, which stays in one process and so under the unit that this was started by.
put "$here/systemd/skerry-agent.service" "$unit" 0644
if [[ $changed ]]; then
  systemctl daemon-reload
  # An orderly end: a new version on probation is not charged with it.
  systemctl try-restart skerry-agent.service
fi
systemctl enable --quiet --now skerry-agent.service
say "$("$binary" --version) runs: skerry-agent status"
