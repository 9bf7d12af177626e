#!/usr/bin/python3
"""Dumps CPUID and the VMX capability MSRs of Bochs' CPU models; prints what bochs_2_7.json holds.

Needs Debian's bochs, bochs-x, xvfb, grub-pc-bin, grub-common, xorriso, mtools and gcc. Bochs starts in
its debugger, and its display wants an X server.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODELS = ["corei5_lynnfield_750", "corei7_haswell_4770", "corei7_skylake_x", "corei7_icelake_u",
          "tigerlake"]
ORIGIN = ("Bochs 2.7 as packaged by Debian 12, one run of dump_capabilities.c under each cpu model "
          "(read_bochs.py)")
LINK = """ENTRY(_start)
SECTIONS { . = 1M; .text : { *(.multiboot) *(.text*) } .rodata : { *(.rodata*) }
.data : { *(.data*) *(.bss*) *(COMMON) } /DISCARD/ : { *(.note*) *(.eh_frame*) *(.comment) } }
"""
BOCHSRC = """cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest=128, host=128
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
display_library: x
log: bochs.log
panic: action=fatal
clock: sync=none, time0=1
"""
DISPLAY = ":177"


def build(folder: Path) -> Path:
    """A CD image that boots the dumper."""
    source = Path(__file__).with_name("dump_capabilities.c")
    (folder / "link.ld").write_text(LINK)
    boot = folder / "iso" / "boot"
    (boot / "grub").mkdir(parents=True)
    subprocess.run(
        ["gcc", "-m32", "-Os", "-ffreestanding", "-fno-pie", "-no-pie", "-fno-stack-protector",
         "-nostdlib", "-mno-sse", f"-Wl,-T,{folder / 'link.ld'}", "-Wl,--build-id=none",
         "-Wl,--no-warn-rwx-segments", "-o", boot / "dump.elf", source], check=True)
    (boot / "grub" / "grub.cfg").write_text("set timeout=0\nmultiboot /boot/dump.elf\nboot\n")
    iso = folder / "dump.iso"
    subprocess.run(["grub-mkrescue", "-o", iso, folder / "iso"], check=True, capture_output=True)
    return iso


def run(folder: Path, iso: Path, model: str) -> list[str]:
    """The lines the dumper prints under `model`."""
    place = folder / model
    place.mkdir()
    (place / "rc").write_text(BOCHSRC.format(model=model, iso=iso))
    (place / "commands").write_text("c\n")
    serial = place / "serial.txt"
    bochs = subprocess.Popen(
        ["bochs", "-q", "-f", "rc", "-rc", "commands"], cwd=place, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"DISPLAY": DISPLAY, "PATH": "/usr/bin:/bin"})
    try:
        for _ in range(240):
            time.sleep(0.5)
            if serial.exists() and "\nEND" in serial.read_text(errors="replace"):
                return serial.read_text().split("\n")
            if bochs.poll() is not None:
                break
    finally:
        bochs.kill()
        bochs.wait()
    raise SystemExit(f"{model}: no dump; Bochs' log: {(place / 'bochs.log').read_text()[-500:]}")


def parse(lines: list[str]) -> dict[str, Any]:
    msrs: dict[str, str | None] = {}
    leaves: dict[str, list[str]] = {}
    for words in map(str.split, lines):
        if words and words[0] == "msr" and 0x480 <= int(words[1], 16) <= 0x493:
            msrs[words[1][-3:]] = None if words[2] == "gp" else words[2]
        elif words and words[0] == "cpuid":
            leaves[f"{words[1]}.{words[2][-1]}"] = words[3:7]
    return {"msrs": msrs, "cpuid": leaves}


def main() -> None:
    x = subprocess.Popen(["Xvfb", DISPLAY], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            iso = build(folder)
            models = {model: parse(run(folder, iso, model)) for model in sys.argv[1:] or MODELS}
    finally:
        x.terminate()
        x.wait()
    text = json.dumps({"origin": ORIGIN, "models": models}, indent=1)
    row = r'\[\s+"(\w+)",\s+"(\w+)",\s+"(\w+)",\s+"(\w+)"\s+\]'
    print(re.sub(row, r'["\1", "\2", "\3", "\4"]', text))


if __name__ == "__main__":
    main()
