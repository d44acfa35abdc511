#!/bin/sh
# Without arguments: the standard table, pools beside fio and the raw ring, which docs/PERFORMANCE.md has (BENCH_ROUNDS=5 BENCH_SECONDS=3).
# With arguments: `basalt bench` with these on a cluster of its own. BENCH_OSDS=3: three copies on three OSDs.
set -eu

. scripts/dev_cluster.sh

if [ $# -gt 0 ]; then
    "${CARGO:-cargo}" build --release --quiet -p basalt-cli
    start_cluster data/bench --osds "${BENCH_OSDS:-1}" --base 8G --hot 0
    target/release/basalt bench --pool=data "$@"
    target/release/basalt status
    exit
fi
if ! command -v fio >/dev/null; then
    echo 'fio is what pools are held against: install it (Debian: fio)' >&2
    exit 1
fi
"${CARGO:-cargo}" build --release --quiet -p basalt-cli -p basalt-benches --bin basaltd --bin basalt --bin standard_table
rm -rf data/standard-table
target/release/standard_table --dir data/standard-table --rounds "${BENCH_ROUNDS:-1}" --seconds "${BENCH_SECONDS:-3}" \
    --page docs/PERFORMANCE.md
