#!/bin/bash
# Runs programs on real kvm-amd: inside a Debian kernel in qemu-system-x86_64, whose TCG executes
# the SVM instructions. No /dev/kvm and no root needed.
#
#   run_nested.sh [--timeout SECONDS] [--guest WORKLOAD_ELF] [--linux] [--env "NAME=VALUE ..."]
#                 CACHE_DIR PROGRAM...
#
# CACHE_DIR is where scenarios/guests/linux/fetch_kernel.sh put the kernel. Each PROGRAM must be
# static; it is started without arguments and must exit with 0. WORKLOAD_ELF is placed at
# /guest/workload.elf in the machine, with --linux the kernel and CACHE_DIR/initramfs.cpio.gz at
# /guest/vmlinuz and /guest/initramfs. --env sets variables for the programs: with
# "GTEST_FILTER=Workload.* GTEST_REPEAT=50" one test is soaked.
# Exit: 0 all programs succeeded, 1 one failed, 2 usage, 3 something is missing, 4 time is up.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
  printf 'run_nested: %s\n' "$2" >&2
  exit "$1"
}

limit=300 guest='' with_linux='' environment=''
while [[ ${1:-} == --* ]]; do
  case $1 in
    --timeout) limit=${2:?--timeout needs seconds}; shift 2 ;;
    --guest) guest=${2:?--guest needs a file}; shift 2 ;;
    --linux) with_linux=1; shift ;;
    --env) environment=${2:?--env needs NAME=VALUE words}; shift 2 ;;
    *) die 2 "unknown option $1" ;;
  esac
done
[[ $# -ge 2 ]] || die 2 "usage: run_nested.sh [--timeout S] [--guest ELF] [--linux] [--env WORDS] CACHE PROGRAM..."
cache=$1
shift
[[ -s $cache/vmlinuz ]] || die 3 "no kernel in $cache; run scenarios/guests/linux/fetch_kernel.sh"
busybox=$(command -v busybox) || die 3 "busybox is missing; install busybox-static"
for tool in qemu-system-x86_64 cpio gzip; do
  command -v "$tool" >/dev/null || die 3 "$tool is missing; see packages.txt"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/cupel-nested.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
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
for module in irqbypass kvm kvm-amd; do add_module "$module"; done
echo kvm-amd >"$tree/modules/vendor"
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
  gzip -1 >"$work/initramfs"

# Bounded by its own timeout: a machine that hangs is stopped, not waited for. The kernel hands
# words that it does not know to the first process as its environment.
log=$work/serial.log
: >"$log"
timeout --kill-after=5 "$limit" qemu-system-x86_64 -accel tcg -cpu EPYC,+svm -m 1024 -smp 1 \
  -kernel "$cache/vmlinuz" -initrd "$work/initramfs" \
  -append "console=ttyS0 quiet panic=-1 tsc=reliable $environment" \
  -display none -no-reboot -monitor none -serial "file:$log" </dev/null >&2 &
machine=$!
# Shows the log while the machine runs, and ends with it.
tail --pid="$machine" -n +1 -f "$log" | tr -d '\r' &
viewer=$!
status=0
wait "$machine" || status=$?
wait "$viewer" || true

if grep -q '^NESTED result=0' <(tr -d '\r' <"$log"); then exit 0; fi
if [[ $status -eq 124 || $status -eq 137 ]]; then die 4 "time is up after $limit s"; fi
grep -q '^NESTED result=1' <(tr -d '\r' <"$log") || die 1 "the machine ended early (qemu: $status)"
exit 1
