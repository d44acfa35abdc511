#!/usr/bin/env bash
# What a 4 KiB operation costs against queue depth, placement groups, objects, sessions and OSDs: a row a point, as a table. Medians of CURVES_ROUNDS
# runs of CURVES_SECONDS each; CPU is the daemon's, its kernel threads included.
set -eu
cd "$(dirname "$0")/.."
rounds=${CURVES_ROUNDS:-3}
seconds=${CURVES_SECONDS:-2}
dir=$(mktemp -d "${CURVES_DIR:-$PWD/data}/curves.XXXXXX")
programs=target/release
daemon=
stop_cluster() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; }
    daemon=
}
trap 'stop_cluster; rm -rf "$dir"' EXIT
# start_cluster OSDS
start_cluster() {
    rm -rf "$dir/cluster"
    "$programs/basaltd" dev --dir "$dir/cluster" --osds "$1" --size 1 --base 4G --hot 0 >"$dir/log" 2>&1 &
    daemon=$!
    until grep -q '^ready' "$dir/log"; do
        kill -0 "$daemon" || { cat "$dir/log"; exit 1; }
        sleep 0.2
    done
}
say() { "$programs/basalt" -c "$dir/cluster/basalt.toml" "$@"; }
# bench OPTIONS...: a job's JSON, and the daemon's CPU time of it in ticks.
bench() {
    local before after
    before=$(awk '{print $14 + $15}' "/proc/$daemon/stat")
    say bench --name=curve --bs=4k --time_based --runtime="$seconds" --output-format=json "$@"
    after=$(awk '{print $14 + $15}' "/proc/$daemon/stat")
    echo "{\"ticks\": $((after - before))}"
}
# point WHAT VALUE OPTIONS...
point() {
    local what=$1 value=$2
    shift 2
    for rw in randwrite randread; do
        for _ in $(seq "$rounds"); do bench --rw=$rw "$@"; done
    done | python3 -c '
import json, sys, statistics
decoder, text, at, seen = json.JSONDecoder(), sys.stdin.read(), 0, {"read": [], "write": []}
while text[at:].strip():
    at += len(text[at:]) - len(text[at:].lstrip())
    run, at = decoder.raw_decode(text, at)
    at += len(text[at:]) - len(text[at:].lstrip())
    ticks, at = decoder.raw_decode(text, at)
    for direction, runs in seen.items():
        figures = run["jobs"][0][direction]
        if figures["total_ios"]:
            runs.append((figures["iops"], ticks["ticks"] * 1e4 / figures["total_ios"], figures["clat_ns"]["percentile"]["50.000000"] / 1e3))
def middle(runs, index): return statistics.median(run[index] for run in runs)
cells = [f"{middle(seen[d], 0):,.0f} /s | {middle(seen[d], 1):.1f} µs | {middle(seen[d], 2):,.0f} µs" for d in ("write", "read")]
print("| " + " | ".join(sys.argv[1:] + cells) + " |", flush=True)' "$what" "$value"
}
fill() { say bench --name=fill --rw=write --bs=1M --iodepth=8 "$@" >/dev/null; }

echo '| against | | writes | CPU each | median | reads | CPU each | median |'
echo '|---|---|---|---|---|---|---|---|'
start_cluster 1
fill --pool=data --size=256M
for depth in 1 2 4 8 16 32 64 128; do point 'queue depth' "$depth" --pool=data --size=256M --iodepth="$depth"; done
for pgs in 1 8 64 256; do
    say osd pool create "pgs$pgs" "$pgs" --size 1 >/dev/null
    fill --pool="pgs$pgs" --size=64M
    point 'placement groups, depth 32' "$pgs" --pool="pgs$pgs" --size=64M --iodepth=32
    say osd pool rm "pgs$pgs" "pgs$pgs" --yes-i-really-really-mean-it >/dev/null
done
for objects in 1000 10000 100000; do
    say osd pool create "objects$objects" 32 --size 1 >/dev/null
    say bench --name=fill --pool="objects$objects" --rw=write --bs=4k --object_size=4k --iodepth=64 --size=$((objects * 4))k >/dev/null
    point 'objects of 4 KiB, depth 32' "$objects" --pool="objects$objects" --object_size=4k --size=$((objects * 4))k --iodepth=32
    say osd pool rm "objects$objects" "objects$objects" --yes-i-really-really-mean-it >/dev/null
done
for osds in 1 2 4; do
    stop_cluster
    start_cluster "$osds"
    fill --pool=data --size=256M
    point 'OSDs on this machine, depth 32' "$osds" --pool=data --size=256M --iodepth=32
done
echo
echo '| what | figure | |'
echo '|---|---|---|'
stop_cluster
for sessions in 1 10 100 1000 10000; do
    start_cluster 1
    "$programs/pool_scale" --config "$dir/cluster/basalt.toml" --daemon-pid "$daemon" --sessions "$sessions" --objects 0
    stop_cluster
done
