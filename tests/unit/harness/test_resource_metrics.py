# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load cost has one name, whoever told it; what nobody told has a reason and no number."""

from __future__ import annotations

from typing import Any

import pytest

from harness import resource_metrics
from tests.unit.harness.test_resources import LOCAL, MIB, OF_PODS, load

TWO = {"real-0": {"cpu_seconds": 2.0, "max_bytes": 3 * MIB}, "real-1": {"cpu_seconds": 4.0, "max_bytes": 2 * MIB}}
WINDOW = {"window": {"seconds": 10.0, "end": 1060.0}}


def found(values: dict[str, Any]) -> dict[str, float | None]:
    return {name: value(load(values)) for name, value in resource_metrics.VALUES.items()}


def test_cores_are_of_the_window_and_felix_is_the_mean_of_all_nodes() -> None:
    typha = {"cpu_seconds": 90.0, "max_bytes": 300 * MIB}
    assert found(LOCAL | WINDOW | {"programs": {**TWO, "Typha": typha}}) == {
        "felix_cpu_cores": pytest.approx(0.3),
        "felix_most_memory_bytes": 3 * MIB,
        "api_server_cpu_cores": pytest.approx(0.3),
        "api_server_most_memory_bytes": 400 * MIB,
        "etcd_cpu_cores": None,
        "etcd_most_memory_bytes": None,
        "etcd_storage_bytes": 8 * MIB,
        "etcd_storage_in_use_ratio": 0.25,
    }


def test_on_a_cluster_they_are_those_of_pods() -> None:
    pods = OF_PODS["pods"]
    series = {**pods["series"], "bytes kube-apiserver": [[1000.0, 7 * MIB], [1060.0, 5 * MIB]]}
    told = found(OF_PODS | {"pods": {"cpu_seconds": {"kube-apiserver": 30.0}, "series": series}})
    assert (told["api_server_cpu_cores"], told["api_server_most_memory_bytes"]) == (0.5, 7 * MIB)
    assert (told["etcd_storage_bytes"], told["felix_cpu_cores"]) == (6 * MIB, None)


def test_a_felix_that_told_nothing_makes_no_mean_of_the_others() -> None:
    silent = {**TWO, "real-1": {"cpu_seconds": None, "max_bytes": None}}
    told = found(WINDOW | {"programs": silent})
    assert (told["felix_cpu_cores"], told["felix_most_memory_bytes"]) == (None, None)


REASONS = [
    ("felix_cpu_cores", {"dataplane": {"observed": "none"}}, "no policy engine: no Felix ran"),
    ("felix_cpu_cores", {"dataplane": {"observed": "iptables"}}, "nobody told it: the process of Felix,"),
    ("etcd_storage_in_use_ratio", {"storage": {"last_bytes": 1.0}}, "nobody told it: the process of etcd,"),
    ("api_server_cpu_cores", {}, "nobody told it: the process of the API server,"),
    ("etcd_storage_bytes", {"storage": {"last_bytes": 1.0}}, ""),
    ("nodes_ready", {}, ""),
]


@pytest.mark.parametrize(("metric", "values", "reason"), REASONS)
def test_what_is_not_there_says_why(metric: str, values: dict[str, Any], reason: str) -> None:
    assert resource_metrics.not_runnable(metric, [load(values)]).startswith(reason)
    assert bool(resource_metrics.not_runnable(metric, [load(values)])) == bool(reason)
