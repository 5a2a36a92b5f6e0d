# SPDX-License-Identifier: GPL-3.0-or-later
"""A subject that is a file alone: Kueue's, with its kinds and a stand-in that admits Jobs as Kueue does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Kube

from tests.conftest import ROOT, eventually
from tests.control_plane import ControlPlane
from tests.definitions import installed
from tests.fakes.kueue_stand_in import KueueStandIn, kueue_stand_in
from tests.scheduler_scale import NAMESPACE, Suite, exists, nodes, scenario

pytestmark = pytest.mark.integration

KINDS = ROOT / "tests" / "fixtures" / "crds" / "kueue.yml"
QUEUES = {
    "nothing": {"gpu": {"quota": 0, "limit": 0, "weight": 0}},
    "half": {"gpu": {"quota": 16, "limit": 16, "weight": 1}},
    "all": {"gpu": {"quota": -1, "limit": -1, "weight": 1}},
}
JOBS: dict[str, Any] = {"form": "jobs", "gpus_per_pod": 1}


@pytest.fixture(scope="module")
def four_nodes(control_plane: ControlPlane) -> Iterator[None]:
    with nodes(control_plane, "kueue"):
        yield


@pytest.fixture
def suite(tmp_path: Path, control_plane: ControlPlane, kube: Kube, four_nodes: None) -> Iterator[Suite]:
    yield Suite(tmp_path, control_plane.kubeconfig)
    eventually(lambda: not exists(kube, f"/api/v1/namespaces/{NAMESPACE}"), 60)


@pytest.fixture
def kueue(kube: Kube) -> Iterator[KueueStandIn]:
    with installed(kube, list(yaml.safe_load_all(KINDS.read_text("utf-8")))), kueue_stand_in(kube, NAMESPACE) as made:
        yield made


def test_jobs_are_admitted_by_their_queues_and_the_rest_waits(suite: Suite, kueue: KueueStandIn, kube: Kube) -> None:
    waiting = {**JOBS, "name": "waiting", "queue": "nothing", "jobs": 3, "until": "unschedulable"}
    limited = {**JOBS, "name": "limited", "queue": "half", "jobs": 2, "pods_per_job": 8, "gang": True, "until": "bound"}
    measured = {**JOBS, "name": "measured", "measured": True, "queue": "all", "jobs": 2, "pods_per_job": 8}
    measured |= {"gang": True, "until": "running"}
    told = ["gang_atomic", "queues_within_limits"]
    own = scenario("admission", waiting, limited, measured, needs=["jobs", "queues", "gangs"], queues=QUEUES,
                   expectations=told)  # fmt: skip
    played = suite.play([*suite.write("scenarios", own), "consolidation", "fill_with_pending"], ["kueue"])
    assert played.rc == 0, played.output
    assert suite.observed("error") == {}
    assert {name: values["reason"] for name, values in suite.observed("not_runnable").items()} == {
        "consolidation": "Kueue moves no running pods to make room",
        "fill_with_pending": "Kueue keeps a Job that has to wait suspended, so there are no pods that wait",
    }
    values = suite.observed("pod_load")["admission"]
    parts = {name: (part["bound"], part["missing"]) for name, part in values["parts"].items()}
    assert parts == {"waiting": (0, 0), "limited": (16, 0), "measured": (16, 0)}
    assert (values["jobs"]["gangs"], values["jobs"]["broken"]) == (4, [])
    # kwok ends a Job's pod as soon as it runs, so not all of them held their GPUs at the same time.
    assert {name for name, most in values["queues_used_most"].items() if 0 < most <= 16} == {"half", "all"}
    assert values["observed"]["groups"] == 7
    assert (len(kueue.admitted), len(kueue.refused)) == (4, 3)
    kinds = ("clusterqueues", "resourceflavors", f"namespaces/{NAMESPACE}/localqueues")
    left = [item for kind in kinds for item in kube.list_pages(f"/apis/kueue.x-k8s.io/v1beta2/{kind}")[0]]
    assert left == []


def test_without_its_kinds_it_is_told_who_brings_it(suite: Suite) -> None:
    played = suite.play(["gangs_whole_gpu"], ["kueue"])
    assert played.rc == 0, played.output
    (told,) = suite.observed("not_runnable").values()
    assert told["reason"].startswith("kueue is not in this cluster: there is no ")
    assert told["reason"].endswith("it comes from Kueue's own chart or manifests")
