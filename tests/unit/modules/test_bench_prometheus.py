# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Prometheus behind the API server answers becomes one number for each query, or a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.modules import bench_prometheus

from tests.conftest import ModuleResult, RunModule
from tests.fakes.fault_proxy import Fault, FaultProxy, fault_proxy

#: As in the documentation of the HTTP API: the moment of the sample and its value.
VECTOR = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.5, "0.42"]}]}}
TWO = {**VECTOR, "data": {"resultType": "vector", "result": VECTOR["data"]["result"] * 2}}  # type: ignore[index]
NONE = {"status": "success", "data": {"resultType": "vector", "result": []}}
NAN = {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "NaN"]}}
SCALAR = {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "3"]}}
REFUSED = {"status": "error", "errorType": "bad_data", "error": "unknown function"}


@pytest.fixture
def front() -> Iterator[FaultProxy]:
    """An API server that has nothing but what a test lets it answer."""
    with fault_proxy("127.0.0.1", 9, None) as proxy:
        yield proxy


def ask(front: FaultProxy, run_module: RunModule, *answers: Any, **more: Any) -> ModuleResult:
    front.faults[:] = [Fault("answer", body=one if isinstance(one, str) else json.dumps(one)) for one in answers]
    asked = {"host": front.url, "namespace": "monitoring", "queries": {"binder": "up", "scheduler": "down"}}
    return run_module(bench_prometheus, **asked | more)


def test_each_query_goes_to_the_service_and_gives_its_number(front: FaultProxy, run_module: RunModule) -> None:
    assert ask(front, run_module, VECTOR, SCALAR).ok()["values"] == {"binder": 0.42, "scheduler": 3.0}
    url = urlsplit(front.seen[0][1])
    assert url.path == "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1/query"
    assert parse_qs(url.query) == {"query": ["up"]}


MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[1.5, "0.4"], [16.5, "NaN"], [31.5, "0.5"]]}],
    },
}


def test_a_range_gives_the_points_of_its_one_series(front: FaultProxy, run_module: RunModule) -> None:
    asked = {"queries": {}, "series": {"cores": "up[1m:15s]", "bytes": "down[1m:15s]"}}
    found = ask(front, run_module, MATRIX, NONE, **asked).ok()
    assert (found["values"], found["series"]) == ({}, {"cores": [[1.5, 0.4], [31.5, 0.5]], "bytes": []})
    told = ask(front, run_module, VECTOR, queries={}, series={"cores": "up"}).failed().msg
    assert "The answer to the query cores (up) is none of Prometheus" in told


@pytest.mark.parametrize("answer", [NONE, NAN], ids=["no sample", "no number"])
def test_what_is_not_known_is_no_number(front: FaultProxy, run_module: RunModule, answer: Any) -> None:
    assert ask(front, run_module, answer, VECTOR).ok()["values"] == {"binder": None, "scheduler": 0.42}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (TWO, "The query binder (up) gives 2 series, not one. Add up what it gives: sum(…)."),
        (REFUSED, "Prometheus refuses the query binder (up): unknown function."),
        ("<html>", "The answer to the query binder (up) is none of Prometheus: '<html>'"),
        ({"status": "success"}, "is none of Prometheus"),
    ],
    ids=["several series", "refused", "a page", "half an answer"],
)
def test_another_answer_is_a_failure_that_says_which(
    front: FaultProxy, run_module: RunModule, answer: Any, told: str
) -> None:
    assert told in ask(front, run_module, answer).failed().msg


def test_a_service_that_is_not_there_is_named_with_what_to_do(front: FaultProxy, run_module: RunModule) -> None:
    front.faults[:] = [Fault("status", code=404)]
    asked = {"host": front.url, "namespace": "monitoring", "service": "gone", "queries": {"binder": "up"}}
    told = run_module(bench_prometheus, **asked).failed().msg
    assert "Prometheus monitoring/gone:9090 was asked for up" in told
    assert "may this kubeconfig get services/proxy there?" in told
