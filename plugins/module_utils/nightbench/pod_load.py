# SPDX-License-Identifier: GPL-3.0-or-later
"""Create many pods, watch them from before the first create, stamp every milestone, account for every one.

Closed loop: each connection sends its next pod when the API server has answered the last one. Open loop: pods are sent
at the moments of a plan whatever the API server does, so that a slow server cannot slow down its own load.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .arrivals import process
from .errors import ConfigurationError, Conflict, KubeError, NightbenchError
from .kube import Call, Kube, run_threads
from .tracker import PodTracker
from .watch import Event, ListWatch

LOAD_LABEL = "nightbench.io/load"
POLL_SECONDS = 0.02
#: How often requests that are under way are asked whether it is time to stop.
ATTEND_SECONDS = 0.2
#: How long requests that are under way may take once it is time to stop; one that hangs ends with the process.
GIVE_UP_SECONDS = 3.0
#: After a failure pods are deleted for as long as the API server answers at all.
SILENCE_SECONDS = 10.0
#: How often we look for pods that can no longer arrive; costs a pass over all rows.
LOST_SECONDS = 1.0
#: In the API server's JSON metadata.uid comes before any other uid (field order of metav1.ObjectMeta).
_UID = re.compile(rb'"uid":\s*"([^"]+)"')
_NAME = "@nightbench-pod-name@"


@dataclass(frozen=True)
class LoadPlan:
    """What to create and what to wait for.

    name: names the load and its pods. template: a Pod without a name. rate: pods per second of the open loop, None for
    the closed one; arrivals: "constant" or "poisson" spacing of the open loop, seed fixes it.
    until: the milestone that every pod has to reach. delete: whether the pods are deleted and waited for in the end.
    """

    name: str
    namespace: str
    count: int
    template: dict[str, Any]
    connections: int = 16
    rate: float | None = None
    arrivals: str = "constant"
    seed: int = 0
    until: str = "running"
    delete: bool = True

    def names(self) -> list[str]:
        width = len(str(max(self.count - 1, 0)))
        return [f"{self.name}-{index:0{width}d}" for index in range(self.count)]

    def selector(self) -> str:
        return f"{LOAD_LABEL}={self.name}"


@dataclass
class Timeline:
    """Moments of the load on the client's monotonic clock."""

    started: float
    wall_offset_start: float = 0.0
    wall_offset_end: float = 0.0
    create_started: float | None = None
    create_ended: float | None = None
    released: float | None = None
    release_ready: float | None = None
    delete_started: float | None = None
    delete_ended: float | None = None
    latest_send: float = 0.0


@dataclass
class PodLoad:
    """One load while it runs; ``check`` raises when it is time to stop (see LongModule.check)."""

    kube: Kube
    plan: LoadPlan
    check: Callable[[str], None]
    tracker: PodTracker = field(init=False)
    timeline: Timeline = field(init=False)
    watch: ListWatch = field(init=False)
    phase: str = "created"

    def __post_init__(self) -> None:
        self.tracker = PodTracker(self.plan.names())
        self.timeline = Timeline(started=time.monotonic(), wall_offset_start=wall_offset())
        self._path = self.kube.resource("v1", "Pod").collection(self.plan.namespace)
        self.watch = ListWatch(self.kube, self._path, self._take, label_selector=self.plan.selector())

    def run(self, release: Callable[[], None] | None = None) -> None:
        """Create, release what was held back, wait for the milestone, delete.

        ``release`` starts what was held back (a scheduler) and returns when it is ready.
        Pods that we created are deleted even when something goes wrong.
        """
        self.clear()
        thread = self.watch.start()
        try:
            self.create()
            if release is not None:
                self.timeline.released = time.monotonic()
                release()
                self.timeline.release_ready = time.monotonic()
            self.phase = self.plan.until
            self._wait(self.plan.until)
            self.timeline.wall_offset_end = wall_offset()
            if self.plan.delete:
                self.delete()
        except BaseException:
            self.timeline.wall_offset_end = wall_offset()
            self._forced_clear()
            raise
        finally:
            self.watch.stop()
            thread.join(timeout=5.0)

    def clear(self) -> None:
        """Delete pods of an earlier load of the same name: their stamps must not mix with ours."""
        left, _ = self.kube.list_pages(self._path, label_selector=self.plan.selector())
        if left:
            self._delete([item["metadata"]["name"] for item in left])
            while self.kube.list_pages(self._path, label_selector=self.plan.selector(), limit=1)[0]:
                self.check("waiting for pods of an earlier load to go")
                time.sleep(POLL_SECONDS)

    def delete(self) -> None:
        """Delete every pod and wait until the watch has seen the last one go."""
        self.phase = "deleted"
        self.timeline.delete_started = time.monotonic()
        self._delete([row.name for row in self.tracker.rows.values() if row.created is not None])
        self._wait("deleted")
        self.timeline.delete_ended = time.monotonic()

    def progress(self) -> dict[str, Any]:
        """What the progress line shows now."""
        return {"done": self.tracker.reached(self.phase), "asked": self.plan.count, "unit": f"pods {self.phase}"}

    def create(self) -> None:
        """Send every pod once; returns when the API server has answered for all of them."""
        body = pod_body(self.plan)
        due = send_times(self.plan)
        work = iter(self.tracker.rows)
        lock, over = threading.Lock(), threading.Event()
        self.timeline.create_started = zero = time.monotonic()

        def send() -> None:
            try:
                send_all()
            except BaseException:
                over.set()  # what ends one connection ends them all
                raise

        def send_all() -> None:
            while not over.is_set():
                with lock:
                    name = next(work, None)
                    at = None if due is None else next(due)
                if name is None:
                    return
                if at is not None:
                    self._sleep_until(zero + at)
                self.check(self._state())
                self._create_one(name, body(name))

        try:
            self._attended(lambda: run_threads(send, min(self.plan.connections, self.plan.count)), over)
        finally:
            self.timeline.create_ended = time.monotonic()

    def _attended(self, requests: Callable[[], object], over: threading.Event) -> None:
        """Requests in a thread of their own, because a dead component may keep them for minutes, and check() never.

        ``over`` is set when no more of them are to be sent.
        """
        failures: list[BaseException] = []

        def work() -> None:
            try:
                requests()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                failures.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(ATTEND_SECONDS)
                self.check(self._state())
        except BaseException:
            over.set()
            thread.join(GIVE_UP_SECONDS)
            raise
        if failures:
            raise failures[0]

    def _create_one(self, name: str, body: bytes) -> None:
        self.tracker.posted(name, time.monotonic())
        try:
            response = self.kube.request("POST", self._path, body=body)
        except Conflict:
            # An earlier try reached the API server although its answer was lost; the watch brings the uid.
            return
        except KubeError as error:
            self.tracker.failed(name, error.message)
            return
        found = _UID.search(response.data)
        self.tracker.answered(name, found.group(1).decode() if found else "", time.monotonic())

    def _sleep_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            self.check(self._state())
        self.timeline.latest_send = max(self.timeline.latest_send, -left)

    def _wait(self, milestone: str) -> None:
        """Until every pod has reached the milestone or can no longer; the caller's check() bounds it."""
        look_for_lost = time.monotonic() + LOST_SECONDS
        wanted = self.plan.count if milestone != "deleted" else self.tracker.counts["created"]
        while self.tracker.reached(milestone) < wanted:
            self.tracker.changed.wait(0.5)
            self.tracker.changed.clear()
            self.check(self._state())
            if self.watch.error is not None:
                raise self.watch.error
            if time.monotonic() > look_for_lost:
                if milestone != "deleted" and self.tracker.settled(milestone) >= wanted:
                    return
                look_for_lost = time.monotonic() + LOST_SECONDS
            time.sleep(POLL_SECONDS)

    def _take(self, event: Event) -> None:
        self.tracker.event(event.type, event.object, event.at)

    def _delete(self, names: Sequence[str]) -> None:
        over = threading.Event()
        self._attended(lambda: self._send_deletes(names, over), over)

    def _send_deletes(
        self, names: Sequence[str], over: threading.Event, heard: Callable[[], None] | None = None
    ) -> None:
        """Delete at once: nobody runs in these pods, so a grace period would only be waited for."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        calls = [Call("DELETE", f"{self._path}/{name}", body=options) for name in names]
        told = None if heard is None else lambda _index, _answer: heard()
        for result in self.kube.map(calls, self.plan.connections, over.is_set, told):
            if isinstance(result, NightbenchError) and getattr(result, "status", 0) != 404:
                raise result

    def _forced_clear(self) -> None:
        """After a failure: no load of ours stays, unless the API server says nothing any more.

        The first failure is the one to report, and check() would only repeat it.
        """
        self.phase = "deleted"
        over, heard = threading.Event(), [time.monotonic()]

        def work() -> None:
            with contextlib.suppress(NightbenchError):
                left, _ = self.kube.list_pages(self._path, label_selector=self.plan.selector())
                names = [item["metadata"]["name"] for item in left]
                self._send_deletes(names, over, lambda: heard.append(time.monotonic()))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive() and time.monotonic() - heard[-1] < SILENCE_SECONDS:
            thread.join(ATTEND_SECONDS)
        over.set()

    def _state(self) -> str:
        counts = self.tracker.counts
        return (
            f"{counts['created']} of {self.plan.count} pods created, {counts['bound']} bound, "
            f"{counts['running']} running, {counts['deleted']} deleted, {counts['failed']} refused"
        )


def pod_body(plan: LoadPlan) -> Callable[[str], bytes]:
    """A function that gives the JSON of the pod with a name; the template is encoded once."""
    if not plan.template.get("spec", {}).get("containers"):
        raise ConfigurationError("The pod template has no spec.containers.", hint="Give a whole Pod without its name.")
    metadata = dict(plan.template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), LOAD_LABEL: plan.name}
    metadata["name"] = _NAME
    pod = {"apiVersion": "v1", "kind": "Pod", **plan.template, "metadata": metadata}
    before, _, after = json.dumps(pod, separators=(",", ":")).encode().partition(_NAME.encode())
    return lambda name: before + name.encode() + after


def send_times(plan: LoadPlan) -> Iterator[float] | None:
    """Seconds after the start at which each pod is due, or None for the closed loop."""
    if plan.rate is None:
        return None
    if plan.rate <= 0:
        raise ConfigurationError(f"rate: {plan.rate} pods a second cannot be sent.", hint="Leave it out, or give > 0.")
    return process({"kind": plan.arrivals, "rate": plan.rate, "seed": plan.seed}).moments()


def wall_offset() -> float:
    """Unix time minus the monotonic clock; the tightest of a few readings."""
    readings = []
    for _ in range(5):
        before = time.monotonic()
        wall = time.time()
        after = time.monotonic()
        readings.append((after - before, wall - (before + after) / 2))
    return min(readings)[1]
