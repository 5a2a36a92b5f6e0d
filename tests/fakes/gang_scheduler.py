# SPDX-License-Identifier: GPL-3.0-or-later
"""A scheduler of gangs in a thread of the test: it writes a PodGroup for every Job and a BindRequest for every pod, and
binds. What it does wrong is told by a Behaviour.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible.module_utils.nightbench.errors import Conflict, NotFound

from tests.fakes.polling import polling

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

NAME = "gang-scheduler"
API = "test.nightbench.io/v1"
JOB_LABEL = "batch.kubernetes.io/job-name"
POLL_SECONDS = 0.02


@dataclass
class Behaviour:
    """leave_out: pods of each Job that are never bound. decide_elsewhere: the decision names another node than the
    binding. unschedulable: parts whose groups are said to be that. evict: how many pods of each Job of a part
    are deleted once it is bound whole.
    """

    leave_out: int = 0
    decide_elsewhere: bool = False
    unschedulable: Sequence[str] = ()
    evict: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def gang_scheduler(
    kube: Kube, namespace: str, nodes: Sequence[str], behaviour: Behaviour | None = None
) -> Iterator[GangScheduler]:
    """One that runs as long as the context; what ends it wrongly is raised when the context is left."""
    scheduler = GangScheduler(kube, namespace, nodes, behaviour or Behaviour())
    with polling(scheduler.look, POLL_SECONDS):
        yield scheduler


class GangScheduler:
    def __init__(self, kube: Kube, namespace: str, nodes: Sequence[str], behaviour: Behaviour) -> None:
        self._kube = kube
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._custom = f"/apis/{API}/namespaces/{namespace}"
        self._nodes = list(nodes)
        self._behaviour = behaviour
        self._grouped: set[str] = set()
        self._bound: set[str] = set()
        self._evicted: set[str] = set()

    def look(self) -> None:
        jobs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for pod in self._kube.list_pages(self._pods)[0]:
            if pod["spec"].get("schedulerName") == NAME and not pod["metadata"].get("deletionTimestamp"):
                jobs[pod["metadata"]["labels"].get(JOB_LABEL, pod["metadata"]["name"])].append(pod)
        for name, pods in jobs.items():
            with contextlib.suppress(NotFound):  # it was deleted while we looked
                self._take(name, sorted(pods, key=lambda pod: str(pod["metadata"]["name"])))

    def _take(self, job: str, pods: list[dict[str, Any]]) -> None:
        part = pods[0]["metadata"]["labels"]["nightbench.io/part"]
        owners = pods[0]["metadata"].get("ownerReferences")
        owner = {key: owners[0][key] for key in ("apiVersion", "kind", "name", "uid")} if owners else _owner(pods[0])
        if owner["uid"] not in self._grouped:
            self._grouped.add(owner["uid"])
            self._create("podgroups", "PodGroup", {"name": f"pg-{job}", "ownerReferences": [owner]}, {})
            if part in self._behaviour.unschedulable:
                condition = {"type": "Unschedulable", "status": "True"}
                path = f"{self._custom}/podgroups/pg-{job}"
                self._kube.request(
                    "PATCH", path, body={"status": {"conditions": [condition]}},
                    content_type="application/merge-patch+json",
                )  # fmt: skip
        if part in self._behaviour.unschedulable:
            return
        for index, pod in enumerate(pods):
            if pod["metadata"]["uid"] not in self._bound and index >= self._behaviour.leave_out:
                self._bind(pod)
        bound = [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName")]
        if len(bound) == len(pods) and job not in self._evicted:
            victims = bound[: self._behaviour.evict.get(part, 0)]
            self._evicted.update([job] if victims else [])
            for name in victims:
                self._kube.request("DELETE", f"{self._pods}/{name}")

    def _bind(self, pod: dict[str, Any]) -> None:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        node = self._nodes[len(self._bound) % len(self._nodes)]
        told = self._nodes[(len(self._bound) + 1) % len(self._nodes)] if self._behaviour.decide_elsewhere else node
        self._bound.add(uid)
        self._create(
            "bindrequests", "BindRequest", {"name": name, "ownerReferences": [_owner(pod)]},
            {"podName": name, "selectedNode": told},
        )  # fmt: skip
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        with contextlib.suppress(Conflict):
            self._kube.request("POST", f"{self._pods}/{name}/binding", body=binding)

    def _create(self, plural: str, kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> None:
        body = {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
        with contextlib.suppress(Conflict):
            self._kube.request("POST", f"{self._custom}/{plural}", body=body)


def _owner(pod: dict[str, Any]) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
