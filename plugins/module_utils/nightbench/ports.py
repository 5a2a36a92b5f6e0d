# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a TCP port of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .process import command_of

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp prints it


@dataclass(frozen=True)
class Holder:
    """A listener; pid 0 when its process belongs to another user and cannot be seen."""

    port: int
    pid: int
    command: str

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self.command})" if self.pid else "a process that this user cannot see"
        return f"port {self.port} is taken by {who}"


def holders(ports: Collection[int]) -> list[Holder]:
    """Who listens on any of `ports`, on whatever address, in the order of the ports."""
    sockets = {inode: port for table in ("tcp", "tcp6") for port, inode in _listeners(table) if port in set(ports)}
    if not sockets:
        return []
    owners = _owners(set(sockets))
    found = {
        Holder(port, pid := owners.get(inode, 0), command_of(pid) if pid else "") for inode, port in sockets.items()
    }
    return sorted(found, key=lambda holder: (holder.port, holder.pid))


def listening() -> set[int]:
    """Every port on which something listens, on whatever address."""
    return {port for table in ("tcp", "tcp6") for port, _ in _listeners(table)}


def _listeners(table: str) -> list[tuple[int, str]]:
    try:
        lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:  # a kernel without IPv6
        return []
    rows = [line.split() for line in lines]
    return [(int(row[1].rpartition(":")[2], 16), row[9]) for row in rows if row[3] == _LISTEN]


def _owners(inodes: set[str]) -> dict[str, int]:
    owners: dict[str, int] = {}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        for link in _open_files(f"/proc/{pid}/fd"):
            if link.startswith("socket:[") and link[8:-1] in inodes:
                owners.setdefault(link[8:-1], int(pid))
    return owners


def _open_files(folder: str) -> Iterator[str]:
    """Where a process's descriptors lead; nothing for one that is gone or another user's."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(f"{folder}/{name}")
