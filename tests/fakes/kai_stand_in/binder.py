# SPDX-License-Identifier: GPL-3.0-or-later
"""binder: carries out BindRequests.

On one client two requests a pod: PATCH of the pod and POST of its binding; the status of the BindRequest and the pod's
condition PodBound go through clients of their own. So N pods take at least (2 N - burst) / qps seconds.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.nightbench.errors import Conflict, KubeError, NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH

from tests.fakes.kai_stand_in import names
from tests.fakes.kai_stand_in.faults import LATE_SECONDS
from tests.fakes.kai_stand_in.process import Component
from tests.fakes.kai_stand_in.store import Key, WorkQueue

RECEIVED = "received-resource-type"


class Binder(Component):
    """One worker at a time for each BindRequest, --max-concurrent-reconciles of them."""

    def __init__(self, options: dict[str, Any], planted: frozenset[str]) -> None:
        super().__init__("binder", options, planted)
        self.queue = WorkQueue(options["rate-limiter-base-delay"], options["rate-limiter-max-delay"])
        self.requests = self.store(f"{names.BIND_REQUESTS}/bindrequests", changed=self.seen)
        self.reconcile(self.queue, options["max-concurrent-reconciles"], self.bind)

    def seen(self, key: Key) -> None:
        request = self.requests.get(key)
        if request is not None and not settled(request):
            self.queue.add(key, LATE_SECONDS if "late_binder" in self.faults else 0.0)

    def bind(self, key: Key) -> None:
        """Carry out one BindRequest and write down how that went; a failure is tried again up to its backoffLimit."""
        request = self.requests.get(key)
        if request is None or settled(request):
            return
        try:
            self.bind_pod(key, request)
        except NotFound:
            self.write(key, {"phase": "Failed", "reason": "the pod is gone"})
        except KubeError as error:
            failed = int((request.get("status") or {}).get("failedAttempts") or 0) + 1
            over = failed >= int(request["spec"].get("backoffLimit") or 1)
            self.write(
                key, {"phase": "Failed" if over else "Pending", "failedAttempts": failed, "reason": error.message[:500]}
            )
            if not over:
                raise
        else:
            self.write(key, {"phase": "Succeeded"})

    def bind_pod(self, key: Key, request: dict[str, Any]) -> None:
        spec = request["spec"]
        path = f"{names.pods_of(key[0])}/{spec['podName']}"
        mark = {"metadata": {"annotations": {RECEIVED: spec.get("receivedResourceType") or "Regular"}}}
        pods = self.client("pods")
        pods.request("PATCH", path, body=mark, content_type=MERGE_PATCH)
        target = {"apiVersion": "v1", "kind": "Node", "name": spec["selectedNode"]}
        metadata = {"name": spec["podName"], "namespace": key[0], "uid": owner_uid(request)}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        try:
            pods.request("POST", f"{path}/binding", body=binding)
        except Conflict:
            # An earlier try may have got so far; anybody else's binding is a failure.
            if pods.request("GET", path).json()["spec"].get("nodeName") != spec["selectedNode"]:
                raise
        condition = {"type": "PodBound", "status": "True", "reason": "Bound"}
        self.client("pods of the manager").request(
            "PATCH",
            f"{path}/status",
            body={"status": {"conditions": [condition]}},
            content_type="application/strategic-merge-patch+json",
        )

    def write(self, key: Key, status: dict[str, Any]) -> None:
        path = f"{names.bind_requests_of(key[0])}/{key[1]}/status"
        try:
            self.client("bindrequests").request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)
        except NotFound:
            return


def settled(request: dict[str, Any]) -> bool:
    return (request.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def owner_uid(request: dict[str, Any]) -> str:
    """The uid of the pod it was made for: a later pod of the same name is another one."""
    references = request["metadata"].get("ownerReferences") or [{}]
    return str(references[0].get("uid", ""))
