#!/bin/sh
# 4 KiB random writes and reads at depth 1 and 32: a raw file on the disk, then a pool whose OSD lies on the same disk, in one run.
# YARDSTICK_ROUNDS such runs, since disks drift; quote medians of the ratio. With YARDSTICK_SPARSE=1 the OSD's file has holes.
set -eu

. scripts/dev_cluster.sh

"${CARGO:-cargo}" build --release --quiet -p basalt-cli
start_cluster data/yardstick --osds 1 --base 3G --hot 0
if [ "${YARDSTICK_SPARSE:-0}" = 0 ]; then
    # As a device is: without holes whose blocks the filesystem has to allocate first.
    stop_cluster
    base=data/yardstick/osd.0/base
    cp --sparse=never "$base" "$base.whole"
    mv "$base.whole" "$base"
    sync "$base"
    run_cluster data/yardstick --osds 1 --base 3G --hot 0
fi
raw=data/yardstick.raw
rm -f "$raw"
truncate -s 256M "$raw"
round=0
while [ "$round" -lt "${YARDSTICK_ROUNDS:-3}" ]; do
    target/release/basalt bench --yardstick="$raw" --pool=data --size=256M --runtime="${YARDSTICK_RUNTIME:-5}" \
        --daemon-pid="$DAEMON_PID"
    round=$((round + 1))
done
rm -f "$raw"
