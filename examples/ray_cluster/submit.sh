#!/usr/bin/env bash
# Runs the comparison on the cluster, and shows its log until it ends: ./submit.sh [further options of lr-search compare]
# Called again it goes on where the last call was: after a crash, after `ray job stop`, or with a larger --budget.
# Ctrl-C ends only the showing: `ray job logs ID` shows it again, `ray job stop ID` stops the job (with the same --address).
set -euo pipefail
cd "$(dirname "$0")"

# The dashboard of the head node, which takes jobs. `ray dashboard cluster.yaml`, in another terminal, brings it to this machine.
ADDRESS=${ADDRESS:-http://127.0.0.1:8265}
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}  # shows it the token in ~/.ray/auth_token

# Where checkpoints lie meanwhile: every machine must be able to write there. CHANGE-ME: s3://bucket/folder, or a shared folder
SHARED=${SHARED:-s3://CHANGE-ME/lr_search}

# The trials. Only the driver on the head node reads and writes them: a file there, with its whole path, since a job's own folder is
# temporary. Or PostgreSQL, postgresql://user@host/trials, which outlives the cluster (its machines need lr-search[postgresql]).
STORAGE=${STORAGE:-sqlite:////home/ray/lr_search.db}
REPORT=${REPORT:-/home/ray/report}

# --address      which cluster
# --working-dir  this folder goes to all machines, for they import workload.py: code, at most 512 MiB, no data
# --             what comes behind it runs on the head node, in its copy of this folder
# cpu            CPUs of a trial, which are its threads; gpu=1 for a GPU each, gpu=0.5 for two trials on one
# storage_path   of the checkpoints
# max_failures   how many machines a trial may lose before it counts as failed; the default of 2 is low for spot machines
ray job submit --address "$ADDRESS" --working-dir . -- \
  lr-search compare workload:workload --name digits --storage "$STORAGE" --out "$REPORT" \
  --executor ray --executor-options "cpu=1,storage_path=$SHARED,max_failures=10" \
  --strategies grid,range_test --schedules constant,sgdr --budget 8 --seeds 3 "$@"
