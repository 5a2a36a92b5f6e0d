# SPDX-License-Identifier: GPL-3.0-or-later
"""What each process cost is shown once, whoever told it: the kernel, its own page, or a cluster's Prometheus."""

from __future__ import annotations

from typing import Any

from harness import resources
from harness.model import Observation
from harness.repeat import Repeat

MIB = 2.0**20
LOCAL = {
    "machine": {"processes": {"kube-apiserver": {"cpu_seconds": 3.0}, "gone": {}}},
    "memory": {"kube-apiserver": {"first_bytes": 300 * MIB, "max_bytes": 400 * MIB, "last_bytes": 350 * MIB}},
    "programs": {"real-0": {"cpu_seconds": 2.0, "first_bytes": MIB, "max_bytes": 3 * MIB, "last_bytes": 2 * MIB}},
    "storage": {
        "first_bytes": MIB,
        "last_bytes": 8 * MIB,
        "in_use_first_bytes": MIB,
        "in_use_last_bytes": 2 * MIB,
    },
    "series": {
        "seconds": [0.0, 1.0, 2.0],
        "processes": {"kube-apiserver": {"cores": [None, 0.5, 0.25], "bytes": [300 * MIB, None, 400 * MIB]}},
        "programs": {"real-0": {"cores": [None, 0.1, None], "bytes": [MIB, 2 * MIB, 3 * MIB]}},
        "storage": {},
    },
}
OF_PODS = {
    "window": {"seconds": 60.0, "end": 1060.0},
    "pods": {
        "cpu_seconds": {"calico-node": 12.5, "etcd": None},
        "series": {
            "cores calico-node": [[1000.0, 0.2], [1030.0, 0.4]],
            "bytes calico-node": [[1000.0, 50 * MIB], [1030.0, 90 * MIB], [1060.0, 70 * MIB]],
            "cores etcd": [],
            "bytes etcd": [],
            "storage total_bytes": [[1000.0, 4 * MIB], [1060.0, 6 * MIB]],
            "storage in_use_bytes": [[1000.0, 4 * MIB], [1060.0, 5 * MIB]],
        },
    },
}


def load(values: dict[str, Any], repeat: int = 1) -> Repeat:
    return Repeat(Observation("20261121T183000Z-aaaa", "2026-11-21T18:31:00Z", "calico_scale", "churn", values, "churn",
                              "calico_iptables", repeat))  # fmt: skip


def test_processes_programs_and_the_storage_with_what_of_it_is_in_use() -> None:
    assert resources.table([load(LOCAL)], "meanwhile").rows == [
        ("1", "kube-apiserver", "3 s", "300 MiB", "400 MiB", "350 MiB"),
        ("1", "gone", "–", "–", "–", "–"),
        ("1", "Felix of real-0", "2 s", "1 MiB", "3 MiB", "2 MiB"),
        ("1", "etcd's storage", "–", "1 MiB", "–", "8 MiB"),
        ("1", "of it in use", "–", "1 MiB", "–", "2 MiB"),
    ]


def test_typhas_are_called_what_they_are_and_no_felix() -> None:
    used = {"cpu_seconds": 1.0, "first_bytes": MIB, "max_bytes": 2 * MIB, "last_bytes": MIB}
    told = {"real-0": used, "Typha 1": used}
    assert [row[1] for row in resources.table([load({"programs": told})], "meanwhile").rows][:2] == [
        "Felix of real-0",
        "Typha 1",
    ]


def test_what_only_prometheus_knows_is_told_as_the_pods_of_a_name() -> None:
    assert resources.table([load(OF_PODS)], "meanwhile").rows == [
        ("1", "pods of calico-node", "12.5 s", "50 MiB", "90 MiB", "70 MiB"),
        ("1", "etcd's storage", "–", "4 MiB", "–", "6 MiB"),
        ("1", "of it in use", "–", "4 MiB", "–", "5 MiB"),
    ]


def test_cpu_and_memory_are_drawn_over_the_seconds_of_the_load() -> None:
    processors, memory = resources.charts([load(LOCAL | OF_PODS), load(LOCAL, 2)])
    drawn = [(trace["name"], trace["line"]["dash"], trace["x"], trace["y"]) for trace in processors.data["data"]]
    assert drawn == [
        ("kube-apiserver", "solid", [0.0, 1.0, 2.0], [None, 0.5, 0.25]),
        ("pods of calico-node", "solid", [0.0, 30.0], [0.2, 0.4]),
        ("Felix of real-0", "solid", [0.0, 1.0, 2.0], [None, 0.1, None]),
        ("kube-apiserver", "dash", [0.0, 1.0, 2.0], [None, 0.5, 0.25]),
        ("Felix of real-0", "dash", [0.0, 1.0, 2.0], [None, 0.1, None]),
    ]
    assert memory.data["data"][0]["y"] == [300.0, None, 400.0]


def test_of_what_nobody_looked_at_there_is_no_chart() -> None:
    assert resources.charts([load({})]) == []
    assert resources.table([load({})], "meanwhile").rows == [
        ("1", "etcd's storage", "–", "–", "–", "–"),
        ("1", "of it in use", "–", "–", "–", "–"),
    ]
