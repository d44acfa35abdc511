#!/bin/sh
# Installs what the tests need, where that is missing and can be installed, and runs every test.
set -eu

cargo=${CARGO:-cargo}
# What packages are built with, and quickstart does without.
features='--features basalt-cluster/etcd,basalt-cli/etcd'

# A command that the tests need, and the Debian package that brings it. The second of awscli's lines of versions is Debian's; the first, which
# comes from Python's index, is called the same.
needed='cc:gcc dpkg-deb:dpkg strip:binutils kill:procps flock:util-linux blkid:util-linux losetup:mount mount:mount mkfs.ext4:e2fsprogs sfdisk:fdisk
        ip:iproute2 rclone:rclone curl:curl openssl:openssl python3:python3-venv etcd:etcd-server protoc:protobuf-compiler
        qemu-img:qemu-utils nbdinfo:libnbd-bin nbdfuse:nbdfuse fio:fio promtool:prometheus chromium:chromium valgrind:valgrind /usr/bin/aws:awscli'

missing=''
for pair in $needed; do
    if ! command -v "${pair%%:*}" >/dev/null; then
        missing="$missing ${pair##*:}"
    fi
done
# protoc's own definitions come apart from it, and are no command.
if [ ! -e "$(dirname "$(command -v protoc || echo /usr/bin/protoc)")/../include/google/protobuf/descriptor.proto" ]; then
    missing="$missing libprotobuf-dev"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "installing$missing"
        apt-get update -qq
        # One word a package.
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    else
        echo "missing, and not installed because this needs root and apt-get:$missing" >&2
        exit 1
    fi
fi

# Clients of S3 that come from Python's index, in a place of their own.
clients="${CARGO_TARGET_DIR:-target}/clients"
wanted=tests/clients/requirements.txt
if ! cmp -s "$wanted" "$clients/requirements.txt"; then
    echo 'installing boto3, awscli and s3cmd'
    python3 -m venv "$clients"
    "$clients/bin/pip" install --quiet --requirement "$wanted"
    cp "$wanted" "$clients/requirements.txt"
fi

if ! "$cargo" nextest --version >/dev/null 2>&1; then
    echo 'installing cargo-nextest'
    "$cargo" install --quiet --locked cargo-nextest || echo 'cargo-nextest cannot be installed: running cargo test instead'
fi
if "$cargo" nextest --version >/dev/null 2>&1; then
    # One more at a time than there are cores: tests of real clusters mostly wait.
    # shellcheck disable=SC2086
    exec "$cargo" nextest run --workspace $features --no-fail-fast --test-threads "$(($(nproc) + 1))"
fi
# shellcheck disable=SC2086
exec "$cargo" test --workspace $features --no-fail-fast
