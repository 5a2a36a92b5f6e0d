# SPDX-License-Identifier: GPL-3.0-or-later
"""Make gangs come and go at a rate while packets and requests run; account for every pod and every gang.

The moments are fixed beforehand: a slow API server or kubelet cannot slow down its own load. All stamps are of this
machine's monotonic clock, which is that of the probes too.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import request_probe
from .calico_nodes import is_ready
from .churn_flows import Flow, flows
from .churn_plan import BACKGROUND_LABEL, POLICY_API, ChurnPlan
from .churn_probe import JobProbe
from .errors import KubeError, NightbenchError, NotFound, ProcessError
from .kube import Call, Kube
from .pod_load import wall_offset
from .pod_places import PodPlace, network_namespaces, places
from .policy_pairs import Pair, Probes, in_pods
from .watch import Event, ListWatch

TICK_SECONDS = 0.01
CONNECTIONS = 8
REQUEST_PORT = 7333
REQUESTS = "requests"


@dataclass
class PodRow:
    gang: int
    pod: int
    name: str
    node: str = ""
    posted: float | None = None
    answered: float | None = None
    running: float | None = None
    opened: float | None = None  # when its packets began
    deleted: float | None = None  # the API server's answer to the delete
    gone: float | None = None
    failure: str | None = None
    uid: str = ""
    address: str = ""


@dataclass
class Gang:
    number: int
    rows: list[PodRow]
    begun: float | None = None
    ended: float | None = None  # when its deletion was begun
    told: set[int] = field(default_factory=set)

    def run_since(self) -> float | None:
        moments = [row.running for row in self.rows]
        return None if None in moments else max(moment for moment in moments if moment is not None)

    @property
    def over(self) -> bool:
        return self.ended is not None and all(row.gone is not None or row.failure is not None for row in self.rows)


class ChurnRun:
    """One run; ``check`` raises when it is time to stop."""

    def __init__(
        self,
        kube: Kube,
        plan: ChurnPlan,
        folder: Path,
        check: Callable[[str], None],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """``look``: at what things cost, when the churn begins and when it ends."""
        self.kube, self.plan, self._check, self._look_at_costs = kube, plan, check, look
        self.gangs = [
            Gang(number, [PodRow(number, pod, plan.pod_name(number, pod)) for pod in range(plan.pods)])
            for number in range(plan.gangs)
        ]
        self.rows = {row.name: row for gang in self.gangs for row in gang.rows}
        self.started, self.churn_started, self.ended = 0.0, 0.0, 0.0
        self.wall_offset = wall_offset()
        self.found: Mapping[str, Any] = {}
        self.flows: dict[tuple[str, int, int], Flow] = {}
        self.requests: list[tuple[float, float, str]] = []  # due, seconds, failure
        self.request_bytes = 0
        self.background = 0  # policies in the background that exist
        self.nodes: dict[str, dict[str, int]] = {}  # before and after the churn: existing, Ready
        self._folder = folder
        self._path = kube.resource("v1", "Pod").collection(plan.namespace)
        self._policies = kube.resource(POLICY_API, "NetworkPolicy").collection(plan.namespace)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def run(self) -> None:
        """No gang is there when it begins, and none when it ends, however it ends."""
        self._clear()
        ends = places(self.kube, self.plan.namespace, [self.plan.stranger, self.plan.source, self.plan.target])
        pair = in_pods(Pair(REQUESTS, "", REQUEST_PORT), ends[self.plan.source], ends[self.plan.target])
        load = Probes([pair], self._folder, interval=1 / self.plan.requests_per_second, seconds=self.plan.seconds,
                      program=request_probe)  # fmt: skip
        jobs = JobProbe(self._folder, interval=self.plan.interval, seconds=self.plan.seconds)
        watch = ListWatch(self.kube, self._path, self._events.put, label_selector=self.plan.selector)
        thread = watch.start()
        try:
            self._make_background()
            with load.running(), jobs.running(), ThreadPoolExecutor(CONNECTIONS) as pool:
                self._drive(load, jobs, pool, ends[self.plan.stranger])
                if watch.error is not None:
                    raise watch.error
        finally:
            with contextlib.suppress(NightbenchError):
                self._clear()
            watch.stop()
            thread.join(timeout=5.0)
        self._read(load, jobs)

    def progress(self) -> dict[str, Any]:
        return {"done": sum(gang.over for gang in self.gangs), "asked": self.plan.gangs, "unit": "gangs"}

    def _drive(self, load: Probes, jobs: JobProbe, pool: ThreadPoolExecutor, stranger: PodPlace) -> None:
        jobs.tell(do="stranger", address=stranger.address, namespace=stranger.namespace)
        self.started = time.monotonic()
        self._until(self.started + self.plan.quiet_seconds, load, jobs)
        self.nodes["before"] = self._count_nodes()
        self._look_at_costs()
        self.churn_started = time.monotonic()
        while not all(gang.over for gang in self.gangs):
            now = time.monotonic()
            for gang in self.gangs:
                if gang.begun is None and now >= self.churn_started + self.plan.due(gang.number):
                    gang.begun = now
                    pool.submit(self._create, gang)
                elif gang.begun is not None and gang.ended is None and self._is_due_to_end(gang, now):
                    gang.ended = now
                    jobs.tell(do="drop", job=gang.number)
                    pool.submit(self._delete, gang)
                elif gang.ended is not None and not gang.over and now > gang.ended + self.plan.start_seconds:
                    self._give_up(gang)
            self._take()
            self._tell(jobs)
            self._until(now + TICK_SECONDS, load, jobs)
        self.ended = time.monotonic()
        self._look_at_costs()
        self.nodes["after"] = self._count_nodes()

    def _is_due_to_end(self, gang: Gang, now: float) -> bool:
        assert gang.begun is not None
        since = gang.run_since()
        if since is not None:
            return now >= since + self.plan.lifetime_seconds
        return now > gang.begun + self.plan.start_seconds

    def _give_up(self, gang: Gang) -> None:
        for row in gang.rows:
            if row.gone is None and row.failure is None:
                row.failure = f"not gone {self.plan.start_seconds:g} s after its delete"

    def _until(self, moment: float, load: Probes, jobs: JobProbe) -> None:
        while True:
            self._check(f"{sum(gang.over for gang in self.gangs)} of {self.plan.gangs} gangs came and went")
            load.check()
            jobs.check()
            left = moment - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.05))

    def _create(self, gang: Gang) -> None:
        try:
            for policy in self.plan.policies_of(gang.number):
                self.kube.request("POST", self._policies, body=policy)
            for row in gang.rows:
                row.posted = time.monotonic()
                made = self.kube.request("POST", self._path, body=self.plan.pod(gang.number, row.pod)).json()
                row.answered = time.monotonic()
                row.uid = made["metadata"]["uid"]
        except NightbenchError as error:
            self._fail(gang, error)

    def _delete(self, gang: Gang) -> None:
        for row in gang.rows:
            if row.answered is None:
                continue
            try:
                with contextlib.suppress(NotFound):
                    self.kube.request("DELETE", f"{self._path}/{row.name}")
                row.deleted = time.monotonic()
            except NightbenchError as error:
                row.failure = row.failure or str(error)
        for name in self.plan.policy_names(gang.number):
            with contextlib.suppress(KubeError):  # the namespace's end takes what is left
                self.kube.request("DELETE", f"{self._policies}/{name}")

    def _fail(self, gang: Gang, error: NightbenchError) -> None:
        for row in gang.rows:
            if row.answered is None:
                row.failure = str(error)

    def _take(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                row = self.rows.get(event.object["metadata"]["name"])
                if row is None:
                    continue
                if event.type == "DELETED":
                    row.gone = event.at
                    continue
                status = event.object.get("status") or {}
                if row.running is None and status.get("phase") == "Running" and status.get("podIP"):
                    row.running, row.address = event.at, status["podIP"]
                    row.node = event.object["spec"].get("nodeName", "")

    def _tell(self, jobs: JobProbe) -> None:
        """The probe of the pods that have come to run since, once their namespaces are found."""
        fresh = {
            row.uid: row
            for gang in self.gangs
            if gang.ended is None
            for row in gang.rows
            if row.running is not None and row.uid and row.pod not in gang.told
        }
        if not fresh:
            return
        spaces = network_namespaces(list(fresh))
        for uid, row in fresh.items():
            if uid not in spaces:
                raise ProcessError(
                    f"no process of pod {row.name} (node {row.node}) is on this machine.",
                    hint="Probes run in the pods' network namespaces: on real nodes of this machine, as root.",
                )
            self.gangs[row.gang].told.add(row.pod)
            jobs.tell(
                do="add", job=row.gang, pod=row.pod, of=self.plan.pods, address=row.address, namespace=spaces[uid]
            )

    def _make_background(self) -> None:
        calls = [Call("POST", self._policies, body=policy) for policy in self.plan.background()]
        for answer in self.kube.map(calls, CONNECTIONS) if calls else ():
            if isinstance(answer, NightbenchError):
                raise answer
        there, _ = self.kube.list_pages(self._policies, label_selector=f"{self.plan.selector},{BACKGROUND_LABEL}")
        self.background = len(there)

    def _count_nodes(self) -> dict[str, int]:
        nodes, _ = self.kube.list_pages("/api/v1/nodes")
        return {"existing": len(nodes), "ready": sum(map(is_ready, nodes))}

    def _clear(self) -> None:
        for path in (self._path, self._policies):
            items, _ = self.kube.list_pages(path, label_selector=self.plan.selector)
            calls = [Call("DELETE", f"{path}/{item['metadata']['name']}") for item in items]
            for answer in self.kube.map(calls, CONNECTIONS) if calls else ():
                if isinstance(answer, NightbenchError) and not isinstance(answer, NotFound):
                    raise answer
        while self.kube.list_pages(self._path, label_selector=self.plan.selector, limit=1)[0]:
            self._check("waiting for the pods of an earlier churn to go")
            time.sleep(0.1)

    def _read(self, load: Probes, jobs: JobProbe) -> None:
        self.found = jobs.result()
        self.flows = flows(self.found)
        for opened in self.found["opened"]:
            self.gangs[opened["job"]].rows[opened["pod"]].opened = opened["at"] / 1e9
        _, sender, _ = load.results()[0]
        self.request_bytes = sender["bytes"]
        # Those from before everything ran, and those from after the last gang, are of neither phase.
        window = (self.started * 1e9, self.ended * 1e9)
        self.requests = [
            (due / 1e9, took / 1e9, failure)
            for due, took, failure in sender["requests"]
            if window[0] <= due < window[1]
        ]
