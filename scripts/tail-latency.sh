#!/usr/bin/env bash
# Latencies of 4 KiB operations at depth 1 while the same OSD scrubs, flushes and writes checkpoints: the 99th percentile beside the median.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
basaltd=target/release/basaltd
basalt=target/release/basalt
"$basaltd" dev --dir "$dir/cluster" --osds 1 --base 4G --hot 1G >"$dir/log" 2>&1 &
daemon=$!
stop() {
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
until grep -q '^ready' "$dir/log"; do
    kill -0 "$daemon" || { cat "$dir/log"; exit 1; }
    sleep 0.2
done
say() { "$basalt" -c "$dir/cluster/basalt.toml" "$@"; }
bench() {
    say bench --name=tail --pool=data --bs=4k --iodepth=1 --size=512M --time_based --output-format=json "$@" | python3 -c '
import json, sys
job = json.load(sys.stdin)["jobs"][0]
for direction in ("write", "read"):
    if job[direction]["total_ios"]:
        at = {k: v / 1000 for k, v in job[direction]["clat_ns"]["percentile"].items()}
        median, tail = at["50.000000"], at["99.000000"]
        print(f"{sys.argv[1]:20} {direction:6} median {median:6.0f} us, 99 % {tail:6.0f} us, {tail / median:.2f} times")' "$name"
}
name='laid out'
bench --rw=write --bs=4M --iodepth=2 --runtime=3
name='nothing beside'
bench --rw=randwrite --runtime=8
say osd pool set data cache_target_dirty_ratio 0.05 >/dev/null
say osd pool set data cache_min_flush_age 0 >/dev/null
(while kill -0 "$daemon" 2>/dev/null; do say osd deep-scrub 0 >/dev/null 2>&1 || true; sleep 0.5; done) &
name='scrub and flushes'
for _ in 1 2 3; do
    bench --rw=randwrite --runtime=10
    bench --rw=randread --runtime=6
done
