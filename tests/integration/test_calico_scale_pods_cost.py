# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods of a cluster used is asked of its Prometheus for the window of the load, and becomes rows of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness import resources
from harness.model import Observation
from harness.repeat import Repeat
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.role import play_role
from tests.scheduler_scale import through

pytestmark = pytest.mark.integration

WINDOW = {"seconds": 90.4, "end": 1764000000.5}
FELIX = '{namespace="calico-system", pod=~"calico-node-.+", container!=""}'
#: Of one name; the others are asked in the same way.
ASKED = {
    f"sum(increase(container_cpu_usage_seconds_total{FELIX}[91s] @ 1764000000.5))",
    f"sum(rate(container_cpu_usage_seconds_total{FELIX}[1m]))[91s:15s] @ 1764000000.5",
    f"sum(container_memory_working_set_bytes{FELIX})[91s:15s] @ 1764000000.5",
    "max(etcd_mvcc_db_total_size_in_bytes)[91s:15s] @ 1764000000.5",
    "max(etcd_mvcc_db_total_size_in_use_in_bytes)[91s:15s] @ 1764000000.5",
}


def answer(kind: str, times: int, **told: Any) -> Fault:
    body = {"status": "success", "data": {"resultType": kind, "result": [{"metric": {}, **told}]}}
    return Fault("answer", path="/services/prometheus-operated:9090/proxy/", times=times, body=json.dumps(body))


def test_prometheus_is_asked_for_the_window_and_answers_become_rows(tmp_path: Path) -> None:
    points = [[1763999910.5, "1048576"], [1764000000.5, "3145728"]]
    with fault_proxy("127.0.0.1", 9, None, answer("vector", 1, value=[1.5, "12.5"])) as proxy:
        proxy.faults.append(answer("matrix", 4, values=points))
        played = play_role(
            "calico_scale",
            tmp_path,
            {
                "calico_scale_kubeconfig": through(tmp_path, proxy.url),
                "calico_scale_prometheus": {"namespace": "monitoring", "lag_seconds": 0},
                "calico_scale_monitored": {"Felix": {"namespace": "calico-system", "pods": "calico-node-.+"}},
                "__calico_scale_ran": {"values": {"window": WINDOW}},
            },
            fact="__calico_scale_asked",
            tasks_from="pods_cost",
        )
    assert played.rc == 0, played.output
    assert {parse_qs(urlsplit(path).query)["query"][0] for _, path in proxy.seen} == ASKED

    pods = {"cpu_seconds": played.facts["values"], "series": played.facts["series"]}
    load = Repeat(Observation("20261121T183000Z-aaaa", "2026-11-21T18:31:00Z", "calico_scale", "node_load",
                              {"window": WINDOW, "pods": pods}, "nodes_at_scale", "calico_iptables", 1))  # fmt: skip
    assert resources.table([load], "meanwhile").rows == [
        ("1", "pods of Felix", "12.5 s", "1 MiB", "3 MiB", "3 MiB"),
        ("1", "etcd's storage", "–", "1 MiB", "–", "3 MiB"),
        ("1", "of it in use", "–", "1 MiB", "–", "3 MiB"),
    ]
