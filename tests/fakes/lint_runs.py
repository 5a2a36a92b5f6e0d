# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run shows of each rule of the linter that the API server does not refuse: fake nodes, real controllers."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.nightbench.errors import KubeError, NotFound
from ansible.module_utils.nightbench.kube import APPLY_PATCH, MERGE_PATCH, Kube
from ansible.module_utils.nightbench.lint_document import of_object

Manifest = dict[str, Any]
LABEL = "nightbench.io/lint-run"
BY_KWOK = {"kwok.x-k8s.io/node": "fake"}
#: A rollout that gets on takes less from one pod to the next.
STILL_SECONDS = 15
#: What has conditions, by its kind.
CONDITIONED = {
    "HorizontalPodAutoscaler": ("autoscaling/v2", "HorizontalPodAutoscaler", "serving"),
    "Deployment": ("apps/v1", "Deployment", "serving"),
    "Job": ("batch/v1", "Job", "training"),
}
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass
class Lab:
    """A namespace and a fake node of its own, with as many GPUs as the experiment is about."""

    kube: Kube
    namespace: str
    gpus: int
    done: dict[str, int] = field(default_factory=dict)
    own_kubelet: bool = False
    manifests: list[Manifest] = field(default_factory=list)

    def start(self, manifests: list[Manifest]) -> None:
        node = {
            "metadata": {"name": self.namespace, "labels": {LABEL: self.namespace}},
            "status": {key: {"cpu": 64, "memory": "256Gi", "pods": 110, "nvidia.com/gpu": self.gpus}
                       for key in ("capacity", "allocatable")},
        }  # fmt: skip
        # kwok lets the pods of Jobs be done as soon as they run: those have a kubelet that does not.
        self.own_kubelet = any(manifest["kind"] == "Job" for manifest in manifests)
        node["metadata"]["annotations"] = {} if self.own_kubelet else BY_KWOK
        self.kube.request("POST", "/api/v1/nodes", body=node)
        self.manifests = manifests
        for manifest in manifests:
            self.apply(manifest)

    def apply(self, manifest: Manifest) -> None:
        """Its pods go to the experiment's node; an autoscaler needs no five minutes to scale down."""
        body = copy.deepcopy(manifest)
        for template in of_object(0, body).templates():
            template.body["spec"]["nodeSelector"] = {LABEL: self.namespace}
        if body["kind"] == "HorizontalPodAutoscaler":
            body["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        path = self.kube.resource(body["apiVersion"], body["kind"]).item(body["metadata"]["name"], self.namespace)
        query = {"fieldManager": "test", "force": "true"}
        self.kube.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)

    def remove(self) -> None:
        self.kube.request("DELETE", f"/api/v1/nodes/{self.namespace}")

    def get(self, api_version: str, kind: str, name: str) -> Manifest:
        found: Manifest = self.kube.request(
            "GET", self.kube.resource(api_version, kind).item(name, self.namespace)
        ).json()
        return found

    def pods(self, phase: str = "") -> list[Manifest]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        pods, _ = self.kube.list_pages(path)
        if self.own_kubelet:
            self._play_node()
            for pod in pods:
                self._play_pod(pod, f"{path}/{pod['metadata']['name']}")
        return [pod for pod in pods if not phase or pod["status"].get("phase") == phase]

    def _play_node(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
        self.patch(f"/api/v1/nodes/{self.namespace}/status", {"status": {"conditions": [ready]}})

    def _play_pod(self, pod: Manifest, path: str) -> None:
        """A pod with a node runs until it has to go."""
        leaves = bool(pod["metadata"].get("deletionTimestamp"))
        if leaves or (pod["spec"].get("nodeName") and pod["status"].get("phase") == "Pending"):
            pod["status"]["phase"] = "Failed" if leaves else "Running"
            self.patch(f"{path}/status", {"status": {"phase": pod["status"]["phase"]}})
        if leaves:
            with contextlib.suppress(NotFound):
                self.kube.request("DELETE", path, query={"gracePeriodSeconds": "0"})

    def patch(self, path: str, body: Manifest) -> None:
        with contextlib.suppress(NotFound):
            self.kube.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def events(self) -> str:
        found, _ = self.kube.list_pages(f"/api/v1/namespaces/{self.namespace}/events")
        return "\n".join(f"{event.get('reason')}: {event.get('message')}" for event in found)

    def evict(self) -> bool:
        """Every running pod; whether the API server let them go."""
        for pod in self.pods("Running"):
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/eviction"
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["metadata"]["name"]}}
            try:
                self.kube.request("POST", path, body=body)
            except NotFound:
                continue
            except KubeError as error:
                if error.status == 429:
                    return False
                raise
        return True

    def condition(self, name: str, kind: str = "HorizontalPodAutoscaler") -> Mapping[str, str]:
        found = self.get(*CONDITIONED[kind])
        conditions = found.get("status", {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == name), {})

    def replicas(self) -> tuple[int, int]:
        """Of the Deployment: asked for, and there."""
        found = self.get("apps/v1", "Deployment", "serving")
        return found["spec"]["replicas"], found["status"].get("replicas", 0)


@dataclass(frozen=True)
class Experiment:
    """`seen` is true once what the rule says has happened; of what is mended it never is."""

    seen: Callable[[Lab], bool]
    gpus: int = 8


def no_ranks(lab: Lab) -> bool:
    pods = lab.pods()
    return bool(pods) and not any(INDEX in (pod["metadata"].get("annotations") or {}) for pod in pods)


def some_run_and_some_wait(lab: Lab) -> bool:
    return bool(lab.pods("Running")) and bool(lab.pods("Pending"))


def fails_by_evictions(lab: Lab) -> bool:
    if lab.condition("Failed", "Job").get("reason") == "BackoffLimitExceeded":
        return True
    lab.evict()
    return False


def stays_when_complete(lab: Lab) -> bool:
    path = f"/api/v1/namespaces/{lab.namespace}/pods"
    for pod in lab.pods("Running"):
        lab.patch(f"{path}/{pod['metadata']['name']}/status", {"status": {"phase": "Succeeded"}})
    try:
        complete = lab.condition("Complete", "Job").get("status") == "True"
    except NotFound:
        return False
    # What would remove it has done so before it was looked at that often.
    lab.done["looks"] = lab.done.get("looks", 0) + complete
    return lab.done["looks"] > 20


def has_thirty_seconds(lab: Lab) -> bool:
    return any(pod["spec"]["terminationGracePeriodSeconds"] == 30 for pod in lab.pods())


def is_pulled_always(lab: Lab) -> bool:
    return any(pod["spec"]["containers"][0]["imagePullPolicy"] == "Always" for pod in lab.pods())


def is_not_guaranteed(lab: Lab) -> bool:
    return any(pod["status"]["qosClass"] != "Guaranteed" for pod in lab.pods())


def misses_the_request(lab: Lab) -> bool:
    scaling = lab.condition("ScalingActive")
    return scaling.get("status") == "False" and "missing request for cpu" in scaling.get("message", "")


def shrinks_by_idle_processors(lab: Lab) -> bool:
    """Three replicas are what the waiting requests need; the autoscaler does not see them."""
    if "grown" not in lab.done:
        path = lab.kube.resource("apps/v1", "Deployment").item("serving", lab.namespace)
        lab.patch(path, {"spec": {"replicas": 3}})
        lab.done["grown"] = 3
    return lab.condition("ScalingActive").get("status") == "True" and lab.replicas() == (1, 1)


def goes_to_and_fro(lab: Lab) -> bool:
    """Scaled to two, back to three by the next apply."""
    asked, _ = lab.replicas()
    if "applied" not in lab.done and asked == 2:
        # The next deployment of the same manifest.
        lab.apply(lab.manifests[1])
        lab.done["applied"] = lab.replicas()[0]
    return lab.done.get("applied") == 3


def finds_no_target(lab: Lab) -> bool:
    scale = lab.condition("AbleToScale")
    return scale.get("status") == "False" and scale.get("reason") == "FailedGetScale"


def stands_still(lab: Lab) -> bool:
    """All GPUs are taken; the new pods are Pending, the old ones stay, and the Deployment gives up waiting for them."""
    if "updated" not in lab.done:
        if len(lab.pods("Running")) < 2:
            return False
        path = lab.kube.resource("apps/v1", "Deployment").item("serving", lab.namespace)
        template = {"metadata": {"annotations": {"version": "2"}}}
        lab.patch(path, {"spec": {"progressDeadlineSeconds": STILL_SECONDS, "template": template}})
        lab.done["updated"] = 2
    progress = lab.condition("Progressing", "Deployment").get("reason")
    return progress == "ProgressDeadlineExceeded" and "Insufficient nvidia.com/gpu" in lab.events()


def is_not_let_go(lab: Lab) -> bool:
    budget = lab.get("policy/v1", "PodDisruptionBudget", "serving").get("status", {})
    return bool(lab.pods("Running")) and budget.get("currentHealthy", 0) > 0 and not lab.evict()


def has_no_endpoint(lab: Lab) -> bool:
    slices, _ = lab.kube.list_pages(f"/apis/discovery.k8s.io/v1/namespaces/{lab.namespace}/endpointslices")
    return bool(lab.pods("Running")) and bool(slices) and not any(one.get("endpoints") for one in slices)


def misses_its_claim(lab: Lab) -> bool:
    return 'persistentvolumeclaim "dataset" not found' in lab.events()


def misses_its_class(lab: Lab) -> bool:
    return 'storageclass.storage.k8s.io "fast" not found' in lab.events()


EXPERIMENTS: Mapping[str, Experiment] = {
    "job-completions": Experiment(no_ranks),
    "job-gang": Experiment(some_run_and_some_wait, gpus=2),
    "job-disruptions": Experiment(fails_by_evictions),
    "job-time-to-live": Experiment(stays_when_complete),
    "job-checkpoint-on-termination": Experiment(has_thirty_seconds),
    "image-tag": Experiment(is_pulled_always),
    "gpu-memory-limit": Experiment(is_not_guaranteed),
    "autoscaler-cpu-request": Experiment(misses_the_request),
    "autoscaler-gpu-signal": Experiment(shrinks_by_idle_processors),
    "autoscaler-and-replicas": Experiment(goes_to_and_fro),
    "autoscaler-target": Experiment(finds_no_target),
    "rollout-spare-gpus": Experiment(stands_still, gpus=2),
    "disruption-budget": Experiment(is_not_let_go),
    "service-selector": Experiment(has_no_endpoint),
    "claim": Experiment(misses_its_claim),
    "storage-class": Experiment(misses_its_class),
}
