#!/bin/sh
# Upgrades a cluster of three hosts under load, from the daemons of another commit to those of this tree: the monitor, then host by host,
# half of the way back, and again; then the new release is required, and the old one must be refused. Two clients, one of each release,
# write all the time and check what they wrote; a tree of files that the old release stored is compared by the new one.
# Exits with 0 only if no operation failed and everything reads back.
#
# FROM: the commit to come from. PROFILE: of cargo, release unless given. UPGRADE_SECONDS: of load, 150. BINARIES: a folder with old/ and new/,
# each basalt and basaltd, instead of building them.
set -eu

from=${FROM:-}
profile=${PROFILE:-release}
seconds=${UPGRADE_SECONDS:-150}
cargo=${CARGO:-cargo}
if [ -z "$from" ]; then
    # What there was before the last feature came.
    newest=$(git log -1 --format=%H -- net/src/features.rs)
    from=${newest:+$newest~1}
    from=${from:-HEAD~1}
fi
case $profile in dev) built=target/debug ;; *) built=target/$profile ;; esac
dir=$PWD/data/rolling-upgrade
source=$dir/source
cluster=$dir/cluster
pids=''

title() {
    printf '\n== %s\n' "$1"
}

fail() {
    echo "FAILED: $1" >&2
    for log in "$dir"/*.log; do
        echo "-- the end of $log" >&2
        tail -n 15 "$log" >&2
    done
    exit 1
}

clean_up() {
    # Only what was started here.
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in $pids; do
        wait "$pid" 2>/dev/null || true
    done
    git worktree remove --force "$source" 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git worktree remove --force "$source" 2>/dev/null || true
rm -rf "$dir"
mkdir -p "$dir/old" "$dir/new"
if [ -n "${BINARIES:-}" ]; then
    cp "$BINARIES/old/basalt" "$BINARIES/old/basaltd" "$dir/old/"
    cp "$BINARIES/new/basalt" "$BINARIES/new/basaltd" "$dir/new/"
else
    title "building $from and this tree ($profile)"
    git worktree add --quiet --detach "$source" "$from"
    (cd "$source" && CARGO_TARGET_DIR="$OLDPWD/target" "$cargo" build --profile "$profile" --quiet -p basalt-cli)
    cp "$built/basalt" "$built/basaltd" "$dir/old/"
    git worktree remove --force "$source"
    "$cargo" build --profile "$profile" --quiet -p basalt-cli
    cp "$built/basalt" "$built/basaltd" "$dir/new/"
fi
cmp -s "$dir/old/basaltd" "$dir/new/basaltd" && fail "$from and this tree make the same program"

BASALT_CONFIG=$cluster/basalt.toml
export BASALT_CONFIG
old() { "$dir/old/basalt" "$@"; }
new() { "$dir/new/basalt" "$@"; }

# await SECONDS WHAT COMMAND…: until the command succeeds.
await() {
    tries=$(($1 * 4))
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "no $what"
        sleep 0.25
    done
}

is_clean() {
    timeout 5 "$dir/new/basalt" --format json status | python3 -c '
import json, sys
status = json.load(sys.stdin)
states = {group["state_name"] for group in status["pgmap"]["pgs_by_state"]}
sys.exit(status["osdmap"]["num_up_osds"] != 3 or states != {"active+clean"})'
}

# start RELEASE ROLE NAME: the daemon NAME (mon, 0, 1, 2) of that release; stop NAME ends it by SIGTERM, cleanly.
start() {
    case $2 in mon) config=$cluster/basalt.toml ;; osd) config=$cluster/host.$3.toml ;; esac
    "$dir/$1/basaltd" "$2" --config "$config" >>"$dir/$3.log" 2>&1 &
    eval "pid_$3=$!"
    pids="$pids $!"
}

stop() {
    eval "pid=\$pid_$1"
    # shellcheck disable=SC2154
    kill -TERM "$pid"
    wait "$pid" || fail "$1 did not stop cleanly"
}

# become RELEASE NAME: it is stopped, and started with the other program.
become() {
    echo "$2 becomes $1"
    stop "$2"
    case $2 in mon) start "$1" mon mon ;; *) start "$1" osd "$2" ;; esac
    # It takes a moment until it is missed, if it is down.
    sleep 1
    await 90 "clean cluster with $2 of the $1 release" is_clean
}

title 'a cluster of the old release'
"$dir/old/basaltd" dev --dir "$cluster" --osds 3 --hosts 3 --size 3 --base 4G --hot 512M >"$dir/dev.out" 2>"$dir/dev.log" &
pid_dev=$!
pids="$pids $!"
await 120 'cluster of the old release' grep -qx ready "$dir/dev.out"
stop dev
# The monitor of a folder takes any port, and writes which; on its own it is to have that one again.
address=$(sed -n 's/^monitors = \["\(.*\)"\]/\1/p' "$cluster/basalt.toml")
sed -i "s/^listen = .*/listen = \"$address\"/" "$cluster/basalt.toml"
start old mon mon
for host in 0 1 2; do start old osd "$host"; done
await 60 'clean cluster of the old release' is_clean
old obj import data docs
old osd pool create bench 16 --size 3

title "load: a client of each release, $seconds s"
for release in old new; do
    "$dir/$release/basalt" bench --name="$release" --pool=bench --rw=randwrite --bs=16k --iodepth=4 --size=64M \
        --time_based --runtime="$seconds" --verify=crc32c --output-format=json >"$dir/bench.$release.json" 2>"$dir/bench.$release.log" &
    eval "pid_bench_$release=$!"
    pids="$pids $!"
done
sleep 3

title 'the upgrade: the monitor, host by host, half of the way back, and again'
become new mon
new versions
for host in 0 1; do
    become new "$host"
    if new osd require-osd-release 0.2 2>"$dir/refused"; then
        fail 'the new release was required while a host is of the old one'
    fi
    cat "$dir/refused"
    grep -q 'osd.2 of host' "$dir/refused" || fail 'the old host is not named'
done
new health detail
become old 0
become old mon
become new mon
become new 0
become new 2
new versions

title 'what the clients saw'
for release in old new; do
    eval "pid=\$pid_bench_$release"
    kill -0 "$pid" 2>/dev/null || fail "the client of the $release release ended before the upgrade: UPGRADE_SECONDS must be more than $seconds, or it failed"
done
for release in old new; do
    eval "pid=\$pid_bench_$release"
    wait "$pid" || fail "the client of the $release release had an error"
    python3 - "$release" "$dir/bench.$release.json" <<'PYTHON'
import json, sys
release, path = sys.argv[1:]
job = json.load(open(path))["jobs"][0]
if job.get("error", 0):
    sys.exit(f"the {release} client had error {job['error']}")
write = job["write"]
print(f"{release} client: {write['total_ios']} writes, {write['iops']:.0f} a second, the longest {write['clat_ns']['max'] / 1e9:.1f} s; all read back and compared")
PYTHON
done
new obj verify data docs

title 'the new release is required: the way back is refused'
is_finished() { new health detail | grep -q OSD_UPGRADE_FINISHED; }
await 30 'sign that the upgrade is finished' is_finished
new osd require-osd-release 0.2
if old status >/dev/null 2>"$dir/refused"; then fail 'a client of the old release was let in'; fi
cat "$dir/refused"
stop 2
start old osd 2
sleep 8
new osd stat | grep -q '2 up' || fail 'a host of the old release was let in'
grep -h 'lacks required-in-map' "$dir/2.log" | tail -n 1
stop 2
start new osd 2
await 90 'clean cluster after the refusal' is_clean
stop mon
timeout 20 "$dir/old/basaltd" mon --config "$cluster/basalt.toml" >"$dir/oldmon.log" 2>&1 || true
grep -q 'format version 8' "$dir/oldmon.log" || fail 'a monitor of the old release did not refuse the map'
tail -n 1 "$dir/oldmon.log"
start new mon mon
await 60 'clean cluster at the end' is_clean
new obj verify data docs
for host in 2 1 0 mon; do stop "$host"; done
for osd in 0 1 2; do
    "$dir/new/basaltd" fsck --deep --base "$cluster/osd.$osd/base" --hot "$cluster/osd.$osd/hot"
done
echo "upgraded from $from: no operation failed, and everything reads back"
