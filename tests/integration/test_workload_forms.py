# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators' forms of the catalogue, asked about where a cluster serves their kinds, and told where it does not."""

from __future__ import annotations

import contextlib
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


def forms(name: str) -> list[str]:
    pattern = yaml.safe_load((PATTERNS / name / "pattern.yml").read_text(encoding="utf-8"))
    return list(pattern.get("operator_forms", ["operator"]))


def operators(name: str) -> list[dict[str, str]]:
    return list(yaml.safe_load((PATTERNS / name / "pattern.yml").read_text(encoding="utf-8"))["operator_needs"])


DEFINITIONS = list(yaml.safe_load_all(CRDS.read_text(encoding="utf-8")))
TOPIC = [one for one in DEFINITIONS if one["spec"]["names"]["kind"] == "KafkaTopic"]
ALL = [(path.name, which) for path in sorted(PATTERNS.iterdir()) for which in forms(path.name)]


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane) -> Iterator[Kube]:
    """An API server with all kinds of the catalogue but one."""
    kube = control_plane.kube()
    with installed(kube, [one for one in DEFINITIONS if one not in TOPIC]):
        yield kube
    kube.close()


def told(kube: Kube, name: str, manifests: Manifests, namespace: str) -> Told:
    found = workload_forms.looked_at(kube, {"operator": manifests}, operators(name), namespace)["operator"]
    return [(one["object"], one["accepted"], one["message"]) for one in found["api_server"]]


@pytest.mark.parametrize(("name", "which"), ALL)
def test_every_form_of_the_catalogue_keeps_its_schema(
    control_plane: ControlPlane, served: Kube, namespace: str, name: str, which: str
) -> None:
    manifests = form(name, which)
    with contextlib.ExitStack() as held:
        kube = served
        if name == "stream_processing":
            held.enter_context(installed(served, TOPIC))
            kube = held.enter_context(contextlib.closing(control_plane.kube()))
        answers = told(kube, name, manifests, namespace)
    assert [answer[1:] for answer in answers] == [(True, "accepted")] * len(manifests)


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
        ("batch_inference", put(8, "spec", "rayClusterSpec", "workerGroupSpecs", 0, "count"),
         'unknown field "spec.rayClusterSpec.workerGroupSpecs[0].count"'),
        ("event_driven_inference", put({}, "spec", "jobTargetRef"), "spec.jobTargetRef.template: Required value"),
        ("notebooks", put({}, "spec", "podSpec"), 'unknown field "spec.podSpec"'),
        ("experiment_tracking", put(0, "spec", "instances"), "spec.instances: Invalid value: 0"),
        ("training_to_inference", put([], "spec", "steps"), 'unknown field "spec.steps"'),
        ("multi_model_serving", put("Random", "spec", "nodes", "root", "routerType"),
         'spec.nodes.root.routerType: Unsupported value: "Random"'),
        ("agent_sandboxes", put("sandbox", "spec", "warmPool"), 'unknown field "spec.warmPool"'),
    ],
)  # fmt: skip
def test_what_a_kind_does_not_have_is_named(
    served: Kube, namespace: str, name: str, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    body = copy.deepcopy(form(name)[-1])
    change(body)
    ((_, accepted, message),) = told(served, name, [body], namespace)
    assert accepted is False and words in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(True, "spec", "network", "enableDNSHostname"), 'unknown field "spec.network.enableDNSHostname"'),
        (put("Never", "spec", "failurePolicy", "restartStrategy"), 'restartStrategy: Unsupported value: "Never"'),
        (put(8, "spec", "replicatedJobs", 0, "template", "spec", "completion"),
         'unknown field "spec.replicatedJobs[0].template.spec.completion"'),
        (put({}, "spec", "replicatedJobs", 0, "template", "spec"),
         "spec.replicatedJobs[0].template.spec.template: Required value"),
    ],
)  # fmt: skip
def test_what_a_jobset_does_not_have_is_named(
    served: Kube, namespace: str, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    (body,) = form("large_scale_training", "jobset")
    change(body)
    ((_, accepted, message),) = told(served, "large_scale_training", [body], namespace)
    assert accepted is False and words in message


def test_the_form_that_is_to_be_run_is_not_runnable_without_its_kind(
    control_plane: ControlPlane, served: Kube, namespace: str, run_module: RunModule
) -> None:
    name = "stream_processing"
    result = run_module(
        bench_workload,
        kubeconfig=control_plane.kubeconfig,
        name="consumer",
        namespace=namespace,
        forms={"operator": form(name)},
        form="operator",
        operators=operators(name),
        steps=[{"name": "start", "action": "apply", "until": {"state": "ready", "count": 1}}],
    ).ok()
    missing = "the cluster has no KafkaTopic in kafka.strimzi.io/v1; install Strimzi (strimzi/strimzi-kafka-operator)"
    assert result["not_runnable"] == f"KafkaTopic events: {missing}"
    assert (
        result["values"]["forms"]["operator"]["api_server"][0]["install"] == "Strimzi (strimzi/strimzi-kafka-operator)"
    )
