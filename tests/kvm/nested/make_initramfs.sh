#!/bin/bash
# Makes the initramfs of a nested machine: busybox, KVM's modules, test programs, guests for them.
#
#   make_initramfs.sh [--guest WORKLOAD_ELF] [--linux] kvm-amd|kvm-intel CACHE_DIR OUTPUT PROGRAM...
#
# CACHE_DIR is where scenarios/guests/linux/fetch_kernel.sh put the kernel. Each PROGRAM must be
# static; init starts it without arguments. WORKLOAD_ELF is placed at /guest/workload.elf, with
# --linux the kernel and CACHE_DIR/initramfs.cpio.gz at /guest/vmlinuz and /guest/initramfs.
# Exit: 0 OUTPUT is written, 2 usage, 3 something is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
  printf 'make_initramfs: %s\n' "$2" >&2
  exit "$1"
}

guest='' with_linux=''
while [[ ${1:-} == --* ]]; do
  case $1 in
    --guest) guest=${2:?--guest needs a file}; shift 2 ;;
    --linux) with_linux=1; shift ;;
    *) die 2 "unknown option $1" ;;
  esac
done
[[ $# -ge 4 ]] || die 2 "usage: make_initramfs.sh [--guest ELF] [--linux] VENDOR CACHE OUTPUT PROGRAM..."
vendor=$1 cache=$2 output=$3
shift 3
[[ $vendor == kvm-amd || $vendor == kvm-intel ]] || die 2 "there is no module $vendor"
[[ -s $cache/vmlinuz ]] || die 3 "no kernel in $cache; run scenarios/guests/linux/fetch_kernel.sh"
busybox=$(command -v busybox) || die 3 "busybox is missing; install busybox-static"
for tool in cpio gzip readelf strip; do
  command -v "$tool" >/dev/null || die 3 "$tool is missing; see packages.txt"
done

tree=$(mktemp -d "${TMPDIR:-/tmp}/cupel-nested.XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,modules,tests,guest}

# A module by its name, unpacked if need be.
add_module() {
  local path
  path=$(find "$cache/modules/kernel" -name "$1.ko" -o -name "$1.ko.xz" | head -n 1)
  [[ -n $path ]] || die 3 "the kernel package has no module $1"
  case $path in
    *.xz) xz -dc "$path" >"$tree/modules/$1.ko" ;;
    *) cp "$path" "$tree/modules/$1.ko" ;;
  esac
}

cp "$busybox" "$tree/bin/busybox"
for module in irqbypass kvm "$vendor"; do add_module "$module"; done
echo "$vendor" >"$tree/modules/vendor"
cp "$here/init" "$tree/init"
chmod 755 "$tree/init"
for program in "$@"; do
  [[ -x $program ]] || die 3 "$program is missing or not executable"
  if [[ $(readelf -l "$program") == *INTERP* ]]; then die 3 "$program is not static"; fi
  cp "$program" "$tree/tests/"
  strip --strip-debug "$tree/tests/$(basename "$program")"
done
if [[ -n $guest ]]; then cp "$guest" "$tree/guest/workload.elf"; fi
if [[ -n $with_linux ]]; then
  [[ -s $cache/initramfs.cpio.gz ]] ||
    die 3 "no initramfs in $cache; run scenarios/guests/linux/make_initramfs.sh"
  cp "$cache/vmlinuz" "$tree/guest/vmlinuz"
  cp "$cache/initramfs.cpio.gz" "$tree/guest/initramfs"
fi
(cd "$tree" && find . -mindepth 1 | sort | cpio --create --format=newc --quiet) |
  gzip -1 >"$output"
