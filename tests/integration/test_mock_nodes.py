# SPDX-License-Identifier: GPL-3.0-or-later
"""Mock-nodes stream from Typha beside fake nodes of a real control plane: counted while they are there, and gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench.calico_formulas import SYNCERS
from ansible.modules import bench_node_load

from tests.conftest import RunModule, eventually
from tests.fakes.calico_pages import TYPHA, page
from tests.fakes.serving import QuietHandler, serving

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

#: Three fake nodes beside the one on which the mock-nodes run: the operator wants two Typhas for so many.
FAKE, MOCKS, STREAMED_BEFORE = 3, 4, 1
TEMPLATE = {"metadata": {"labels": {"type": "kwok"}, "annotations": {"kwok.x-k8s.io/node": "fake"}}}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


@pytest.fixture
def worker(kube: Kube) -> Iterator[str]:
    """It counts as a real node, for it has no label of a fake one; kwok plays its pods."""
    name = "mock-worker"
    body = {"metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"role": "worker"}}}
    kube.request("POST", "/api/v1/nodes", body=body)
    eventually(lambda: kube.request("GET", f"/api/v1/nodes/{name}").json()["status"].get("conditions"))
    yield name
    kube.request("DELETE", f"/api/v1/nodes/{name}")


def deployment(namespace: str, replicas: int = MOCKS) -> dict[str, Any]:
    labels = {"app": "mock-node"}
    spec = {"nodeSelector": {"role": "worker"}, "containers": [{"name": "main", "image": "mock"}],
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}  # fmt: skip
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mock-nodes", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": spec}},
    }  # fmt: skip


def pods(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kube.list_pages(f"/api/v1/namespaces/{namespace}/pods")[0]
    return found


@contextlib.contextmanager
def typhas(streaming: Callable[[str], int], count: int = 2) -> Iterator[list[str]]:
    """Stand-ins for Typha: the first has every client; each opens one connection of every syncer."""

    class Typha(QuietHandler):
        first = False

        def do_GET(self) -> None:
            each = {name: streaming(name) if self.first else 0 for name in SYNCERS}
            told = {"typha_connections_streaming": ("gauge", {f'syncer="{name}"': n for name, n in each.items()}),
                    "typha_connections_active": ("gauge", sum(each.values()))}  # fmt: skip
            self.answer(200, page(TYPHA, **told).encode())

    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(Typha, first=number == 0)).url + "/metrics" for number in range(count)]


@pytest.fixture
def load(control_plane: ControlPlane, run_module: RunModule, namespace: str, worker: str) -> Callable[..., Any]:
    def run(urls: list[str], **changes: Any) -> Any:
        given = {
            "kubeconfig": control_plane.kubeconfig,
            "name": "mocked",
            "count": FAKE,
            "template": TEMPLATE | {"spec": {"taints": [TAINT]}},
            "mock_nodes": deployment(namespace),
            "typha_urls": urls,
            "settle_seconds": 60.0,
        }
        return run_module(bench_node_load, **given | changes)

    return run


def ready(kube: Kube, namespace: str) -> int:
    conditions = [one["status"].get("conditions") or [] for one in pods(kube, namespace)]
    return sum(any((c["type"], c["status"]) == ("Ready", "True") for c in one) for one in conditions)


def test_every_mock_node_streams_and_all_of_them_are_gone(load: Any, kube: Kube, namespace: str) -> None:
    """What a killed run has left is no part of what streamed before."""
    left = deployment(namespace, replicas=1)
    kube.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=left)
    eventually(lambda: ready(kube, namespace) == 1)
    with typhas(lambda _: STREAMED_BEFORE + ready(kube, namespace)) as urls:
        values = load(urls).ok()["values"]
    assert (values["counts_hold"], values["problems"]) == (True, [])
    assert values["streaming"] == dict.fromkeys(SYNCERS, STREAMED_BEFORE + MOCKS)
    assert values["columns"]["ready"] == {"real": 1, "fake": FAKE, "all": 1 + FAKE}
    assert values["typhas"] == {
        "there": 2, "expected": 2, "most_connections": 4 * (STREAMED_BEFORE + MOCKS), "connection_limit": 400,
    }  # fmt: skip
    mock = values["mock"]
    assert (mock["asked"], mock["running"]) == (MOCKS, MOCKS)
    assert mock["streaming_before"] == dict.fromkeys(SYNCERS, STREAMED_BEFORE)
    assert mock["streaming_seconds"] > 0
    assert pods(kube, namespace) == []


def test_a_syncer_that_lacks_one_is_named(load: Any, kube: Kube, namespace: str) -> None:
    """Typhas and connections that are not what they should be: tests/unit/module_utils/test_calico_nodes.py."""

    def streaming(syncer: str) -> int:
        running = ready(kube, namespace)
        return running - (syncer == "bgp" and running > 0)

    with typhas(streaming) as urls:
        values = load(urls, settle_seconds=8.0).ok()["values"]
    problems = [f"{MOCKS - 1} nodes stream bgp from Typha, {MOCKS} were asked for"]
    assert (values["counts_hold"], values["problems"]) == (False, problems)
    assert values["mock"]["streaming_seconds"] is None
    assert pods(kube, namespace) == []


def test_mock_nodes_that_cannot_run_are_counted_as_such(load: Any, kube: Kube, namespace: str) -> None:
    body = deployment(namespace)
    body["spec"]["template"]["spec"]["nodeSelector"] = {"role": "nobody"}
    with typhas(lambda _: ready(kube, namespace)) as urls:
        values = load(urls, settle_seconds=1.0, mock_nodes=body).ok()["values"]
    assert values["problems"][-1] == f"0 mock-nodes run, {MOCKS} were asked for"
    assert (values["mock"]["running"], pods(kube, namespace)) == (0, [])


def test_a_deadline_that_passes_leaves_neither_nodes_nor_mock_nodes(load: Any, kube: Kube, namespace: str) -> None:
    with typhas(lambda _: 0) as urls:
        assert f"of {FAKE} nodes created" in load(urls, deadline_seconds=4.0).failed().msg
    eventually(lambda: pods(kube, namespace) == [])
    assert kube.list_pages("/api/v1/nodes", label_selector="nightbench.io/load=mocked")[0] == []
