# SPDX-License-Identifier: GPL-3.0-or-later
"""Free TCP ports on 127.0.0.1 for what is started next."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .errors import ConfigurationError
from .ports import listening


def choose_ports(names: Sequence[str], asked: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """A port each: the one asked for, else the one in use, else a free one that no outgoing connection can take."""
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = int(asked.get(name) or known.get(name) or free_port(set(ports.values())))
    return ports


def free_port(taken: Collection[int]) -> int:
    first = 32768
    with contextlib.suppress(OSError, ValueError, IndexError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    below = range(20000, first) if first > 21000 else range(10000, 20000)
    # A listener on another address does not keep us from binding, but whoever starts next would call the port taken.
    used = {*taken, *listening()}
    for port in random.sample(below, len(below)):
        if port not in used and _bindable(port):
            return port
    raise ConfigurationError(f"There is no free port between {below.start} and {below.stop} on 127.0.0.1.")


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
