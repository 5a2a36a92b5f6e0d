# SPDX-License-Identifier: GPL-3.0-or-later
"""A page of sriov-network-metrics-exporter over interfaces of this machine that stand for virtual functions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fakes.serving import QuietHandler, serving


@contextlib.contextmanager
def vf_exporter(address: str, cables: Mapping[str, str]) -> Iterator[int]:
    """``cables``: by PCI address the name of this machine's end of the cable. Gives the port it listens on."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(200, page(cables).encode())

    with serving(Handler, address) as server:
        yield server.server_port


def page(cables: Mapping[str, str]) -> str:
    """What the pod sends is what this end receives."""
    lines = ["# HELP sriov_vf_tx_bytes Statistic tx_bytes.", "# TYPE sriov_vf_tx_bytes counter"]
    for number, (address, cable) in enumerate(cables.items()):
        labels = f'{{numa_node="0",pciAddr="{address}",pf="ens1",vf="{number}"}}'
        for way, here in (("tx", "rx"), ("rx", "tx")):
            moved = Path(f"/sys/class/net/{cable}/statistics/{here}_bytes").read_text().strip()
            lines.append(f"sriov_vf_{way}_bytes{labels} {moved}")
    return "\n".join(lines) + "\n"
