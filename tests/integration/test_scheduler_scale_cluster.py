# SPDX-License-Identifier: GPL-3.0-or-later
"""Role scheduler_scale on a cluster that runs its own scheduler: what can be known of it without its own answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Kube

from tests.conftest import ROOT, eventually
from tests.control_plane import ControlPlane
from tests.scheduler_scale import NAMESPACE, Suite, exists, nodes, scenario

pytestmark = pytest.mark.integration

PREFIX = "own-scheduler"
PODS = "/api/v1/namespaces/kube-system/pods"
KUBE_SCHEDULER = yaml.safe_load(
    (ROOT / "roles" / "scheduler_scale" / "files" / "subjects" / "kube-scheduler.yml").read_text(encoding="utf-8")
)
PART: dict[str, Any] = {"name": "measured", "measured": True, "form": "pods", "pods": 4, "until": "bound"}
FLAGS = ["kube-scheduler", "--kube-api-qps=20", "--leader-elect=true"]
UNKNOWN = {"qps": None, "burst": None, "parallelism": None}
#: Subject: how its pods are started, and what is known by that; without a flag the limit is the default.
CASES: dict[str, tuple[list[list[str]], dict[str, Any]]] = {
    "flags": ([FLAGS, FLAGS], {"version": "1.31.4", "qps": 20, "burst": 100, "parallelism": 16}),
    "file": ([[*FLAGS, "--config=/etc/kubernetes/scheduler.yaml"]], {"version": "1.31.4", **UNKNOWN}),
    "differing": ([FLAGS, ["kube-scheduler"]], {"version": None, **UNKNOWN}),
}


@pytest.fixture
def suite(tmp_path: Path, control_plane: ControlPlane, kube: Kube) -> Iterator[Suite]:
    with nodes(control_plane, PREFIX):
        yield Suite(tmp_path, control_plane.kubeconfig)
        eventually(lambda: not exists(kube, f"/api/v1/namespaces/{NAMESPACE}"), 60)


def test_the_command_line_of_its_pods_says_what_it_runs_with(suite: Suite, kube: Kube) -> None:
    names = [run_as_pods(kube, case, commands) for case, (commands, _) in CASES.items()]
    subjects = [subject(case) for case in CASES]
    suite.write("subjects", *subjects)
    suite.write("scenarios", scenario("one", needs=[], queues={}, parts=[PART]))

    suite.play(["one"], list(CASES))
    seen = {item["subject"]: item["values"] for item in suite.observations("subject")}
    found = {case: {name: seen[case].get(name) for name in told} for case, (_, told) in CASES.items()}
    assert found == {case: told for case, (_, told) in CASES.items()}
    assert seen["flags"]["source"] == "the command line of pods kube-system, component=flags"
    assert seen["differing"]["source"] is None

    for name in (name for several in names for name in several):
        kube.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


def subject(case: str) -> dict[str, Any]:
    pods = {**KUBE_SCHEDULER["pods"], "label_selector": f"component={case}"}
    return {**KUBE_SCHEDULER, "name": case, "pods": pods}


def run_as_pods(kube: Kube, case: str, commands: list[list[str]]) -> list[str]:
    """On nodes that are there: pods of others are collected."""
    names = [f"{case}-{number}" for number in range(len(commands))]
    for name, command in zip(names, commands, strict=True):
        container = {"name": "kube-scheduler", "image": "registry.example/kube-scheduler:v1.31.4", "command": command}
        spec = {"containers": [container], "nodeName": f"{PREFIX}-{name[-1]}", "serviceAccountName": "default"}
        body = {"metadata": {"name": name, "labels": {"component": case}}, "spec": spec}
        kube.request("POST", PODS, body=body)
    return names
