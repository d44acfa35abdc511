#!/bin/sh
# Runs `basalt bench` with these arguments on a cluster of its own, as fast as the machine's disk is. BENCH_OSDS=3: three copies on three OSDs.
set -eu

. scripts/dev_cluster.sh

"${CARGO:-cargo}" build --release --quiet -p basalt-cli
start_cluster data/bench --osds "${BENCH_OSDS:-1}" --base 8G --hot 0
target/release/basalt bench --pool=data "$@"
target/release/basalt status
