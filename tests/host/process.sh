# shellcheck shell=bash
# Processes that outlive the script that starts them: sourced by prepare.sh and kube/control-plane.sh.
# A pid file holds "PID START", START being the kernel's start time of that process, so a pid that was
# handed to another process since is never taken for ours, let alone killed.

# `start_of PID`: when the process started, in clock ticks since boot; fails for one that is gone or a zombie.
start_of() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1 # $(<file) would end the whole shell where the file is gone
  read -ra stat <<<"${stat##*) }" # what follows "(command)", which may itself hold spaces
  [[ ${stat[0]} != [ZX] ]] && echo "${stat[19]}"
}

# `launch NAME COMMAND…`: in a session of its own, with nothing of the caller's held open;
# log in NAME.log, pid file NAME.pid.
launch() {
  local name=$1
  shift
  (
    for fd in /proc/"$BASHPID"/fd/*; do
      fd=${fd##*/}
      ((fd < 3)) || exec {fd}>&-
    done
    exec setsid "$@" </dev/null >>"$name.log" 2>&1
  ) &
  echo "$! $(start_of $!)" >"$name.pid"
}

# `alive NAME`: succeeds, with the pid on stdout, while the process that launch started runs.
alive() {
  local pid start
  { read -r pid start <"$1.pid"; } 2>/dev/null || return 1
  [[ -n $start && $(start_of "$pid") == "$start" ]] && echo "$pid"
}

# `end NAME SECONDS`: SIGTERM, and SIGKILL to what is left after SECONDS. Nothing to end is fine.
end() {
  local pid deadline=$((SECONDS + $2))
  if pid=$(alive "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    while alive "$1" >/dev/null; do
      ((SECONDS < deadline)) || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
  fi
  rm -f "$1.pid"
}
