# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails while a scenario is cleaned up: it is written down, the other scenarios run, and it is tried once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target

from tests.conftest import eventually
from tests.control_plane import ControlPlane
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.scheduler_scale import NAMESPACE, Suite, exists, nodes, scenario, through

pytestmark = pytest.mark.integration

#: A queue of this subject is a ConfigMap: whatever the API server keeps will do.
SIMPLE: dict[str, Any] = {
    "name": "simple",
    "title": "kube-scheduler with queues that are ConfigMaps",
    "scheduler_name": "default-scheduler",
    "component": "kube-scheduler",
    "components": ["kube-scheduler"],
    "asked_version": "",
    "version": "",
    "configz": {},
    "installed": {"by": "the test", "kinds": [{"api_version": "v1", "kind": "ConfigMap"}]},
    "capabilities": ["queues"],
    "requests": {"kube-scheduler": ["create pods/binding"]},
    "period": "0s",
    "manifests": {
        "queue": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "queue-{{ __scheduler_scale_queue['name'] }}", "namespace": "default"},
                "data": {"quota": "{{ __scheduler_scale_queue['gpu']['quota'] | string }}"},
            }
        ]
    },
    "observed": {},
}


@pytest.fixture(scope="module")
def four_nodes(control_plane: ControlPlane) -> Iterator[None]:
    with nodes(control_plane, "clean-up"):
        yield


@pytest.fixture
def suite(tmp_path: Path, control_plane: ControlPlane, kube: Kube, four_nodes: None) -> Iterator[Suite]:
    yield Suite(tmp_path, control_plane.kubeconfig)
    eventually(lambda: not exists(kube, f"/api/v1/namespaces/{NAMESPACE}"), 60)


@pytest.mark.parametrize(
    ("scenarios", "broken"),
    [(["first", "second"], "first"), (["second", "first"], "first")],
    ids=["another one comes after it", "it is the last one"],
)
def test_a_clean_up_that_fails_is_written_down_and_the_rest_runs(
    suite: Suite, control_plane: ControlPlane, kube: Kube, scenarios: list[str], broken: str
) -> None:
    suite.write("subjects", SIMPLE)
    suite.write("scenarios", *map(scenario, scenarios))
    target = load_target(kubeconfig=control_plane.kubeconfig)
    refused = Fault("status", "DELETE", f"/configmaps/queue-{broken}", code=403)
    with fault_proxy(target.host, target.port, target.context, refused) as proxy:
        suite.kubeconfig = through(suite.directory, proxy.url)
        played = suite.play(scenarios, ["simple"])
    assert played.rc == 0, played.output
    assert [fault.code for fault in proxy.carried_out] == [403]
    assert {name: values["bound"] for name, values in suite.observed("pod_load").items()} == dict.fromkeys(scenarios, 4)
    (told,) = suite.observed("error").items()
    assert told[0] == broken
    assert told[1]["reason"].startswith("clean-up failed: clean | Remove queues, topology, priorities and the length")
    assert f"ConfigMap default/queue-{broken}" in told[1]["reason"]
    left = [name for name in scenarios if exists(kube, f"/api/v1/namespaces/default/configmaps/queue-{name}")]
    assert left == []


def test_what_can_never_be_removed_is_told_and_everything_else_still_runs(
    suite: Suite, control_plane: ControlPlane, kube: Kube
) -> None:
    suite.write("subjects", SIMPLE)
    pods = scenario("plain", queues={"plain": {"gpu": {"quota": 0, "limit": -1, "weight": 1}}})
    names = suite.write("scenarios", scenario("first"), pods)
    target = load_target(kubeconfig=control_plane.kubeconfig)
    refused = Fault("status", "DELETE", "/configmaps/queue-first", code=403, times=10**6)
    with fault_proxy(target.host, target.port, target.context, refused) as proxy:
        suite.kubeconfig = through(suite.directory, proxy.url)
        played = suite.play(names, ["simple"])
    kube.request("DELETE", "/api/v1/namespaces/default/configmaps/queue-first")
    assert played.rc == 0, played.output
    reasons = {name: values["reason"] for name, values in suite.observed("error").items()}
    assert set(reasons) == {"first", "plain"}
    assert reasons["plain"].startswith("kind_absent | Remove every object of the kind that this role has made: ")
    assert "In the end this could not be removed either" in played.output


def test_a_run_that_is_asked_to_stop_cleans_up_and_ends_the_suite(suite: Suite, kube: Kube) -> None:
    suite.write("subjects", SIMPLE)
    endless = {"name": "measured", "measured": True, "form": "pods", "pods": 2, "queue": "first", "until": "bound"}
    endless["gpus_per_pod"] = 64  # no node has as many
    names = suite.write("scenarios", scenario("first", endless), scenario("second"))
    state = suite.directory / "state"

    def stop() -> None:
        eventually(lambda: list(state.glob("modules/bench_job_load.*")), 240)
        (state / "stop").touch()

    watcher = threading.Thread(target=stop)
    watcher.start()
    played = suite.play(names, ["simple"])
    watcher.join()
    assert played.rc == 2, played.output
    assert (suite.observed("pod_load"), suite.observed("error")) == ({}, {})
    assert not exists(kube, "/api/v1/namespaces/default/configmaps/queue-first")
