# SPDX-License-Identifier: GPL-3.0-or-later
"""Small clusters for the tests of the stand-in's scheduler."""

from __future__ import annotations

from typing import Any

from tests.fakes.kai_stand_in.allocate import Session
from tests.fakes.kai_stand_in.model import Amount, Cluster, Group, Node, Pod, Queue

FREE = Amount(-1, -1, -1)
LEVELS = [{"nodeLabel": "zone"}, {"nodeLabel": "rack", "alias": "cabinet"}]


def nodes(count: int, gpus: int = 8, per_rack: int = 2, per_zone: int = 4) -> dict[str, Node]:
    return {
        f"n{index}": Node(
            f"n{index}", Amount(gpus), labels={"zone": f"z{index // per_zone}", "rack": f"r{index // per_rack}"}
        )
        for index in range(count)
    }


def queue(name: str, quota: float = -1, limit: float = -1, weight: float = 1, parent: str | None = "root") -> Queue:
    return Queue(name, parent, 100, Amount(quota, -1, -1), Amount(limit, -1, -1), weight)


def group(name: str, pods: int, gpus: float = 1, of: str = "a", on: list[str] | None = None, **more: Any) -> Group:
    """A group of pods, pending or on the nodes named."""
    places: list[str | None] = list(on or [None] * pods)
    members = [Pod(f"{name}-{index}", f"{name}-{index}", Amount(gpus), place) for index, place in enumerate(places)]
    return Group("default", name, of, pods=members, **more)


def session(found: dict[str, Node], queues: list[Queue], *groups: Group, **options: Any) -> Session:
    known = {one.name: one for one in [Queue("root", None, quota=FREE, limit=FREE), *queues]}
    cluster = Cluster(found, {one.key: one for one in groups}, known, {"tree": LEVELS})
    return Session(cluster, **options)


A = [queue("a")]
