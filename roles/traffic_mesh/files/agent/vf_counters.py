# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of virtual functions as their NIC counts them, by the exporter of the pod's node.

Names and labels as sriov-network-metrics-exporter publishes them: sriov_vf_tx_bytes{pciAddr="0000:18:02.5", …}.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from urllib.parse import urlsplit

SECONDS = 2.0  # both readings of a round lie in its guard time; a slow exporter is none
LINE = re.compile(r'^sriov_vf_(tx|rx)_bytes\{[^}]*\bpciAddr="([^"]+)"[^}]*\}\s+(\S+)', re.MULTILINE)


def counters(url: str, devices: dict[str, str]) -> dict[str, list[int]]:
    """Bytes sent and received by interface, by the PCI addresses ``devices``; what is not told is left out."""
    found: dict[tuple[str, str], int] = {}
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        place = urlsplit(url)
        with contextlib.closing(http.client.HTTPConnection(place.netloc, timeout=SECONDS)) as connection:
            connection.request("GET", place.path)
            for way, address, value in LINE.findall(connection.getresponse().read().decode()):
                found[address, way] = int(float(value))
    return {
        interface: [found[address, "tx"], found[address, "rx"]]
        for interface, address in devices.items()
        if (address, "tx") in found and (address, "rx") in found
    }
