# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the steps of a workload on a cluster, and follows its pods and Jobs meanwhile.

The run takes the part of whoever is not there (a queue, an autoscaler, a culler): it decides, the cluster does it, and
only what the cluster does is timed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import workload_manifest as manifests
from .errors import ConfigurationError, NightbenchError, NotFound
from .kube import MERGE_PATCH, Kube
from .manifest import Declared
from .objects_delete import Deletion, Selector, delete_selected
from .objects_report import Options, Report
from .watch import Event, ListWatch
from .workload_manifest import LOAD, Manifest, Settings
from .workload_plan import Step
from .workload_scaling import AUTOSCALER, ScalingLog, UsagePoll, autoscaler_of
from .workload_tracker import Tracker, Wait

TICK_SECONDS = 0.05
#: What is deleted first and last: owners before what they would make anew, volumes after who uses them.
REMOVED = (
    AUTOSCALER,
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
)
CLUSTER_WIDE = ("PersistentVolume",)
REMOVAL_SECONDS = 120.0


@dataclass
class Sent:
    """One request of a step."""

    step: str
    name: str
    due: float
    sent: float
    answered: float | None = None
    copy: int | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Done:
    step: Step
    wait: Wait


class WorkloadRun:
    """One run; ``check`` raises when it is time to stop, ``late`` says whether the time is over."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        documents: Sequence[Mapping[str, Any]],
        steps: Sequence[Step],
        check: Callable[[str], None],
        late: Callable[[], bool],
    ) -> None:
        self.kube, self.settings, self.steps = kube, settings, steps
        self._check, self._late = check, late
        self.manifests = manifests.prepared(documents, settings)
        self._by_key = {manifests.key(one): one for one in self.manifests}
        self._applied: set[str] = set()
        for step in steps:
            self._named(step)
        self.tracker = Tracker()
        self.autoscaler = autoscaler_of(self.manifests)
        self.scaling = ScalingLog(lambda: self.tracker.step)
        self.requests: list[Sent] = []
        self.done: list[Done] = []
        self.started, self.ended = 0.0, 0.0
        self.timed_out = False

    def run(self) -> None:
        """Nothing of it is there when it begins, and nothing when it ends, however it ends."""
        self.remove()
        watches = self._watches()
        started = []
        try:
            for watch in watches:
                started.append((watch, watch.start()))
            self.started = time.monotonic()
            for step in self.steps:
                self._carry_out(step, watches)
                if self.timed_out:
                    break
            self.ended = time.monotonic()
        finally:
            try:
                self.remove()
            finally:
                for watch, thread in started:
                    watch.stop()
                    thread.join()

    def _watches(self) -> list[ListWatch | UsagePoll]:
        """Of pods and Jobs; with an autoscaler also of it, of what it scales and of what it is told."""
        labels, namespace = f"{LOAD}={self.settings.name}", self.settings.namespace
        heard: list[tuple[str, str, Callable[[Event], None]]] = [
            ("v1", "Pod", self.tracker.pod),
            ("batch/v1", "Job", self.tracker.job),
        ]
        more: list[ListWatch | UsagePoll] = []
        if self.autoscaler is not None:
            heard += [(*self.autoscaler.scales[:2], self.scaling.scaled), (*AUTOSCALER, self.scaling.decided)]
            more = [UsagePoll(self.kube, namespace, labels, self._used)]
        watches = [
            ListWatch(self.kube, self.kube.resource(version, kind).collection(namespace), handle, label_selector=labels)
            for version, kind, handle in heard
        ]
        return [*watches, *more]

    def _used(self, cpus: Mapping[str, float], at: float) -> None:
        self.scaling.used(cpus, at)
        self.tracker.metered(cpus, at)

    def remove(self) -> None:
        """All that carries the name of this workload."""
        until = time.monotonic() + REMOVAL_SECONDS
        options = Options(
            field_manager="nightbench",
            force=False,
            connections=8,
            dry_run=False,
            declared=Declared([]),
            stop=lambda: time.monotonic() >= until,
            check=lambda what: _out_of_time(until, what),
        )
        labels = f"{LOAD}={self.settings.name}"
        for api_version, kind in REMOVED:
            report = Report()
            grace = 0 if kind == "Pod" else None
            namespace = None if kind in CLUSTER_WIDE else self.settings.namespace
            deletion = Deletion(grace_period_seconds=grace)
            delete_selected(self.kube, Selector(api_version, kind, labels, namespace), options, deletion, report)
            if report.failures:
                raise NightbenchError(f"{self.settings.name}: {report.told('absent')}")

    def progress(self) -> dict[str, Any]:
        return {"done": len(self.done), "asked": len(self.steps), "unit": "steps"}

    def _carry_out(self, step: Step, watches: Sequence[ListWatch | UsagePoll]) -> None:
        self._let_be(step)
        if self.timed_out:
            return
        wait = self.tracker.begin(step.name, step.until)
        self.done.append(Done(step, wait))
        {
            "apply": self._apply,
            "trigger": self._trigger,
            "patch": self._patch,
            "evict": self._evict,
            "delete": self._delete,
            "claim": self._claim,
        }[step.action](step)
        self.tracker.sent()
        while not wait.over.wait(TICK_SECONDS):
            for watch in watches:
                if watch.error is not None:
                    raise watch.error
            if self._late():
                self.timed_out = True
                return
            self._check(f"step {step.name} waits for {step.until.count} {step.until.state}, {wait.seen} are")

    def _let_be(self, step: Step) -> None:
        """What the step plants before it acts is no part of its time.

        A load does not know when others look: it comes at any moment of `within_seconds` as likely as at another.
        """
        seconds = step.after_seconds + random.uniform(0, step.within_seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._late():
                self.timed_out = True
                return
            self._check(f"step {step.name} lets the workload be for {seconds:.3g} s")
            time.sleep(min(left, TICK_SECONDS))

    def _apply(self, step: Step) -> None:
        """Volumes come with their claims; copies when they are due, however slow the API server answers."""
        chosen = self._named(step) if step.objects else [one for one in self.manifests if not self._is_applied(one)]
        chosen = [*self._volumes_of(chosen), *chosen]
        if not step.copies:
            for one in chosen:
                self._create(step, one, time.monotonic())
            return
        claims = [one["metadata"]["name"] for one in chosen if one["kind"] == "PersistentVolumeClaim"]
        begin = time.monotonic()
        for number, moment in enumerate(step.moments):
            while (left := begin + moment - time.monotonic()) > 0:
                self._check(f"step {step.name} has sent {number} of {step.copies}")
                time.sleep(min(left, TICK_SECONDS))
            for one in chosen:
                self._create(step, manifests.copied(one, number, claims, self.settings), begin + moment, number)

    def _trigger(self, step: Step) -> None:
        for cron in self._named(step):
            self._create(step, manifests.job_of(cron), time.monotonic())

    def _patch(self, step: Step) -> None:
        for one in self._named(step):
            path = self._collection(one) + f"/{one['metadata']['name']}"
            self._send(step, manifests.key(one), partial(self._merge, path, step.patch))

    def _evict(self, step: Step) -> None:
        for name in self._chosen(step):
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{name}/eviction"
            metadata = {"name": name, "namespace": self.settings.namespace}
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
            self._send(step, name, partial(self.kube.request, "POST", path, body=body))

    def _delete(self, step: Step) -> None:
        for name in self._chosen(step):
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{name}"
            self._send(step, name, partial(self.kube.request, "DELETE", path))

    def _claim(self, step: Step) -> None:
        """One after the other: the pod that is Ready longest."""
        for _ in range(step.count):
            found = [name for name in self.tracker.ready(step.labels) if name not in self._names(step)]
            if not found:
                self.requests.append(
                    Sent(step.name, "none", time.monotonic(), time.monotonic(), failure="no pod was Ready")
                )
                continue
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{found[0]}"
            self._send(step, found[0], partial(self._merge, path, step.patch))

    def _chosen(self, step: Step) -> list[str]:
        found = self.tracker.ready(step.labels)
        if len(found) < step.count:
            raise NightbenchError(
                f"step {step.name}: {step.count} pods with {dict(step.labels)} should be Ready; {len(found)} are.",
                hint="Let the step before wait for them.",
            )
        return found[: step.count]

    def _names(self, step: Step) -> set[str]:
        return {one.name for one in self.requests if one.step == step.name}

    def _create(self, step: Step, one: Manifest, due: float, copy: int | None = None) -> None:
        self._applied.add(manifests.key(one))
        path = self._collection(one)
        self._send(step, manifests.key(one), partial(self.kube.request, "POST", path, body=one), due, copy)

    def _send(
        self, step: Step, name: str, request: Callable[[], object], due: float | None = None, copy: int | None = None
    ) -> None:
        """What is refused is written down and ends the run: a workload of which a part is missing is another one."""
        now = time.monotonic()
        sent = Sent(step.name, name, now if due is None else due, now, copy=copy)
        self.requests.append(sent)
        try:
            request()
        except NotFound as error:
            sent.failure = str(error)
            return
        sent.answered = time.monotonic()

    def _merge(self, path: str, patch: Mapping[str, Any]) -> object:
        return self.kube.request("PATCH", path, body=patch, content_type=MERGE_PATCH)

    def _collection(self, one: Mapping[str, Any]) -> str:
        return self.kube.resource(one["apiVersion"], one["kind"]).collection(one["metadata"].get("namespace"))

    def _named(self, step: Step) -> list[Manifest]:
        unknown = [name for name in step.objects if name not in self._by_key]
        if unknown:
            raise ConfigurationError(
                f"step {step.name}: there is no {', '.join(unknown)}; the workload has {', '.join(self._by_key)}."
            )
        return [self._by_key[name] for name in step.objects]

    def _is_applied(self, one: Mapping[str, Any]) -> bool:
        return one["kind"] == "PersistentVolume" or manifests.key(one) in self._applied

    def _volumes_of(self, chosen: Sequence[Mapping[str, Any]]) -> list[Manifest]:
        """The volumes whose claim is among these, or is made by one of them."""
        own = {one["metadata"]["name"] for one in chosen if one["kind"] == "PersistentVolumeClaim"}
        sets = [one["metadata"]["name"] for one in chosen if one["kind"] == "StatefulSet"]
        found = []
        for one in self.manifests:
            if one["kind"] == "PersistentVolume":
                claim = one["spec"]["claimRef"]["name"]
                if claim in own or any(f"-{name}-" in claim for name in sets):
                    found.append(one)
        return found


def _out_of_time(until: float, what: str) -> None:
    if time.monotonic() >= until:
        raise NightbenchError(
            f"what a workload left is not gone within {REMOVAL_SECONDS:g} s; {what}.",
            hint="Is the controller manager running, and is there somebody who ends pods?",
        )
