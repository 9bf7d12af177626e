#!/bin/bash
# Runs programs on real kvm-amd: inside a Debian kernel in qemu-system-x86_64, whose TCG executes
# the SVM instructions. No /dev/kvm and no root needed.
#
#   run_nested.sh [--timeout SECONDS] [--guest WORKLOAD_ELF] [--linux] [--env "NAME=VALUE ..."]
#                 CACHE_DIR PROGRAM...
#
# CACHE_DIR, PROGRAM, --guest and --linux: see make_initramfs.sh. Each PROGRAM is started without
# arguments and must exit with 0. --env sets variables for the programs: with
# "GTEST_FILTER=Workload.* GTEST_REPEAT=50" one test is soaked.
# Exit: 0 all programs succeeded, 1 one failed, 2 usage, 3 something is missing, 4 time is up.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
  printf 'run_nested: %s\n' "$2" >&2
  exit "$1"
}

limit=300 contents=()
# QEMU's TCG (7.2) saves the interrupt shadow of STI at #VMEXIT, but VMRUN does not load it again
# (AMD64 APM vol. 2, "Interrupt Shadows"): an interrupt can then get between STI and HLT, and the
# guest halts for good. So these guests do not halt.
environment=CUPEL_GUEST_OPTIONS=idle=poll
while [[ ${1:-} == --* ]]; do
  case $1 in
    --timeout) limit=${2:?--timeout needs seconds}; shift 2 ;;
    --guest) contents+=(--guest "${2:?--guest needs a file}"); shift 2 ;;
    --linux) contents+=(--linux); shift ;;
    --env) environment+=" ${2:?--env needs NAME=VALUE words}"; shift 2 ;;
    *) die 2 "unknown option $1" ;;
  esac
done
[[ $# -ge 2 ]] || die 2 "usage: run_nested.sh [--timeout S] [--guest ELF] [--linux] [--env WORDS] CACHE PROGRAM..."
cache=$1
shift
command -v qemu-system-x86_64 >/dev/null || die 3 "qemu-system-x86_64 is missing; see packages.txt"

work=$(mktemp -d "${TMPDIR:-/tmp}/cupel-nested.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$here/make_initramfs.sh" "${contents[@]}" kvm-amd "$cache" "$work/initramfs" "$@"

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
