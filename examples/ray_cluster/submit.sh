#!/usr/bin/env bash
# Runs the comparison on the cluster, and shows its log until it ends: ./submit.sh [more options of lr-search compare]
# Called again it goes on where the last one was: after a crash, after `ray job stop`, or with a larger --budget.
# Ctrl-C ends the showing only; `ray job list`, `ray job logs ID` and `ray job stop ID` (with the same --address) do the rest.
set -euo pipefail
cd "$(dirname "$0")"

# The head node's dashboard, where jobs are handed in. `ray dashboard cluster.yaml`, in another terminal, forwards it to this machine.
ADDRESS=${ADDRESS:-http://127.0.0.1:8265}

# Checkpoints: a place that every machine can write to, s3://bucket/folder or a shared folder (NFS). CHANGE-ME
SHARED=${SHARED:-s3://CHANGE-ME/lr_search}

# The trials: only the driver, on the head node, reads and writes them. A file there; absolute, for the job's own folder is a
# temporary copy. Or PostgreSQL (postgresql://user@host/trials, lr-search[postgresql]), which outlives the head node.
STORAGE=${STORAGE:-sqlite:////home/ray/lr_search.db}
REPORT=${REPORT:-/home/ray/report}   # likewise; `ray rsync-down cluster.yaml /home/ray/report report` fetches it

# --address      which cluster
# --working-dir  this folder goes to every machine, so that all of them can import workload.py; under 500 MB, without data
# --             what follows is run on the head node, in its copy of this folder
# cpu, gpu       of one trial: cpu=2,gpu=1 one a GPU, gpu=0.5 two trials side by side on each GPU
ray job submit --address "$ADDRESS" --working-dir . -- \
  lr-search compare workload:workload --name digits --storage "$STORAGE" --out "$REPORT" \
  --executor ray --executor-options "cpu=1,storage_path=$SHARED" \
  --strategies grid,range_test --schedules constant,sgdr --budget 8 --seeds 3 "$@"
