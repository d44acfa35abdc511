#!/bin/sh
# Builds the Debian package: the programs, their man pages and completions as they themselves write them, systemd's units, the docs.
#
# BASALT_BINARIES: a folder with basalt and basaltd that are built already; else they are, with the profile dist.
# BASALT_DEB_DIR: where the package goes, target/debian unless given. BASALT_DEB_REVISION: 1 unless given.
# BASALT_DEB_COMPRESSION: of dpkg-deb, xz unless given.
set -eu

cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
out=${BASALT_DEB_DIR:-target/debian}
binaries=${BASALT_BINARIES:-}
if [ -z "$binaries" ]; then
    "$cargo" build --profile dist -p basalt-cli --features basalt-cluster/etcd,basalt-cli/etcd
    binaries="${CARGO_TARGET_DIR:-target}/dist"
fi
version="$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)-${BASALT_DEB_REVISION:-1}"
architecture=$(dpkg --print-architecture)
mkdir -p "$out"
tree=$(mktemp -d "$out/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

for program in basalt basaltd; do
    install -D -m 755 "$binaries/$program" "$tree/usr/bin/$program"
    strip --strip-debug "$tree/usr/bin/$program"
    install -d "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/fish/vendor_completions.d"
    "$tree/usr/bin/$program" completion bash >"$tree/usr/share/bash-completion/completions/$program"
    "$tree/usr/bin/$program" completion zsh >"$tree/usr/share/zsh/vendor-completions/_$program"
    "$tree/usr/bin/$program" completion fish >"$tree/usr/share/fish/vendor_completions.d/$program.fish"
done
install -d "$tree/usr/share/man/man1" "$tree/usr/share/man/man8"
"$tree/usr/bin/basalt" man "$tree/usr/share/man/man1"
"$tree/usr/bin/basaltd" man "$tree/usr/share/man/man8"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +

install -d "$tree/usr/lib/systemd/system"
install -m 644 cli/dist/systemd/* "$tree/usr/lib/systemd/system/"
install -d "$tree/usr/share/basalt" "$tree/usr/share/doc/basalt"
install -m 644 cli/dist/dashboard.json cli/dist/alerts.yml "$tree/usr/share/basalt/"
install -m 644 README.md docs/*.md "$tree/usr/share/doc/basalt/"
install -m 644 LICENSE "$tree/usr/share/doc/basalt/copyright"

# The libraries that the programs are linked with, if Debian's tool for it is there.
depends=libc6
if command -v dpkg-shlibdeps >/dev/null; then
    mkdir "$tree/debian"
    : >"$tree/debian/control"
    found=$(cd "$tree" && dpkg-shlibdeps -O --ignore-missing-info usr/bin/basalt usr/bin/basaltd 2>/dev/null) || found=''
    rm -r "$tree/debian"
    depends=${found#shlibs:Depends=}
    depends=${depends:-libc6}
fi
install -d "$tree/DEBIAN"
install -m 755 cli/dist/debian/postinst cli/dist/debian/prerm cli/dist/debian/postrm "$tree/DEBIAN/"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: basalt
Version: $version
Architecture: $architecture
Maintainer: The Basalt authors <basalt@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: $depends, passwd
Recommends: systemd
Section: admin
Priority: optional
Description: object storage daemon with a fast tier
 Stores objects, block images and S3 buckets on the disks of several hosts,
 replicated, with a hot tier on faster devices. basaltd is the daemon of all
 roles, basalt the command for objects and administration.
CONTROL
package="$out/basalt_${version}_$architecture.deb"
dpkg-deb --root-owner-group -Z"${BASALT_DEB_COMPRESSION:-xz}" --build "$tree" "$package" >/dev/null
echo "$package"
