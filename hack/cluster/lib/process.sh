# Starting and ending the cluster's programs.
#
# A program is known by its pid and the start time that the kernel has for that pid. A process that got the same pid later
# is never signalled. Programs run in a session of their own and outlive the terminal.

started_at() { # the start time of a pid in clock ticks since boot; fails if there is no such process
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}

start() { # NAME PROGRAM ARGUMENTS...
  local name=$1
  shift
  mkdir -p "$cluster/log" "$cluster/pids"
  setsid "$@" >"$cluster/log/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(started_at $!)" >"$cluster/pids/$name"
  echo "$name" >"$cluster/last-started"
}

alive() { # NAME
  local pid since
  read -r pid since 2>/dev/null <"$cluster/pids/$1" || return 1
  [ "$(started_at "$pid")" = "$since" ]
}

stop() { # NAME [SIGNAL]: asks, waits 10 s, then kills
  local pid since
  if alive "$1"; then
    read -r pid since <"$cluster/pids/$1"
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      alive "$1" || break
      sleep 0.1
    done
    if alive "$1"; then kill -s KILL "$pid" 2>/dev/null || true; fi
  fi
  rm -f "$cluster/pids/$1"
}

first_dead() {
  local file
  for file in "$cluster"/pids/*; do
    [ -e "$file" ] && ! alive "${file##*/}" && echo "${file##*/}" && return
  done
  true
}

last_started() { cat "$cluster/last-started" 2>/dev/null || true; }
