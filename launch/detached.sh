#!/usr/bin/env bash
# Runs a command that outlives the shell which starts it, one at a time:
#   detached.sh start COMMAND...   its output is appended to runs/detached/log
#   detached.sh status             prints idle, running, or its exit status
#   detached.sh follow             prints its output until it ends
#   detached.sh stop               sends SIGTERM and waits for its end
set -euo pipefail
folder="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/runs/detached"
mkdir -p "$folder"

running() {
  [[ -s "$folder/pid" ]] && kill -0 "$(<"$folder/pid")" 2>/dev/null
}

case "${1:-}" in
  start)
    if running; then
      echo "error: process $(<"$folder/pid") is running: detached.sh stop" >&2
      exit 2
    fi
    rm -f "$folder/pid" "$folder/status"
    # shellcheck disable=SC2016  # Expanded by the inner shell.
    setsid bash -c '
      folder="$1"; shift
      "$@" >> "$folder/log" 2>&1 & echo $! > "$folder/pid"
      status=0; wait $! || status=$?
      echo "$status" > "$folder/status"
    ' detached "$folder" "${@:2}" < /dev/null > /dev/null 2>&1 &
    until [[ -s "$folder/pid" ]]; do sleep 0.1; done
    ;;
  status)
    # Without a status the machine was restarted.
    if running; then
      echo running
    else
      cat "$folder/status" 2>/dev/null || echo idle
    fi
    ;;
  follow)
    if running; then
      tail -n 100 --pid="$(<"$folder/pid")" -F "$folder/log"
    fi
    ;;
  stop)
    if running; then
      kill -TERM "$(<"$folder/pid")"
      tail -f /dev/null --pid="$(<"$folder/pid")"
    fi
    ;;
  *)
    echo "error: expected start, status, follow or stop" >&2
    exit 2
    ;;
esac
