# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads on a real control plane: every form of the catalogue is taken, and what becomes of a Deployment is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.lint_confirm import ask
from ansible.module_utils.nightbench.lint_document import read_file
from ansible.modules import bench_workload

from tests.conftest import ROOT, RunModule
from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

FILES = ROOT / "roles" / "workload_patterns" / "files"
PATTERNS = sorted(path.parent.name for path in FILES.glob("patterns/*/pattern.yml"))


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FILES / "patterns" / name / "plain.yml").read_text(encoding="utf-8")))


def test_the_api_server_takes_the_plain_form_of_every_pattern(kube: Kube) -> None:
    answers = {
        name: [(one.object, one.message) for one in ask(kube, read_file(FILES / "patterns" / name / "plain.yml"))]
        for name in PATTERNS
    }
    assert len(answers) == 11
    assert {message for found in answers.values() for _, message in found} == {"accepted"}, answers


def test_the_api_server_refuses_the_published_job_and_takes_the_published_server(kube: Kube) -> None:
    training, serving = (
        [one.accepted for one in ask(kube, read_file(FILES / "patterns" / name / "as_written.yml"))]
        for name in ("large_scale_training", "low_latency_inference")
    )
    assert (training, serving) == ([False], [True, True])


@pytest.fixture
def run_workload(
    control_plane: ControlPlane, namespace: str, run_module: RunModule, gpu_nodes: list[str], tmp_path: Path
) -> Any:
    """Call bench_workload on the fake nodes."""

    def call(**changes: Any) -> Any:
        parameters = {
            "kubeconfig": control_plane.kubeconfig,
            "name": "chat",
            "namespace": namespace,
            "forms": {"plain": manifests("low_latency_inference")},
            "steps": yaml.safe_load((FILES / "scenarios" / "low_latency_inference.yml").read_text())["run"]["steps"],
            "leave_out": ["HorizontalPodAutoscaler"],
            "node_selector": {"job-load": "yes"},
            "samples_path": str(tmp_path / "samples.jsonl"),
            "deadline_seconds": 60,
        }
        return run_module(bench_workload, **{**parameters, **changes})

    return call


def left(kube: Kube, namespace: str) -> list[str]:
    paths = {"Pod": "/api/v1", "Deployment": "/apis/apps/v1", "PodDisruptionBudget": "/apis/policy/v1"}
    plurals = {"Pod": "pods", "Deployment": "deployments", "PodDisruptionBudget": "poddisruptionbudgets"}
    return [
        f"{kind}/{item['metadata']['name']}"
        for kind, path in paths.items()
        for item in kube.list_pages(f"{path}/namespaces/{namespace}/{plurals[kind]}")[0]
    ]


def test_a_deployment_is_scaled_and_loses_a_pod_and_nothing_of_it_stays(
    run_workload: Any, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    result = run_workload().ok()
    values = result["values"]
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["row"] == "step"]
    pods = [row for row in rows if row["row"] == "pod"]
    assert (values["asked"], values["done"], values["missing"], values["waited_for"]) == (4, 4, 0, [])
    assert [row["step"] for row in steps] == ["start", "least", "scale_out", "replace"]
    assert all(row["sent"] <= row["reached"] for row in steps)
    assert {
        name: sum(1 for pod in pods if pod["step"] == name) for name in ("start", "least", "scale_out", "replace")
    } == {
        "start": 1,
        "least": 1,
        "scale_out": 8,
        "replace": 1,
    }
    assert {pod["gpus"] for pod in pods} == {1}
    assert values["forms"]["plain"]["findings"] == []
    assert result["samples"]["rows"] == len(rows)
    assert left(kube, namespace) == []


def test_a_step_that_is_never_reached_is_missing_and_nothing_of_it_stays(
    run_workload: Any, kube: Kube, namespace: str
) -> None:
    steps = [
        {"name": "never", "action": "apply", "until": {"state": "completed", "count": 1}},
        {"name": "after", "action": "evict", "labels": {"app": "chat"}, "count": 1,
         "until": {"state": "gone", "count": 1}},
    ]  # fmt: skip
    result = run_workload(steps=steps, deadline_seconds=2).ok()
    values = result["values"]
    assert (result["timed_out"], values["done"], values["missing"]) == (True, 0, 2)
    assert values["waited_for"] == ["never: 1 completed, 0 are"]
    assert left(kube, namespace) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": [{"name": "a", "action": "patch", "objects": ["Job/none"], "patch": {"a": 1},
                     "until": {"state": "ready", "count": 1}}]}, "there is no Job/none"),
        ({"form": "operator"}, "form: there is no operator"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_before_anything_is_made(
    run_workload: Any, kube: Kube, namespace: str, changes: dict[str, Any], told: str
) -> None:
    assert told in run_workload(**changes).failed().msg
    assert left(kube, namespace) == []


def test_a_cluster_without_the_gpus_is_told_and_left_alone(run_workload: Any, kube: Kube, namespace: str) -> None:
    result = run_workload(infrastructure=[{"need": "gpus", "count": 100000}]).ok()
    assert result["not_runnable"].startswith("it needs gpus: 100000; there is ")
    assert left(kube, namespace) == []
