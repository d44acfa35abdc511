#!/bin/sh
# What sessions without work cost an OSD, and how fast many objects are listed: POOL_SCALE="--sessions 10000 --objects 1000000".
set -eu

. scripts/dev_cluster.sh

"${CARGO:-cargo}" build --release --quiet -p basalt-cli -p basalt-benches --bin basaltd --bin pool_scale
start_cluster data/pool-scale --osds 1 --base 4G --hot 0
# shellcheck disable=SC2086
target/release/pool_scale --config data/pool-scale/basalt.toml --daemon-pid "$DAEMON_PID" ${POOL_SCALE:-}
