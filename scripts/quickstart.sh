#!/bin/sh
# Brings a cluster up on files under ./data, stores a real tree of files in it, reads every byte back and compares, runs a short bench
# and shows what the cluster says of itself. Exits with 0 only if all compared equal.
set -eu

. scripts/dev_cluster.sh

tree=${QUICKSTART_TREE:-/usr/share}
most=${QUICKSTART_SIZE:-512M}
basalt=target/release/basalt

title() {
    printf '\n== %s\n' "$1"
}

title 'building'
"${CARGO:-cargo}" build --release --quiet -p basalt-cli

title 'starting: three copies on three OSDs, each a hot slice of 1 GiB over a base device that is as slow as a 7200 rpm disk'
start_cluster data/quickstart --osds 3 --size 3 --base 8G --hot 1G --base-model hdd

title "storing $tree, at most $most of it"
"$basalt" obj import data "$tree" --max-bytes "$most"

title 'reading every byte back and comparing'
"$basalt" obj verify data "$tree" --max-bytes "$most"

title 'bench: 4 KiB random writes, then reads, 32 at a time'
"$basalt" osd pool create bench --size 3
# The second job has the first one's name, and so its objects.
"$basalt" bench --summary --pool=bench --bs=4k --iodepth=32 --size=64M --time_based --runtime=5 \
    --name=4k --rw=randwrite --name=4k --stonewall --rw=randread

title 'status'
"$basalt" status
"$basalt" df

title 'tier'
"$basalt" osd tier status

title 'stopping'
stop_cluster
echo 'all compared equal'
