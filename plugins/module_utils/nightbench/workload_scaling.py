# SPDX-License-Identifier: GPL-3.0-or-later
"""What an autoscaler is told and what it decides: the metrics API, itself, and what it scales."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import KubeError, NightbenchError
from .kube import Kube
from .lint_document import of_object
from .quantities import quantity
from .watch import Event
from .workload_tracker import requested

#: Nobody can watch metrics.k8s.io. Its answers change with each reading of the nodes, every 10 s at most.
POLL_SECONDS = 0.2
AUTOSCALER = ("autoscaling/v2", "HorizontalPodAutoscaler")
#: What the API server answers while the API is not there, and while nobody serves it.
NOT_SERVED = (404, 503)


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler by what its pods use of their CPU; ``target_cpus`` is a pod's share of it."""

    name: str
    scales: tuple[str, str, str]
    least: int
    most: int
    target_cpus: float | None

    def document(self) -> dict[str, Any]:
        kind, name = self.scales[1:]
        return {"name": self.name, "scales": f"{kind}/{name}", "min_replicas": self.least, "max_replicas": self.most,
                "target_cpus": self.target_cpus}  # fmt: skip


def autoscaler_of(manifests: Sequence[Mapping[str, Any]]) -> Autoscaler | None:
    """The first one among the manifests, with what they say of its pods."""
    for one in manifests:
        if one["kind"] == AUTOSCALER[1]:
            spec, target = one["spec"], one["spec"]["scaleTargetRef"]
            scales = (target["apiVersion"], target["kind"], target["name"])
            share = next((found for metric in spec.get("metrics") or [] if (found := _share(metric)) is not None), None)
            cpus = _cpus(manifests, scales)
            told = share * cpus if share is not None and cpus else None
            return Autoscaler(
                one["metadata"]["name"], scales, int(spec.get("minReplicas", 1)), spec["maxReplicas"], told
            )
    return None


def _share(metric: Mapping[str, Any]) -> float | None:
    resource = metric.get("resource") or {}
    share = (resource.get("target") or {}).get("averageUtilization")
    return share / 100 if resource.get("name") == "cpu" and share is not None else None


def _cpus(manifests: Sequence[Mapping[str, Any]], scales: tuple[str, str, str]) -> float:
    for one in manifests:
        if (one["apiVersion"], one["kind"], one["metadata"]["name"]) == scales:
            return sum(float(requested(template.body, "cpu")) for template in of_object(0, dict(one)).templates())
    return 0.0


@dataclass(frozen=True)
class Told:
    """``usage``: pods of which the metrics API tells, and their CPUs together. ``replicas``: what the scaled object
    says. ``wanted``: what the autoscaler says."""

    kind: str
    step: str
    name: str
    at: float
    replicas: int
    cpus: float = 0.0


class ScalingLog:
    """Every change, in the order in which it was heard."""

    def __init__(self, step: Callable[[], str]) -> None:
        self._step = step
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], tuple[int, float]] = {}
        self.told: list[Told] = []
        self.active = False

    def scaled(self, event: Event) -> None:
        replicas = (event.object.get("spec") or {}).get("replicas")
        if event.type != "DELETED" and replicas is not None:
            self._tell("replicas", event.object["metadata"]["name"], event.at, int(replicas))

    def decided(self, event: Event) -> None:
        status = event.object.get("status") or {}
        self.active = any(
            one["type"] == "ScalingActive" and one["status"] == "True" for one in status.get("conditions") or []
        )
        if event.type != "DELETED" and status.get("desiredReplicas"):
            self._tell("wanted", event.object["metadata"]["name"], event.at, int(status["desiredReplicas"]))

    def used(self, cpus: Mapping[str, float], at: float) -> None:
        self._tell("usage", "metrics.k8s.io", at, len(cpus), round(sum(cpus.values()), 6))

    def rows(self, zero: float) -> list[dict[str, Any]]:
        return [
            {"row": one.kind, "step": one.step, "name": one.name, "replicas": one.replicas, "cpus": one.cpus,
             "reached": round(one.at - zero, 6)}
            for one in self.told
        ]  # fmt: skip

    def _tell(self, kind: str, name: str, at: float, replicas: int, cpus: float = 0.0) -> None:
        with self._lock:
            if self._last.get((kind, name)) != (replicas, cpus):
                self._last[kind, name] = (replicas, cpus)
                self.told.append(Told(kind, self._step(), name, at, replicas, cpus))


class UsagePoll:
    """Asks the metrics API again and again what the pods with these labels use; to be started as a watch is."""

    def __init__(
        self, kube: Kube, namespace: str, labels: str, handle: Callable[[dict[str, float], float], None]
    ) -> None:
        self._kube = kube
        self._path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        self._labels = labels
        self._handle = handle
        self._stopped = threading.Event()
        self.error: NightbenchError | None = None

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="poll metrics.k8s.io", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(POLL_SECONDS):
                if (found := self._ask()) is not None:
                    self._handle(found, time.monotonic())
        except NightbenchError as error:
            self.error = error

    def _ask(self) -> dict[str, float] | None:
        try:
            answer = self._kube.request("GET", self._path, query={"labelSelector": self._labels}).json()
        except KubeError as error:
            if error.status in NOT_SERVED:
                return None
            raise
        return {one["metadata"]["name"]: _used(one) for one in answer.get("items") or []}


def _used(pod: Mapping[str, Any]) -> float:
    return sum(float(quantity((one.get("usage") or {}).get("cpu", 0)) or 0) for one in pod.get("containers") or [])
