# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node costs is the slope over three numbers of nodes or more, and only of repeats whose records hold."""

from __future__ import annotations

from typing import Any

import pytest

from harness.dataplanes_table import in_words, markdown
from harness.model import Observation, Record
from harness.nodes import resources
from harness.nodes.load import Nodes

MIB = 2.0**20


def observation(nodes: int, run_id: str = "20261121T183000Z-aaaa", **more: Any) -> Observation:
    """4 ms of CPU and 64 KiB of memory a node, beside what is there without any; of Felix 1.25 ms and 1 KiB."""
    values = {
        "asked": nodes,
        "columns": {"existing": {"all": nodes + 2}},
        "machine": {"processes": {"kube-apiserver": {"cpu_seconds": 3.0 + 0.004 * nodes}, "gone": {}}},
        "memory": {
            "kube-apiserver": {"first_bytes": 300 * MIB, "max_bytes": 300 * MIB + 65536 * nodes, "last_bytes": 0}
        },
        "programs": {"real-0": {"cpu_seconds": 1 + nodes / 800, "first_bytes": MIB, "last_bytes": MIB + 1024 * nodes}},
        "storage": {"first_bytes": MIB, "last_bytes": MIB + 2048 * nodes},
    }
    return Observation(run_id, "2026-11-21T18:31:00Z", "calico_scale", "node_load", values | more, "nodes_at_scale",
                       "no_policy_engine", 1)  # fmt: skip


def record(run_id: str = "20261121T183000Z-aaaa", value: float | None = 100.0) -> Record:
    return Record(run_id, "calico_scale", "nodes_at_scale", "no_policy_engine", "nodes_ready", "count", "higher",
                  "measured" if value else "invalid", "", value=value)  # fmt: skip


THREE = [observation(nodes) for nodes in (100, 500, 1000)]


def test_the_slope_of_each_process_is_its_cost_per_thousand_nodes() -> None:
    found = resources.fitted(THREE, [record()])
    assert [(process, what, sizes, cost) for _, process, what, sizes, cost, _ in found] == [
        ("etcd's storage", "storage", "102, 502, 1,002", "1.953 MiB"),
        ("kube-apiserver", "CPU until all are Ready", "100, 500, 1,000", "4 s"),
        ("kube-apiserver", "most memory", "102, 502, 1,002", "62.5 MiB"),
        ("Felix of real-0", "CPU until all are Ready", "100, 500, 1,000", "1.25 s"),
        ("Felix of real-0", "most memory", "102, 502, 1,002", "1,000 KiB"),
    ]


FEW: list[tuple[list[Observation], list[Record]]] = [
    (THREE[:2], [record()]),
    ([THREE[0], THREE[0], THREE[1], THREE[1]], [record()]),
    (THREE, []),
    (THREE, [record(value=None)]),
    ([*THREE[:2], observation(1000, "20261122T183000Z-bbbb")], [record()]),
]


@pytest.mark.parametrize(("observations", "records"), FEW)
def test_fewer_than_three_sizes_that_hold_are_no_line(observations: list[Observation], records: list[Record]) -> None:
    assert resources.fitted(observations, records) == []


def test_what_nobody_told_is_in_no_line_and_in_the_table_as_such() -> None:
    bare = [observation(nodes, memory={}, programs={}, storage={"last_bytes": None}) for nodes in (1, 2, 3)]
    assert [row[1:3] for row in resources.fitted(bare, [record()])] == [("kube-apiserver", "CPU until all are Ready")]
    rows = resources.table([Nodes(bare[0])]).rows
    assert rows == [
        ("1", "kube-apiserver", "3.004 s", "–", "–", "–"),
        ("1", "gone", "–", "–", "–", "–"),
        ("1", "etcd's storage", "–", "–", "–", "–"),
    ]


def test_the_cost_stands_below_the_comparison() -> None:
    cost = [dict(zip(resources.HEADINGS, row, strict=True)) for row in resources.fitted(THREE, [record()])]
    document = {"against": None, "subjects": [], "records": [], "left_out": [], "cost": cost}
    for text in (in_words(document, []), markdown(document, [])):
        line = next(line for line in text.splitlines() if "most memory" in line and "kube-apiserver" in line)
        assert "62.5 MiB" in line
