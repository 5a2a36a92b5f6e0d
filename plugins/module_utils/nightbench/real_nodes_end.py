# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of real nodes, also after any part of them was killed: by the folder that their processes carry."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from . import host_changes, process
from .errors import ConfigurationError, ProcessError
from .process import Records
from .real_nodes import MARK, STATE_FILE, host_interface, is_ours

GONE_SECONDS = 20.0
POLL_SECONDS = 0.05


def processes(folder: Path) -> list[process.Identity]:
    """Every living process of the nodes that carries the folder, whoever started it."""
    mark = f"{MARK}={folder}".encode()
    return [
        found.identity
        for found in process.all_processes()
        if found.running and found.pid != os.getpid() and mark in process.environment_of(found.pid)
    ]


def remains(folder: Path) -> list[str]:
    """What there is of the nodes, in words."""
    words = [f"process {who.pid}" for who in processes(folder)]
    words += host_changes.remains(folder)
    interface = host_interface(folder)
    words += [f"interface {interface}"] if os.path.exists(f"/sys/class/net/{interface}") else []
    return words + ([str(folder)] if folder.exists() else [])


def remove(folder: Path, records: Records) -> None:
    """No process, mount, interface, route, cgroup or file of the nodes is left; also after any of them was killed."""
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise ConfigurationError(
            f"{folder} holds files and neither {STATE_FILE} nor {host_changes.FILE}: it is no folder of real nodes.",
            hint="Name another folder; nothing in this one was touched.",
        )
    end_processes(folder)
    _wait_gone(host_interface(folder))
    host_changes.put_back(folder)
    if folder.is_dir():
        # What tells that the folder is ours goes last: a removal that is cut short can be done again.
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == STATE_FILE):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        folder.rmdir()
    for record in records.all():
        if is_ours(record.argv, folder):
            records.remove(record)


def end_processes(folder: Path) -> None:
    """All at once: the kernel ends everything in a node with its first process."""
    for who in process.kill_all(lambda: processes(folder), "end the real nodes", GONE_SECONDS):
        process.reap(who.pid)


def _wait_gone(interface: str) -> None:
    """The kernel takes network namespaces down a moment after their last process."""
    deadline = time.monotonic() + GONE_SECONDS
    while os.path.exists(f"/sys/class/net/{interface}"):
        if time.monotonic() > deadline:
            raise ProcessError(
                f"end the real nodes: the interface {interface} is still there {GONE_SECONDS:g} s after the last "
                "process of their network.",
                hint=f"ip link delete {interface}",
            )
        time.sleep(POLL_SECONDS)


def _is_ours(folder: Path) -> bool:
    return (folder / STATE_FILE).exists() or (folder / host_changes.FILE).exists()
