#!/bin/sh
# 4 KiB random writes and reads at depth 1 and 32: a raw file on the disk, then a pool whose OSD lies on the same disk, in one run.
# YARDSTICK_ROUNDS such runs, since disks drift; quote medians of the ratio.
set -eu

. scripts/dev_cluster.sh

"${CARGO:-cargo}" build --release --quiet -p basalt-cli
start_cluster data/yardstick --osds 1 --base 8G --hot 0
raw=data/yardstick.raw
rm -f "$raw"
truncate -s 256M "$raw"
round=0
while [ "$round" -lt "${YARDSTICK_ROUNDS:-3}" ]; do
    target/release/basalt bench --yardstick="$raw" --pool=data --size=256M --runtime="${YARDSTICK_RUNTIME:-5}"
    round=$((round + 1))
done
rm -f "$raw"
