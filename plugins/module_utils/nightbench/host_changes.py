# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run changes on the machine beyond processes and files: written down first, put back after a kill too.

The file is `host_changes.json` in a folder of the run's state: {"cgroups": [name], "settings": {path: {before, ours}}}.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import jsonfile, process
from .errors import ConfigurationError, ProcessError

FILE = "host_changes.json"
CGROUP_PREFIX = "nightbench-"
GONE_SECONDS = 10.0
POLL_SECONDS = 0.05


def known(folder: Path) -> dict[str, Any]:
    try:
        value = jsonfile.read(folder / FILE)
    except ConfigurationError:
        value = None
    value = value if isinstance(value, dict) else {}
    return {"cgroups": list(value.get("cgroups") or []), "settings": dict(value.get("settings") or {})}


def note_cgroup(folder: Path, name: str) -> None:
    """Before anything makes a cgroup of this name."""
    changes = known(folder)
    if name not in changes["cgroups"]:
        changes["cgroups"].append(name)
        jsonfile.write_atomic(folder / FILE, changes, mode=0o600)


def settings_to_raise(wanted: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Settings of the kernel that are lower than wanted, as they are and as they will be."""
    low = {}
    for path, value in wanted.items():
        current = Path(path).read_text(encoding="ascii").strip()
        if int(current) < value:
            low[path] = {"before": current, "ours": str(value)}
    return low


def raise_settings(folder: Path, low: Mapping[str, Mapping[str, str]]) -> None:
    changes = known(folder)
    for path, change in low.items():
        before = changes["settings"].get(path, change)["before"]
        changes["settings"][path] = {"before": before, "ours": change["ours"]}
    jsonfile.write_atomic(folder / FILE, changes, mode=0o600)
    for path, change in low.items():
        Path(path).write_text(change["ours"], encoding="ascii")


def remains(folder: Path) -> list[str]:
    """What is still to be put back, in words."""
    changes = known(folder)
    words = [f"cgroup {path}" for name in changes["cgroups"] for path in cgroup_folders(name)]
    for path, change in changes["settings"].items():
        if _is_ours(path, change):
            words.append(f"{path}={change['ours']}")
    return words


def put_back(folder: Path) -> list[str]:
    """Once the processes are gone: former settings, unless somebody has changed them since, and no cgroup of ours."""
    done = remains(folder)
    changes = known(folder)
    for path, change in changes["settings"].items():
        if _is_ours(path, change):
            Path(path).write_text(change["before"], encoding="ascii")
    for name in changes["cgroups"]:
        remove_cgroup(name)
    (folder / FILE).unlink(missing_ok=True)
    return done


def cgroup_folders(name: str) -> list[Path]:
    """Where the cgroup is, in each hierarchy of the machine."""
    if not name.startswith(CGROUP_PREFIX) or "/" in name:
        raise ConfigurationError(f"{name!r} is no cgroup of ours.", hint=f"Ours begin with {CGROUP_PREFIX}.")
    return [folder / name for folder in hierarchies() if (folder / name).is_dir()]


def hierarchies() -> list[Path]:
    """Where cgroups are mounted (proc(5), mountinfo)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(before.split()[4]))
    return found


def remove_cgroup(name: str) -> None:
    """With everything below it, and with what may still run in it."""
    deadline = time.monotonic() + GONE_SECONDS
    while folders := cgroup_folders(name):
        for top in folders:
            for path, _, _ in os.walk(top, topdown=False):
                _kill_all(Path(path))
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        if time.monotonic() > deadline and (left := cgroup_folders(name)):
            raise ProcessError(
                f"remove the cgroup {left[0]}: it is still in use {GONE_SECONDS:g} s after its processes were killed."
            )
        time.sleep(POLL_SECONDS if folders else 0)


def _kill_all(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            who = process.identity(int(pid))
            if who is not None and who.pid != os.getpid():
                process.send_signal(who, signal.SIGKILL)


def _is_ours(path: str, change: Mapping[str, str]) -> bool:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii").strip() == change["ours"] != change["before"]
    return False
