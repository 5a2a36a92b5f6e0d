# SPDX-License-Identifier: GPL-3.0-or-later
"""What Kueue does with a Job, in a thread of the test: a Workload for it, quota of its queue, and only then its pods.

It speaks Kueue's kinds and conditions: a Job with the label of a queue comes suspended; its Workload has the condition
QuotaReserved; admitted, the Job is resumed and its pods get the labels of the flavor. Quota that others of the cohort
do not use may be borrowed up to the borrowingLimit. No preemption, no webhook, one resource.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible.module_utils.nightbench.errors import Conflict, NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH

from tests.fakes.polling import polling

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

API = "/apis/kueue.x-k8s.io/v1beta2"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
GPU = "nvidia.com/gpu"
POLL_SECONDS = 0.05


@contextlib.contextmanager
def kueue_stand_in(kube: Kube, namespace: str) -> Iterator[KueueStandIn]:
    """One that runs as long as the context; what ends it wrongly is raised when the context is left."""
    stand_in = KueueStandIn(kube, namespace)
    with polling(stand_in.look, POLL_SECONDS):
        yield stand_in


class KueueStandIn:
    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._custom = f"{API}/namespaces/{namespace}"
        #: Jobs by what became of them last.
        self.admitted: set[str] = set()
        self.refused: set[str] = set()

    def look(self) -> None:
        with contextlib.suppress(NotFound, Conflict):  # it is being deleted, or changes under our hands
            self._look()

    def _look(self) -> None:
        """One pass over all Jobs that name a queue, the oldest first; their quota is free again once they are gone."""
        jobs = [job for job in self._list(self._jobs) if QUEUE_LABEL in job["metadata"].get("labels", {})]
        if not jobs:
            return
        queues = {one["metadata"]["name"]: one for one in self._list(f"{API}/clusterqueues")}
        local = {
            one["metadata"]["name"]: queues[one["spec"]["clusterQueue"]]
            for one in self._list(f"{self._custom}/localqueues")
            if one["spec"]["clusterQueue"] in queues
        }
        used = dict.fromkeys(queues, 0)
        for job in jobs:
            queue = local.get(job["metadata"]["labels"][QUEUE_LABEL])
            if queue is not None and not job["spec"].get("suspend"):
                used[queue["metadata"]["name"]] += gpus(job)
        for job in sorted(jobs, key=lambda one: one["metadata"]["name"]):
            queue = local.get(job["metadata"]["labels"][QUEUE_LABEL])
            if job["spec"].get("suspend") and queue is not None:
                self._admit(job, queue, queues, used)

    def _admit(self, job: dict[str, Any], queue: dict[str, Any], queues: dict[str, Any], used: dict[str, int]) -> None:
        name, size = job["metadata"]["name"], gpus(job)
        own = queue["metadata"]["name"]
        free = sum(map(nominal, queues.values())) - sum(used.values())
        most = nominal(queue) + borrowing(queue, sum(map(nominal, queues.values())))
        fits = used[own] + size <= most and size <= free
        if not fits and name in self.refused:
            return
        self._workload(job, "True" if fits else "False")
        if not fits:
            self.refused.add(name)
            return
        used[own] += size
        flavor = self._kube.request("GET", f"{API}/resourceflavors/{flavor_of(queue)}").json()
        spec = {"suspend": False, "template": {"spec": {"nodeSelector": flavor["spec"].get("nodeLabels") or {}}}}
        self._kube.request("PATCH", f"{self._jobs}/{name}", body={"spec": spec}, content_type=MERGE_PATCH)
        self.admitted.add(name)

    def _workload(self, job: dict[str, Any], reserved: str) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        body = {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "kind": "Workload",
            "metadata": {"name": f"job-{name}", "ownerReferences": [owner]},
            "spec": {"queueName": job["metadata"]["labels"][QUEUE_LABEL]},
        }
        with contextlib.suppress(Conflict):
            self._kube.request("POST", f"{self._custom}/workloads", body=body)
        reason = "QuotaReserved" if reserved == "True" else "Pending"
        condition = {"type": "QuotaReserved", "status": reserved, "reason": reason, "message": ""}
        path = f"{self._custom}/workloads/job-{name}/status"
        self._kube.request("PATCH", path, body={"status": {"conditions": [condition]}}, content_type=MERGE_PATCH)

    def _list(self, path: str) -> list[dict[str, Any]]:
        return self._kube.list_pages(path)[0]


def gpus(job: dict[str, Any]) -> int:
    """What the Job wants while it runs."""
    containers = job["spec"]["template"]["spec"]["containers"]
    each = sum(int(one.get("resources", {}).get("limits", {}).get(GPU, 0)) for one in containers)
    return each * int(job["spec"].get("parallelism", 1))


def nominal(queue: dict[str, Any]) -> int:
    return int(_resource(queue)["nominalQuota"])


def borrowing(queue: dict[str, Any], everything: int) -> int:
    return int(_resource(queue).get("borrowingLimit", everything))


def flavor_of(queue: dict[str, Any]) -> str:
    return str(queue["spec"]["resourceGroups"][0]["flavors"][0]["name"])


def _resource(queue: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]
    return found
