# SPDX-License-Identifier: GPL-3.0-or-later
"""What run.json says about the machine and the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any


def host() -> dict[str, Any]:
    """The machine that the run is on."""
    return {
        "hostname": platform.node(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "cpu_model": value_of(_read("/proc/cpuinfo"), "model name", ":"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": (value_of(_read("/etc/os-release"), "PRETTY_NAME", "=") or platform.system()).strip('"'),
    }


def git(root: Path) -> dict[str, Any] | None:
    """Revision of the checkout and whether files differ from it; None where it is no checkout of ours."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"revision": _git(root, "rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def value_of(text: str, name: str, separator: str) -> str | None:
    """The value of the first line `NAME separator VALUE`."""
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip()
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(root), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
