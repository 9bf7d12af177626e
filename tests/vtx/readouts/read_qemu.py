#!/usr/bin/python3
"""Reads QEMU's CPU models over QMP: family, model, stepping, CPUID features and vmx-* properties.

Prints the JSON that qemu_7_2.json holds. QEMU's vmx-* lists are what KVM needs of each processor, not
all it has: a property that is absent proves nothing, one that is present does.
"""

import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

MODELS = ["Nehalem-v2", "Haswell-v1", "Skylake-Server-v5", "Icelake-Server-v6"]
# Aliases and switches of QEMU itself.
NOISE = ("kvm", "hv-", "x-", "i64", "check", "enforce", "migratable", "full-", "fill-", "legacy-",
         "l3-", "cpuid-", "tcg-", "vmware-", "hypervisor")


def command(stream: Any, name: str, **arguments: Any) -> Any:
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    while True:
        reply = json.loads(stream.readline())
        if "return" in reply:
            return reply["return"]
        if "error" in reply:
            raise RuntimeError(reply["error"]["desc"])


def read(stream: Any, model: str) -> dict[str, Any]:
    wanted = {"name": model, "props": {"vmx": True}}
    reply = command(stream, "query-cpu-model-expansion", type="full", model=wanted)
    props = reply["model"]["props"]
    on = sorted(name for name, value in props.items() if value is True and "_" not in name)
    return {
        **{name: props[name] for name in ("family", "model", "stepping")},
        "vmx": [name for name in on if name.startswith("vmx-")],
        "cpuid": [n for n in on if not n.startswith(("vmx-", *NOISE))],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "qmp"
        qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-nodefaults", "-display", "none",
             "-S", "-qmp", f"unix:{path},server=on,wait=off"], stderr=subprocess.DEVNULL)
        while not path.exists():
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(path))
            stream = link.makefile("rw")
            stream.readline()
            command(stream, "qmp_capabilities")
            version = command(stream, "query-version")["package"]
            models = {model: read(stream, model) for model in MODELS}
        qemu.terminate()
        qemu.wait()
    origin = f"query-cpu-model-expansion type=full of QEMU {version} (read_qemu.py)"
    print(json.dumps({"origin": origin, "models": models}, indent=1))


if __name__ == "__main__":
    main()
