# SPDX-License-Identifier: GPL-3.0-or-later
"""The published mesh at its full size in network namespaces: 49 pods, two interfaces, 4,704 cells, nobody busy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import mesh_module
from tests.fakes.mesh_namespaces import layout, namespaces
from tests.integration.test_mesh import TINY, parameters, rows, values

pytestmark = [pytest.mark.integration, pytest.mark.root, pytest.mark.long]

#: In this order when raised: the kernel wants each below the next.
LIMITS = ("gc_thresh3", "gc_thresh2")


@pytest.fixture
def room_for_neighbours() -> Iterator[None]:
    """Two bridges: every pod is the neighbour of all others. The table is the machine's, so it is put back."""
    places = [Path("/proc/sys/net/ipv4/neigh/default", name) for name in LIMITS]
    former = [place.read_text() for place in places]
    try:
        for place, size in zip(places, ("16384", "12288"), strict=True):
            place.write_text(size)
        yield
    finally:
        with contextlib.suppress(OSError):
            for place, size in reversed(list(zip(places, former, strict=True))):
                place.write_text(size)


def test_all_4704_cells_run_and_none_finds_a_busy_server(
    tmp_path: Path, tmp_path_factory: Any, room_for_neighbours: None
) -> None:
    groups = {"mesh": 3, "lb-bgp": 6, "mg": 40}
    with namespaces(layout(groups), tmp_path_factory.mktemp("pods")) as cluster:
        mesh = {**TINY, "slack_seconds": 1.5}
        result = mesh_module.ended(
            mesh_module.started(**parameters(cluster, tmp_path, mesh, deadline_seconds=300)), 400
        )
    print(f"\n{result['summary']}")
    found = [values(result, name) for name in ("eth0", "net1")]
    assert [(one["asked"], one["done"], one["busy"], one["failures"]) for one in found] == [(2352, 2352, 0, {})] * 2
    assert len({(row["source"], row["target"], row["interface"]) for row in rows(tmp_path)}) == 4704
    ratios = [row["tx_bytes"] / row["cells_tx_bytes"] for row in rows(tmp_path, "counters")]
    assert [ratio for ratio in ratios if not 0.95 < ratio < 1.15] == []
