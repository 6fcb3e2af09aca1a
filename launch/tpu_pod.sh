#!/usr/bin/env bash
# Trains on a Cloud TPU slice and goes on by itself after a preemption.
#
#   export PROJECT=my-project ZONE=us-west4-a BUCKET=my-bucket
#   bash launch/tpu_pod.sh all --config=configs/imagenet256.py
#   bash launch/tpu_pod.sh [--dry-run] VERB [FLAGS OF lowdiff_jax.main]
#
# create   requests the slice and waits until it is there
# setup    copies the last commit to all workers and installs the requirements
# run      starts the program on all workers; it does not need the connection
# logs     prints the output of worker 0 until the program ends
# stop     has the program save and end
# fetch    copies what it has written, without checkpoints, to runs/NAME
# delete   deletes the slice
# all      create, setup, run and logs, again after a preemption, until the
#          program has ended; then fetch and delete. If it was interrupted
#          itself, the same command goes on.
#
# The workdir is gs://BUCKET/NAME. Optional variables:
#   NAME=lowdiff              of the slice and the run
#   ACCELERATOR=v5litepod-8   the type of the slice
#   SPOT=yes                  no: a slice that is not preempted
#   RUNTIME                   its software, by default that of ACCELERATOR
#   SERVICE_ACCOUNT           of the workers, by default that of the project
#   FAILURES=3                times that `all` starts a program that has failed,
#                             unless by a mistake (status 2)
#   POLL=30                   seconds between two looks at the slice
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 2
}

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Runs a command; a dry run prints it to fd 3.
step() {
  if [[ -z "$dry_run" ]]; then
    "$@"
    return
  fi
  local word line=()
  for word in "$@"; do
    if [[ "$word" =~ ^[-A-Za-z0-9_=:/.,]+$ ]]; then
      line+=("$word")
    else
      line+=("${word@Q}")
    fi
  done
  echo "${line[*]}" >&3
}

tpus() {
  step gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE" --quiet
}

# Runs a command line on workers: on_workers all|NUMBER LINE
on_workers() { tpus tpu-vm ssh "$NAME" --worker="$1" --command="$2"; }

# The state of the request: ACTIVE, WAITING_FOR_RESOURCES, ...; NONE without one.
state() {
  local answer
  if answer="$(tpus queued-resources describe "$NAME" \
    --format='value(state.state)' 2>&1)"; then
    tail -n 1 <<< "$answer"
  elif [[ "$answer" == *NOT_FOUND* ]]; then
    echo NONE
  else
    echo "$answer" >&2
    echo UNKNOWN
  fi
}

request() {
  local options=()
  if [[ "$SPOT" == yes ]]; then options+=(--spot); fi
  if [[ -n "${SERVICE_ACCOUNT:-}" ]]; then
    options+=(--service-account="$SERVICE_ACCOUNT")
  fi
  tpus queued-resources create "$NAME" --node-id="$NAME" \
    --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" \
    "${options[@]}"
}

create() {
  if [[ -n "$dry_run" ]]; then
    request
    state > /dev/null
    return
  fi
  local now
  while true; do
    now="$(state)"
    if [[ "$now" == UNKNOWN && -z "$answered" ]]; then
      fail "gcloud does not say what there is in $PROJECT, $ZONE; see above"
    fi
    answered=yes
    case "$now" in
      ACTIVE) return ;;
      NONE) request ;;
      SUSPENDED) delete ;;  # It was preempted.
      FAILED)
        fail "the request for $NAME has failed, \`gcloud compute tpus" \
          "queued-resources describe $NAME\` says why; delete it first" ;;
      *) echo "$NAME: $now" >&2 ;;
    esac
    sleep "$POLL"
  done
}

setup() {
  local archive="runs/$NAME.tar.gz"
  step mkdir -p runs
  step git archive --prefix=lowdiff_jax/ --output="$archive" HEAD \
    lowdiff_jax configs launch requirements.txt
  # The images of TPU VMs have an older Python; uv brings one.
  tpus tpu-vm scp "$archive" "$NAME:lowdiff_jax.tar.gz" --worker=all &&
    on_workers all "tar xzf lowdiff_jax.tar.gz && cd lowdiff_jax \
&& python3 -m pip install --quiet --user uv \
&& python3 -m uv venv --quiet --allow-existing --python=3.12 .venv \
&& python3 -m uv pip install --quiet -r requirements.txt 'jax[tpu]'"
}

run() {
  local flags
  flags="$(printf ' %q' --workdir="gs://$BUCKET/$NAME" "$@")"
  on_workers all "cd lowdiff_jax && bash launch/detached.sh start \
env JAX_COMPILATION_CACHE_DIR=gs://$BUCKET/compiled \
.venv/bin/python -m lowdiff_jax.main$flags"
}

# idle, running, or the exit status of a worker that has failed, else 0.
program() {
  local all
  all="$(on_workers all "bash lowdiff_jax/launch/detached.sh status" \
    2>/dev/null | grep -xE 'idle|running|[0-9]+')" || all=idle
  local one
  for one in running idle 2 '[1-9][0-9]*' 0; do
    if grep -m 1 -xE "$one" <<< "$all"; then return; fi
  done
}

logs() { on_workers 0 "bash lowdiff_jax/launch/detached.sh follow"; }

stop() { on_workers all "bash lowdiff_jax/launch/detached.sh stop"; }

fetch() {
  step mkdir -p "runs/$NAME"
  step gcloud storage rsync "gs://$BUCKET/$NAME" "runs/$NAME" \
    --recursive --exclude='^checkpoints/.*' --project="$PROJECT"
}

delete() { tpus queued-resources delete "$NAME" --force; }

all() {
  local now failures=0
  while true; do
    create
    now="$(program)"
    case "${now:-idle}" in
      0) break ;;
      running) ;;
      idle) if setup; then run "$@" || true; fi ;;
      *)
        failures=$((failures + 1))
        if ((now == 2 || failures > FAILURES)); then
          fail "the program ended with status $now; the slice is kept:" \
            "\`logs\` says why, \`delete\` deletes it"
        fi
        run "$@" || true
        ;;
    esac
    # The connection, or the slice, may be lost at any step: look again.
    logs || true
    if [[ -n "$dry_run" ]]; then break; fi
    sleep "$POLL"
  done
  fetch
  delete
}

dry_run=
if [[ "${1:-}" == --dry-run ]]; then
  dry_run=yes
  shift
fi
answered=  # Whether gcloud has answered: later it may fail for a while.
exec 3>&1
verb="${1:-}"
case "$verb" in
  create | setup | run | logs | stop | fetch | delete | all) shift ;;
  -h | --help)
    usage
    exit
    ;;
  *) fail "expected a verb, not '$verb': bash launch/tpu_pod.sh --help" ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -n "${PROJECT:-}" ]] || fail "PROJECT is not set: the Google Cloud project"
[[ -n "${ZONE:-}" ]] || fail "ZONE is not set: that of the slice, us-west4-a"
[[ -n "${BUCKET:-}" ]] || fail "BUCKET is not set: the bucket of the runs"
BUCKET="${BUCKET#gs://}"
NAME="${NAME:-lowdiff}"
ACCELERATOR="${ACCELERATOR:-v5litepod-8}"
SPOT="${SPOT:-yes}"
FAILURES="${FAILURES:-3}"
POLL="${POLL:-30}"
[[ "$NAME" =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
  fail "NAME=$NAME: expected at most 63 of a-z, 0-9 and -, as in run-1"
[[ "$BUCKET" =~ ^[a-z0-9][-._a-z0-9]+(/[-._A-Za-z0-9]+)*$ ]] ||
  fail "BUCKET=$BUCKET: expected the name of a bucket, or BUCKET/FOLDER"
[[ "$SPOT" == yes || "$SPOT" == no ]] || fail "SPOT=$SPOT: expected yes or no"
case "$ACCELERATOR" in  # cloud.google.com/tpu/docs/runtimes
  v6e-*) default=v2-alpha-tpuv6e ;;
  v5p-*) default=v2-alpha-tpuv5 ;;
  v5litepod-*) default=v2-alpha-tpuv5-lite ;;
  v[234]-*) default=tpu-ubuntu2204-base ;;
  *) [[ -n "${RUNTIME:-}" ]] || fail "ACCELERATOR=$ACCELERATOR: set RUNTIME too" ;;
esac
RUNTIME="${RUNTIME:-$default}"
if [[ " $*" == *" --workdir"* ]]; then
  fail "--workdir: it is gs://BUCKET/NAME, gs://$BUCKET/$NAME"
fi
if [[ $# -gt 0 && "$verb" != run && "$verb" != all ]]; then
  fail "unexpected $1: only run and all take flags"
fi
if [[ "$verb" == run || "$verb" == all ]] && (($# == 0)); then
  fail "$verb: expected flags, as in $verb --config=configs/imagenet256.py"
fi
if [[ -z "$dry_run" ]] && ! type -P gcloud > /dev/null; then
  fail "there is no gcloud: https://cloud.google.com/sdk/docs/install"
fi
"$verb" "$@"
