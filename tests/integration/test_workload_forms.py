# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators' forms of the catalogue, asked about where a cluster serves their kinds, and told where it does not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import workload_forms
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_workload

from tests.conftest import ROOT, RunModule
from tests.control_plane import ControlPlane
from tests.definitions import installed

pytestmark = pytest.mark.integration

PATTERNS = ROOT / "roles" / "workload_patterns" / "files" / "patterns"
CRDS = ROOT / "tests" / "fixtures" / "crds" / "operators.yml"
Manifests = list[dict[str, Any]]
Told = list[tuple[str, bool | None, str]]


def form(name: str, which: str = "operator") -> Manifests:
    return list(yaml.safe_load_all((PATTERNS / name / f"{which}.yml").read_text(encoding="utf-8")))


def operators(name: str) -> list[dict[str, str]]:
    return list(yaml.safe_load((PATTERNS / name / "pattern.yml").read_text(encoding="utf-8"))["operator_needs"])


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane) -> Iterator[Kube]:
    """An API server with four of the kinds."""
    kube = control_plane.kube()
    with installed(kube, list(yaml.safe_load_all(CRDS.read_text(encoding="utf-8")))):
        yield kube
    kube.close()


def told(kube: Kube, name: str, manifests: Manifests, namespace: str) -> Told:
    found = workload_forms.looked_at(kube, {"operator": manifests}, operators(name), namespace)["operator"]
    return [(one["object"], one["accepted"], one["message"]) for one in found["api_server"]]


@pytest.mark.parametrize("name", ["large_scale_training", "high_throughput_inference", "low_latency_inference"])
def test_a_form_that_keeps_its_schema_is_accepted(served: Kube, namespace: str, name: str) -> None:
    answers = told(served, name, form(name), namespace)
    assert [answer[1:] for answer in answers] == [(True, "accepted")]


def test_of_a_form_with_a_kind_that_is_not_served_the_rest_is_asked_about(served: Kube, namespace: str) -> None:
    missing = "the cluster has no KafkaTopic in kafka.strimzi.io/v1; install Strimzi (strimzi/strimzi-kafka-operator)"
    assert told(served, "stream_processing", form("stream_processing"), namespace) == [
        ("KafkaTopic events", None, missing),
        ("Deployment consumer", True, "accepted"),
        ("ScaledObject consumer", True, "accepted"),
    ]


def put(value: Any, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        place: Any = body
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("large_scale_training", put(8, "spec", "trainer", "nodes"), 'unknown field "spec.trainer.nodes"'),
        ("large_scale_training", put("eight", "spec", "trainer", "numNodes"), "spec.trainer.numNodes"),
        ("large_scale_training", put({}, "spec", "runtimeRef"), "spec.runtimeRef.name: Required value"),
        ("high_throughput_inference", put(4, "spec", "leaderWorkerTemplate", "groupSize"),
         'unknown field "spec.leaderWorkerTemplate.groupSize"'),
        ("high_throughput_inference", put("Never", "spec", "leaderWorkerTemplate", "restartPolicy"),
         'spec.leaderWorkerTemplate.restartPolicy: Unsupported value: "Never"'),
        ("low_latency_inference", put(2, "spec", "predictor", "minReplica"),
         'unknown field "spec.predictor.minReplica"'),
        ("stream_processing", put("5s", "spec", "pollingInterval"), "spec.pollingInterval"),
        ("stream_processing", put(100, "spec", "triggers", 0, "lagThreshold"),
         'unknown field "spec.triggers[0].lagThreshold"'),
    ],
)  # fmt: skip
def test_what_a_kind_does_not_have_is_named(
    served: Kube, namespace: str, name: str, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    body = copy.deepcopy(form(name)[-1])
    change(body)
    ((_, accepted, message),) = told(served, name, [body], namespace)
    assert accepted is False and words in message


def test_the_form_that_is_to_be_run_is_not_runnable_without_its_kind(
    control_plane: ControlPlane, namespace: str, run_module: RunModule
) -> None:
    name = "event_driven_inference"
    result = run_module(
        bench_workload,
        kubeconfig=control_plane.kubeconfig,
        name="event",
        namespace=namespace,
        forms={"operator": form(name)},
        form="operator",
        operators=operators(name),
        steps=[{"name": "events", "action": "apply", "until": {"state": "finished", "count": 1}}],
    ).ok()
    missing = "the cluster has no ScaledJob in keda.sh/v1alpha1; install KEDA (kedacore/keda)"
    assert result["not_runnable"] == f"ScaledJob event: {missing}"
    assert result["values"]["forms"]["operator"]["api_server"][0]["install"] == "KEDA (kedacore/keda)"
