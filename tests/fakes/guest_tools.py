# SPDX-License-Identifier: GPL-3.0-or-later
"""virsh, ssh, driverctl and kubectl as a host with guests has them; which one it is, its name says.

What was asked is in the file `asked` of GUEST_TOOLS_STATE, one command a line. A guest runs commands on this machine,
with its results in a folder of its own. GUEST_TOOLS_FAULT: unmanaged, runs, deaf (nobody answers), stubborn (it does
not end).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STATE, FAULT = Path(os.environ.get("GUEST_TOOLS_STATE", ".")), os.environ.get("GUEST_TOOLS_FAULT", "")
UP = STATE / "up"
DOMAIN = "<domain><devices><hostdev mode='subsystem' type='pci' managed='{}'/></devices></domain>"


def main(name: str, words: list[str]) -> int:
    with (STATE / "asked").open("a", encoding="utf-8") as stream:
        stream.write(" ".join([name, *words]).splitlines()[0] + "\n")
    return {"virsh": virsh, "ssh": ssh, "driverctl": lambda words: 0, "kubectl": kubectl}[name](words)


def virsh(words: list[str]) -> int:
    verb = words[2]
    if verb == "dumpxml":
        print(DOMAIN.format("no" if FAULT == "unmanaged" else "yes"))
    elif verb == "domstate":
        print("running" if UP.exists() or FAULT == "runs" else "shut off")
    elif verb == "start":
        UP.touch()
    elif verb == "destroy" or FAULT != "stubborn":
        UP.unlink(missing_ok=True)
    return 0


def kubectl(words: list[str]) -> int:
    if "exec" in words:
        return inside(words[words.index("--") + 1 :])
    if "create" in words:
        UP.touch()
    elif "delete" in words:
        UP.unlink(missing_ok=True)
    elif UP.exists():
        print("pod/gpu")
    return 0


def ssh(words: list[str]) -> int:
    return inside(["sh", "-c", words[-1]])


def inside(command: list[str]) -> int:
    if not UP.exists() or FAULT == "deaf":
        sys.stderr.write("no route to host\n")
        return 255
    own = [
        word.replace("/results/", "/of_the_guest/").replace("/gpu_probe.pyz", "/of_the_guest.pyz") for word in command
    ]
    return subprocess.run(own, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
