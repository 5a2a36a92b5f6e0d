# SPDX-License-Identifier: GPL-3.0-or-later
"""`doctor --pending` on a real control plane: what the API server really stores is what is explained."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Kube

from harness import cli
from tests.conftest import eventually
from tests.control_plane import ControlPlane
from tests.definitions import OWN_KAI, installed

pytestmark = pytest.mark.integration

QUEUES = "/apis/scheduling.run.ai/v2/queues"
GROUPS = "/apis/scheduling.run.ai/v2alpha2/namespaces/{}/podgroups"
REQUESTS = "/apis/scheduling.run.ai/v1alpha2/namespaces/{}/bindrequests"


@pytest.fixture(scope="module")
def kai(control_plane: ControlPlane) -> Iterator[None]:
    """KAI's kinds, without KAI: nobody but the test answers."""
    definitions = list(yaml.safe_load_all(OWN_KAI.read_text(encoding="utf-8")))
    with closing(control_plane.kube()) as kube, installed(kube, definitions):
        yield


@pytest.fixture
def node(kube: Kube) -> Iterator[str]:
    """A node that nobody plays."""
    name = f"bare-{secrets.token_hex(4)}"
    kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": name}})
    yield name
    kube.request("DELETE", f"/api/v1/nodes/{name}")


def make(kube: Kube, namespace: str, name: str, scheduler: str, **metadata: Any) -> None:
    limits = {"nvidia.com/gpu": "1"}
    container = {"name": "main", "image": "none.invalid/none", "resources": {"limits": limits}}
    spec = {"schedulerName": scheduler, "containers": [container]}
    path = f"/api/v1/namespaces/{namespace}/pods"
    kube.request("POST", path, body={"metadata": {"name": name, **metadata}, "spec": spec})


def with_status(kube: Kube, collection: str, body: dict[str, Any], status: dict[str, Any]) -> None:
    kube.request("POST", collection, body=body)
    path = f"{collection}/{body['metadata']['name']}/status"
    kube.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)


def causes(control_plane: ControlPlane, capsys: pytest.CaptureFixture[str], pod: str) -> list[str]:
    capsys.readouterr()
    code = cli.main(["doctor", "--pending", pod, "--kubeconfig", control_plane.kubeconfig, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (code, answer["pending"], answer["not_read"]) == (0, True, [])
    return [cause["problem"] for cause in answer["causes"]]


@pytest.mark.usefixtures("kai", "node")
def test_the_way_of_a_kai_pod_is_followed(
    control_plane: ControlPlane, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    label, pod = f"team-{namespace}", f"{namespace}/one"
    parent = f"parent-{namespace}"
    make(kube, namespace, "one", "kai-scheduler", labels={"kai.scheduler/queue": label})
    found = causes(control_plane, capsys, pod)
    assert "has no PodGroup yet" in found[0]
    assert f"its queue '{label}' (label kai.scheduler/queue) does not exist" in found

    queue = {"apiVersion": "scheduling.run.ai/v2", "kind": "Queue"}
    gpu = {"quota": 0, "limit": 4, "overQuotaWeight": 1}
    spec = {"parentQueue": parent, "resources": {"gpu": gpu}}
    allocated = {"allocated": {"nvidia.com/gpu": "4"}}
    with_status(kube, QUEUES, {**queue, "metadata": {"name": label}, "spec": spec}, allocated)
    unlimited = {"gpu": {"quota": -1, "limit": -1, "overQuotaWeight": 1}}
    kube.request("POST", QUEUES, body={**queue, "metadata": {"name": parent}, "spec": {"resources": unlimited}})
    annotation = {"metadata": {"annotations": {"pod-group-name": "pg-one"}}}
    kube.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/one", body=annotation, content_type=MERGE_PATCH)
    condition = {"type": "UnschedulableOnNodePool", "nodePool": "default", "status": "True"}
    with_status(
        kube,
        GROUPS.format(namespace),
        {
            "apiVersion": "scheduling.run.ai/v2alpha2",
            "kind": "PodGroup",
            "metadata": {"name": "pg-one"},
            "spec": {"queue": label, "minMember": 2},
        },
        {"schedulingConditions": [{**condition, "reasons": [{"reason": "Unschedulable", "message": "no node fits"}]}]},
    )
    with_status(
        kube,
        REQUESTS.format(namespace),
        {
            "apiVersion": "scheduling.run.ai/v1alpha2",
            "kind": "BindRequest",
            "metadata": {"name": "one"},
            "spec": {"podName": "one", "selectedNode": "node-7", "backoffLimit": 3},
        },
        {"phase": "Failed", "failedAttempts": 3, "reason": "no such volume"},
    )
    failed = "the scheduler chose node-7, and the binder failed to bind it there in 3 of 3 attempts and has given up"
    assert causes(control_plane, capsys, pod) == [
        "its gang needs 2 pods and 1 of them exist: it waits for the rest",
        "the scheduler finds no place for it: no node fits",
        f"the queue '{label}' may use 4 GPUs, 4 of them are in use, and its gang of 2 asks for 2",
        f"{failed}: no such volume",
    ]
    for name in (label, parent):
        kube.request("DELETE", f"{QUEUES}/{name}")


def test_a_pod_that_the_default_scheduler_cannot_place_says_why(
    control_plane: ControlPlane, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(kube, namespace, "plain", "default-scheduler")
    path = f"/api/v1/namespaces/{namespace}/pods/plain"
    eventually(lambda: kube.request("GET", path).json()["status"].get("conditions"))
    message = kube.request("GET", path).json()["status"]["conditions"][0]["message"]
    expected = f"the scheduler 'default-scheduler' finds no node for it: {message}"
    assert causes(control_plane, capsys, f"{namespace}/plain")[-1] == expected


def test_a_pod_that_is_not_there_ends_with_2(control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--pending", "default/none", "--kubeconfig", control_plane.kubeconfig]) == 2
    assert "there is no pod default/none" in capsys.readouterr().err
