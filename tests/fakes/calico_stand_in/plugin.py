# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Calico's CNI plugin: insists on what the real one needs on a node, then connects as ptp does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LOG = Path("/var/log/calico/cni/cni.log")


def main() -> None:
    asked = json.load(sys.stdin)
    command = os.environ["CNI_COMMAND"]
    if command != "VERSION":
        name = Path("/var/lib/calico/nodename").read_text(encoding="utf-8")
        if asked["nodename"] != name or not Path(asked["kubernetes"]["kubeconfig"]).is_file():
            fail(f"this is {name}, and it was told {asked['nodename']}, {asked['kubernetes']['kubeconfig']}")
        LOG.parent.mkdir(parents=True, exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{command} {os.environ['CNI_ARGS']}\n")
    kept = ("cniVersion", "name", "mtu", "ipam", "prevResult")
    told = {"type": "ptp", **{key: asked[key] for key in kept if key in asked}}
    ptp = next(path for folder in os.environ["CNI_PATH"].split(":") if (path := Path(folder, "ptp")).exists())
    done = subprocess.run([ptp], input=json.dumps(told), text=True, capture_output=True, check=False)
    print(done.stdout, end="")
    sys.exit(done.returncode)


def fail(message: str) -> None:
    print(json.dumps({"cniVersion": "1.0.0", "code": 100, "msg": f"calico stand-in: {message}"}))
    sys.exit(1)


if __name__ == "__main__":
    main()
