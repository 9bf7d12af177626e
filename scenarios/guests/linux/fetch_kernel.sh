#!/bin/bash
# Downloads and unpacks (never installs) Debian's cloud kernel for the Linux guest.
#
#   fetch_kernel.sh CACHE_DIR
#
# Leaves CACHE_DIR/vmlinuz, CACHE_DIR/modules/ (the package's lib/modules/VERSION) and
# CACHE_DIR/kernel.version (package, version, SHA-256 of the image). A complete cache is left as
# it is and no network is used. Exit: 0 ok, 2 usage, 3 the package cannot be had.
set -euo pipefail

META_PACKAGE=linux-image-cloud-amd64

die() {
  printf 'fetch_kernel: %s\n' "$2" >&2
  exit "$1"
}

# The meta package only depends on the package of the current kernel version.
resolve_package() {
  apt-cache depends --no-recommends --no-suggests "$META_PACKAGE" 2>/dev/null |
    awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'
}

[[ $# -eq 1 ]] || die 2 "usage: fetch_kernel.sh CACHE_DIR"
cache=$1
if [[ -s $cache/vmlinuz && -s $cache/kernel.version && -d $cache/modules/kernel ]]; then
  exit 0
fi
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

package=$(resolve_package)
[[ -n $package ]] || die 3 "apt knows no $META_PACKAGE; run 'apt-get update' and try again"

# apt drops its privileges to _apt, which must be able to write where the download goes.
work=$(mktemp -d "${TMPDIR:-/tmp}/cupel-kernel.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/deb" "$work/tree"
chmod 755 "$work"
if [[ $EUID -eq 0 ]] && id _apt >/dev/null 2>&1; then chown _apt "$work/deb"; fi

echo "downloading $package" >&2
(cd "$work/deb" && apt-get -q download "$package" >&2) ||
  die 3 "cannot download $package; check the network and run 'apt-get update'"
dpkg-deb --extract "$work"/deb/*.deb "$work/tree"

images=("$work"/tree/boot/vmlinuz-*)
[[ -s ${images[0]} ]] || die 3 "$package holds no boot/vmlinuz-*"
release=${images[0]##*/vmlinuz-}
modules=$work/tree/lib/modules/$release
[[ -d $modules ]] || modules=$work/tree/usr/lib/modules/$release
[[ -d $modules/kernel ]] || die 3 "$package holds no modules for $release"

# The version note goes last: its presence says that the cache is complete.
rm -rf "$cache/modules" "$cache/kernel.version"
mv "$modules" "$cache/modules"
mv "${images[0]}" "$cache/vmlinuz"
{
  echo "package: $package"
  echo "version: $(dpkg-deb --field "$work"/deb/*.deb Version)"
  echo "release: $release"
  echo "sha256: $(sha256sum "$cache/vmlinuz" | cut -d' ' -f1)"
} >"$cache/kernel.version.new"
mv "$cache/kernel.version.new" "$cache/kernel.version"
