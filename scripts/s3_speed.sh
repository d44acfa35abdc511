#!/bin/sh
# Puts and gets a second by S3, or with --listings how long pages take: a release build, one OSD, and curl as the client.
set -eu

. scripts/dev_cluster.sh

port=${S3_SPEED_PORT:-17480}
"${CARGO:-cargo}" build --release --quiet -p basalt-cli
start_cluster data/s3-speed --osds 1 --base 16G --hot 2G --s3 "127.0.0.1:$port"
target/release/basalt -c data/s3-speed/basalt.toml user create --uid speed --display-name speed --access-key AKSPEED --secret-key SKSPEED >/dev/null
python3 scripts/s3_speed.py "http://127.0.0.1:$port" AKSPEED SKSPEED "$@"
