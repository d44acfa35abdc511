#!/bin/sh
# Removes ./data unless a living process has a cluster there.
set -eu

. scripts/dev_cluster.sh

for dir in data/*/; do
    if is_in_use "$dir"; then
        echo "$dir is in use by process $(cat "$dir/run/dev.pid"): stop it first" >&2
        exit 16
    fi
done
rm -rf data
