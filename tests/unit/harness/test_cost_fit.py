# SPDX-License-Identifier: GPL-3.0-or-later
"""What 1,000 of a thing cost is the slope over three numbers or more, of repeats that hold and are equal otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from harness import cost_fit
from harness.dataplanes_table import in_words, markdown
from harness.model import Observation, Record

MIB = 2.0**20
RUN = "20261121T183000Z-aaaa"


def nodes(count: int, run_id: str = RUN, before: float = MIB, **more: Any) -> Observation:
    """4 ms of CPU and 64 KiB of memory a node, beside what is there without any; of Felix 1.25 ms and 1 KiB."""
    values = {
        "plan": {"nodes": count, "connections": 16, "clients": None},
        "asked": count,
        "columns": {"existing": {"all": count + 2}},
        "machine": {"processes": {"kube-apiserver": {"cpu_seconds": 3.0 + 0.004 * count}, "gone": {}}},
        "memory": {
            "kube-apiserver": {"first_bytes": 300 * MIB, "max_bytes": 300 * MIB + 65536 * count, "last_bytes": 0}
        },
        "programs": {"real-0": {"cpu_seconds": 1 + count / 800, "first_bytes": MIB, "max_bytes": MIB + 1024 * count}},
        "storage": {
            "first_bytes": before,
            "last_bytes": before + 2048 * count,
            "in_use_first_bytes": MIB,
            "in_use_last_bytes": MIB + 1024 * count,
        },
    }
    return Observation(run_id, "2026-11-21T18:31:00Z", "calico_scale", "node_load", values | more, "nodes_at_scale",
                       "no_policy_engine", 1)  # fmt: skip


def churn(*, policies: int = 1, background: int = 0, pods: int = 4, lifetime: float = 3.0, **more: Any) -> Observation:
    """Two gangs on two nodes. Felix: 10 ms of CPU a policy that is active, 2 ms an endpoint; the API server 8 KiB a
    policy in the background."""
    values = {
        "plan": {
            "gangs": 2,
            "pods_per_gang": pods,
            "pods": 2 * pods,
            "policies_per_gang": policies,
            "background_policies": background,
            "lifetime_seconds": lifetime,
        },
        "background_policies": background,
        "active_policies": {name: {"first": 0.0, "most": float(policies)} for name in ("real-0", "real-1")},
        "active_endpoints": {name: {"first": 2.0, "most": 2.0 + pods} for name in ("real-0", "real-1")},
        "programs": {"real-0": {"cpu_seconds": 1 + 0.02 * policies + 0.004 * pods, "max_bytes": None}},
        "memory": {"kube-apiserver": {"max_bytes": MIB + 8192 * background}},
        "dataplane": {"release": "v3.32.1"},
    }
    return Observation(RUN, "2026-11-21T18:31:00Z", "calico_scale", "churn", values | more, "churn", "calico_iptables",
                       1)  # fmt: skip


def record(run_id: str = RUN, value: float | None = 100.0, metric: str = "nodes_ready") -> Record:
    scenario, subject = ("nodes_at_scale", "no_policy_engine") if metric == "nodes_ready" else (
        "churn", "calico_iptables")  # fmt: skip
    return Record(run_id, "calico_scale", scenario, subject, metric, "count", "higher",
                  "measured" if value else "invalid", "", value=value)  # fmt: skip


OF_CHURN = record(metric="pod_created_to_running_seconds")
#: What ran before has left the storage larger or smaller, and that is no cost of these.
THREE = [nodes(count, before=before) for count, before in ((100, 9 * MIB), (500, MIB), (1000, 5 * MIB))]


def fitted(observations: list[Observation], *records: Record) -> list[tuple[str, ...]]:
    """Without the subject, the cost's name and the interval."""
    found = cost_fit.fitted(observations, records)
    return [(row[1], row[3], row[2], row[4], row[cost_fit.COST]) for row in found]


def test_the_slope_of_each_process_is_its_cost_per_thousand_nodes() -> None:
    assert fitted(THREE, record()) == [
        ("nodes", "etcd's storage", "storage", "100, 500, 1,000", "1.953 MiB"),
        ("nodes", "etcd's storage, of it in use", "storage", "100, 500, 1,000", "1,000 KiB"),
        ("nodes", "kube-apiserver", "CPU", "100, 500, 1,000", "4 s"),
        ("nodes", "kube-apiserver", "memory", "100, 500, 1,000", "62.5 MiB"),
        ("nodes", "Felix of real-0", "CPU", "100, 500, 1,000", "1.25 s"),
        ("nodes", "Felix of real-0", "memory", "100, 500, 1,000", "1,000 KiB"),
    ]


def test_policies_are_those_that_felix_says_are_active_on_all_nodes_together() -> None:
    found = fitted([churn(policies=count) for count in (1, 50, 200)], OF_CHURN)
    assert ("policies active on a node", "Felix of real-0", "CPU", "2, 100, 400", "10 s") in found
    assert {row[0] for row in found} == {"policies active on a node"}


def test_endpoints_are_those_that_felix_says_are_on_all_nodes_together() -> None:
    found = fitted([churn(pods=count) for count in (2, 8, 20)], OF_CHURN)
    assert ("endpoints on a node", "Felix of real-0", "CPU", "8, 20, 44", "2 s") in found
    assert {row[0] for row in found} == {"endpoints on a node"}


def test_policies_in_the_background_are_another_thing() -> None:
    found = fitted([churn(background=count) for count in (0, 1000, 10000)], OF_CHURN)
    assert ("policies in the background", "kube-apiserver", "memory", "0, 1,000, 10,000", "7.812 MiB") in found
    assert {row[0] for row in found} == {"policies in the background"}


SILENT = {"active_policies": {"real-0": {"most": 1.0}, "real-1": {}}}
FEW: list[tuple[str, list[Observation], list[Record]]] = [
    ("two sizes", THREE[:2], [record()]),
    ("two sizes again and again", [THREE[0], THREE[0], THREE[1], THREE[1]], [record()]),
    ("no records", THREE, []),
    ("records that do not hold", THREE, [record(value=None)]),
    ("a third of a run whose records do not hold", [*THREE[:2], nodes(1000, "20261122T183000Z-bbbb")], [record()]),
    ("more than one thing differs", [churn(policies=n, lifetime=n) for n in (1, 2, 3)], [OF_CHURN]),
    ("pods and policies at once", [churn(policies=n, pods=2 * n) for n in (1, 2, 3)], [OF_CHURN]),
    ("repeats of one load whose endpoints differ by chance", [churn(active_endpoints={"real-0": {"most": n}})
                                                              for n in (5.0, 6.0, 7.0)], [OF_CHURN]),
    ("a node whose Felix told nothing", [churn(policies=n, **SILENT) for n in (1, 2, 3)], [OF_CHURN]),
    ("the records of another metric", [churn(policies=n) for n in (1, 2, 3)],
     [record(metric="request_failure_ratio")]),
]  # fmt: skip


@pytest.mark.parametrize(("observations", "records"), [case[1:] for case in FEW], ids=[case[0] for case in FEW])
def test_fewer_than_three_sizes_that_hold_are_no_line(observations: list[Observation], records: list[Record]) -> None:
    assert cost_fit.fitted(observations, records) == []


def test_what_nobody_told_is_in_no_line() -> None:
    bare = [nodes(count, memory={}, programs={}, storage={"last_bytes": None}) for count in (1, 2, 3)]
    assert [row[1:3] for row in fitted(bare, record())] == [("kube-apiserver", "CPU")]


def test_the_cost_stands_below_the_comparison_with_release() -> None:
    found = cost_fit.fitted([churn(policies=count) for count in (1, 50, 200)], [OF_CHURN])
    cost = [dict(zip(cost_fit.HEADINGS, row, strict=True)) for row in found]
    document = {"against": None, "subjects": [], "records": [], "left_out": [], "cost": cost}
    for text in (in_words(document, []), markdown(document, [])):
        line = next(line for line in text.splitlines() if "Felix of real-0" in line)
        assert "calico_iptables v3.32.1" in line and "10 s" in line
