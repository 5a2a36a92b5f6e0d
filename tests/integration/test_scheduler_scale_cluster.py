# SPDX-License-Identifier: GPL-3.0-or-later
"""Role scheduler_scale on a cluster that runs its own scheduler: what can be known of it without its own answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target

from tests.conftest import ROOT, eventually
from tests.control_plane import ControlPlane
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.scheduler_scale import NAMESPACE, Suite, exists, nodes, scenario, through

pytestmark = pytest.mark.integration

PREFIX = "own-scheduler"
PODS = "/api/v1/namespaces/kube-system/pods"
KUBE_SCHEDULER = yaml.safe_load(
    (ROOT / "roles" / "scheduler_scale" / "files" / "subjects" / "kube-scheduler.yml").read_text(encoding="utf-8")
)
PART: dict[str, Any] = {"name": "measured", "measured": True, "form": "pods", "pods": 4, "until": "bound"}
FLAGS = ["kube-scheduler", "--kube-api-qps=20", "--leader-elect=true"]
BUSY = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.5, "0.42"]}]}}
CORES = (
    r'sum\(rate\(container_cpu_usage_seconds_total\{namespace="kai", pod=~"binder-.*", container!=""\}'
    r"\[\d+s\] offset \d+s\)\)"
)
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


def test_what_is_known_of_components_that_run_as_pods(suite: Suite, control_plane: ControlPlane, kube: Kube) -> None:
    names = [run_as_pods(kube, case, commands) for case, (commands, _) in CASES.items()]
    subjects = [subject(case) for case in CASES]
    suite.write("subjects", *subjects)
    suite.write("scenarios", scenario("one", needs=[], queues={}, parts=[PART]))

    target = load_target(kubeconfig=control_plane.kubeconfig)
    answer = Fault("answer", path="/services/prometheus-operated:9090/proxy/", times=len(CASES), body=json.dumps(BUSY))
    with fault_proxy(target.host, target.port, target.context, answer) as proxy:
        suite.kubeconfig = through(suite.directory, proxy.url)
        binder = {"deployment": {"namespace": "kai", "name": "binder"}}
        prometheus = {"namespace": "monitoring", "lag_seconds": 1}
        played = suite.play(
            ["one"], list(CASES), scheduler_scale_components={"binder": binder}, scheduler_scale_prometheus=prometheus
        )
    assert played.rc == 0, played.output
    seen = {item["subject"]: item["values"] for item in suite.observations("subject")}
    found = {case: {name: seen[case].get(name) for name in told} for case, (_, told) in CASES.items()}
    assert found == {case: told for case, (_, told) in CASES.items()}
    assert seen["flags"]["source"] == "the command line of pods kube-system, component=flags"
    assert seen["differing"]["source"] is None

    asked = [parse_qs(urlsplit(path).query)["query"][0] for _, path in proxy.seen if "/proxy/api/v1/query" in path]
    assert [text for text in asked if not re.fullmatch(CORES, text)] == []
    assert [item["values"]["component_cores"] for item in suite.observations("pod_load")] == [{"binder": 0.42}] * 3

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
