#!/bin/bash
# Makes CACHE_DIR/initramfs.cpio.gz out of busybox-static, the virtio modules, init and recorder.
#
#   make_initramfs.sh CACHE_DIR        after fetch_kernel.sh CACHE_DIR
#
# The same inputs give the same bytes: fixed times, owners, order and inode numbers. Nothing is
# done when the inputs have not changed. Exit: 0 ok, 2 usage, 3 something is missing.
set -euo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

WANTED_MODULES=(virtio_pci virtio_blk virtio_net virtio_console)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  printf 'make_initramfs: %s\n' "$2" >&2
  exit "$1"
}

# key of everything that ends up in the image
input_key() {
  {
    cat "$here"/make_initramfs.sh "$here"/init "$here"/recorder.c "$cache"/kernel.version
    sha256sum <"$busybox"
    gcc -dumpfullversion
  } | sha256sum | cut -d' ' -f1
}

# path of a module by its name (file names may spell '_' as '-', and be compressed)
module_path() {
  find "$cache/modules/kernel" \( -name "${1//_/[-_]}.ko" -o -name "${1//_/[-_]}.ko.xz" \) |
    sort | head -n 1
}

is_builtin() { grep -qE "/${1//_/[-_]}\.ko$" "$cache/modules/modules.builtin"; }

declare -A seen=()
order=()

# Appends a module to `order`, what it depends on before it.
add_module() {
  local name=$1 path dependency
  [[ -z ${seen[$name]:-} ]] || return 0
  seen[$name]=1
  if is_builtin "$name"; then return 0; fi
  path=$(module_path "$name")
  [[ -n $path ]] || die 3 "the kernel package has no module $name"
  for dependency in $(modinfo -F depends "$path" | tr ',' ' '); do
    add_module "$dependency"
  done
  order+=("$path")
}

copy_modules() {
  local path file
  mkdir "$tree/modules"
  for path in "${order[@]}"; do
    file=$(basename "${path%.xz}")
    case $path in
      *.xz) xz -dc "$path" >"$tree/modules/$file" ;;
      *) cp "$path" "$tree/modules/$file" ;;
    esac
    echo "$file" >>"$tree/modules/order"
  done
}

[[ $# -eq 1 ]] || die 2 "usage: make_initramfs.sh CACHE_DIR"
cache=$(cd "$1" && pwd)
[[ -s $cache/kernel.version ]] || die 3 "no kernel in $cache; run fetch_kernel.sh first"
busybox=$(command -v busybox) || die 3 "busybox is missing; install busybox-static"
for tool in cpio gzip gcc modinfo; do
  command -v "$tool" >/dev/null || die 3 "$tool is missing; see packages.txt"
done

key=$(input_key)
if [[ -s $cache/initramfs.cpio.gz && $(cat "$cache/initramfs.key" 2>/dev/null) == "$key" ]]; then
  exit 0
fi
rm -f "$cache/initramfs.key"

work=$(mktemp -d "${TMPDIR:-/tmp}/cupel-initramfs.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir -p "$tree"/{bin,dev,etc,proc,sys,tmp,root}

if file_type=$(readelf -l "$busybox" 2>/dev/null) && [[ $file_type == *INTERP* ]]; then
  die 3 "$busybox is not static; install busybox-static"
fi
cp "$busybox" "$tree/bin/busybox"
for applet in $("$busybox" --list); do
  [[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet"
done
# sbin and usr/bin exist for the default search path of the kernel and of scripts.
ln -s bin "$tree/sbin"
mkdir "$tree/usr" && ln -s ../bin "$tree/usr/bin"

gcc -std=gnu11 -O2 -static -Wall -Wextra -Werror -o "$tree/bin/recorder" "$here/recorder.c"
strip --strip-all "$tree/bin/recorder"
for module in "${WANTED_MODULES[@]}"; do add_module "$module"; done
copy_modules
cp "$here/init" "$tree/init"

# The modes of the files must not depend on the caller's umask.
find "$tree" -type d -exec chmod 755 {} +
find "$tree" -type f -exec chmod 644 {} +
chmod 755 "$tree/init" "$tree/bin/busybox" "$tree/bin/recorder"
find "$tree" -exec touch --no-dereference --date=@0 {} +
(cd "$tree" && find . -mindepth 1 -print0 | sort -z |
  cpio --null --create --format=newc --owner=0:0 --reproducible --quiet) |
  gzip -n -9 >"$cache/initramfs.cpio.gz.new"
mv "$cache/initramfs.cpio.gz.new" "$cache/initramfs.cpio.gz"
echo "$key" >"$cache/initramfs.key"
