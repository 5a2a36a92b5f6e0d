# SPDX-License-Identifier: GPL-3.0-or-later
"""Create the parts of a load in order, watch everything from before the first create, delete it in the end.

One watch each over pods, Jobs, groups and decisions. Closed loop: each connection sends its next object when the API
server has answered the last one. Open loop: objects are sent at the moments of a plan whatever the API server does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Conflict, DeadlineExceeded, KubeError, NightbenchError
from .job_plan import Deletion, JobLoadPlan, Part
from .job_remove import Remover
from .job_rows import JobRow, PartState
from .job_tracker import JobTracker
from .kube import Kube, run_threads
from .pod_load import _UID, Timeline, wall_offset
from .watch import Event, ListWatch

POLL_SECONDS = 0.02
#: How often we look for pods that can no longer arrive; costs a pass over all rows.
LOST_SECONDS = 1.0
#: How long deletion may take: at least this, and a second for so many pods.
DELETE_SECONDS = 300.0
DELETED_PER_SECOND = 50
#: How long we look after what we leave when the run was asked to stop.
FORCED_SECONDS = 60.0
PAGE = 500


@dataclass
class JobLoad:
    """One load while it runs; ``check`` raises when it is time to stop (see LongModule.check).

    nodes: name → labels, read only where the plan has levels of topology. ended: when the last part had reached its
    milestone, or the deadline came (``timed_out``); everything after that is deletion.
    """

    kube: Kube
    plan: JobLoadPlan
    check: Callable[[str], None]
    tracker: JobTracker = field(init=False)
    timeline: Timeline = field(init=False)
    watches: dict[str, ListWatch] = field(init=False)
    nodes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    ended: float | None = None
    timed_out: bool = False
    _stage: list[PartState] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        self.tracker = JobTracker(plan)
        self.timeline = Timeline(started=time.monotonic(), wall_offset_start=wall_offset())
        pods = self.kube.resource("v1", "Pod").collection(plan.namespace)
        jobs = self.kube.resource("batch/v1", "Job").collection(plan.namespace)
        self._paths = {"pods": pods, "jobs": jobs}
        self._remover = Remover(self.kube, pods, jobs, plan.selector(), plan.connections)
        self.watches = {"pods": self._watch(pods, self.tracker.pod_event, plan.selector())}
        if any(part.form == "jobs" for part in plan.parts):
            self.watches["jobs"] = self._watch(jobs, self.tracker.job_event, plan.selector())
        self.plurals: dict[str, str] = {}
        for name, watched, handle in (
            ("groups", plan.group, self.tracker.group_event),
            ("decisions", plan.decision, self.tracker.decision_event),
        ):
            if watched is not None:
                resource = self.kube.resource(watched.api_version, watched.kind)
                self.plurals[name] = resource.plural
                self.watches[name] = self._watch(resource.collection(plan.namespace), handle, "")

    def run(self, release: Callable[[], None] | None = None) -> None:
        """All parts in their order, then deletion, which also follows when something goes wrong.

        ``release`` starts what was held back (a scheduler) and returns when it is ready. A deadline that comes before
        every part has reached its milestone is a result (``timed_out``).
        """
        self._remover.sweep(self.check)
        if self.plan.topology_labels:
            self.nodes = node_labels(self.kube, set(self.plan.topology_labels.values()))
        threads: list[threading.Thread] = []
        try:
            threads += [watch.start() for watch in self.watches.values()]
            try:
                self._parts(release)
            except DeadlineExceeded:
                self.timed_out = True
            self._end()
            self.delete()
        except BaseException:
            self._end()
            self._forced_delete()
            raise
        finally:
            for watch in self.watches.values():
                watch.stop()
            for thread in threads:
                thread.join(timeout=5.0)

    def create(self) -> None:
        """Send the objects of all parts at once, and look after nothing."""
        self._stage = list(self.tracker.parts.values())
        self._create_stage()

    def delete(self) -> None:
        """Delete everything and wait until the watch has seen the last pod go, and a list shows nothing."""
        check = bounded(DELETE_SECONDS + self.tracker.pods / DELETED_PER_SECOND, self.plan.name)
        jobs = [job for job in self.tracker.jobs.values() if job.posted is not None]
        self._stage = []
        self.timeline.delete_started = time.monotonic()
        self._remover.remove(jobs)
        self._remover.wait_gone(jobs, check)
        self._remover.sweep(check)
        self.timeline.delete_ended = time.monotonic()

    def progress(self) -> dict[str, Any]:
        """What the progress line shows now."""
        stage = self._stage
        if not stage:
            return {"done": self.tracker.gone, "asked": self.tracker.pods, "unit": "pods deleted"}
        untils = dict.fromkeys(state.part.until for state in stage)
        # Ten parts at once have a line of their own each in the samples, not here.
        names = f"{stage[0].part.name} " if len(stage) == 1 else ""
        what = f"{names}pods {' or '.join(untils)}"
        done = sum(state.reached(state.part.until) for state in stage)
        return {"done": done, "asked": sum(state.wanted for state in stage), "unit": what}

    def _parts(self, release: Callable[[], None] | None) -> None:
        for parts in self.plan.stages():
            self._stage = [self.tracker.parts[part.name] for part in parts]
            for part in parts:
                if part.delete is not None:
                    self._delete_some(part.delete)
            self._create_stage()
            if release is not None and any(part.measured for part in parts):
                for state in self._stage:
                    self._wait(state, "created")
                self.timeline.released = time.monotonic()
                release()
                self.timeline.release_ready, release = time.monotonic(), None
            for state in self._stage:
                self._wait(state, state.part.until)
                state.ended = time.monotonic()
            self._remove_passing(parts)

    def _create_stage(self) -> None:
        """Send the objects of all parts of the stage at the same time."""
        states = iter(self._stage)
        each = max(1, self.plan.connections // len(self._stage))
        run_threads(lambda: self._create(next(states), each), len(self._stage))

    def _create(self, state: PartState, connections: int) -> None:
        """Send every object of a part once; returns when the API server has answered for all of them."""
        part = state.part
        body, due, path = part.body(self.plan.name), part.send_times(), self._paths[part.form]
        work, lock = iter(state.jobs), threading.Lock()
        state.started = zero = time.monotonic()

        def send() -> None:
            while True:
                with lock:
                    job = next(work, None)
                    at = None if due is None or job is None else next(due)
                if job is None:
                    return
                if at is not None:
                    self._sleep_until(zero + at, state)
                self.check(self._state())
                self._create_one(job, path, body(job.name))
                if part.sequential:
                    self._follow(job)

        try:
            run_threads(send, 1 if part.sequential else min(connections, part.count))
        finally:
            state.sent = time.monotonic()

    def _create_one(self, job: JobRow, path: str, body: bytes) -> None:
        self.tracker.posted(job, time.monotonic())
        try:
            response = self.kube.request("POST", path, body=body)
        except Conflict:
            # An earlier try reached the API server although its answer was lost; the watch brings the uid.
            return
        except KubeError as error:
            self.tracker.failed(job, error.message)
            return
        found = _UID.search(response.data)
        self.tracker.answered(job, found.group(1).decode() if found else "", time.monotonic())

    def _follow(self, job: JobRow) -> None:
        """Until one Job of a sequential part has reached its milestone; one that does not stay is removed."""
        part = job.state.part
        while job.moment(part.until) is None and job.failure is None:
            self._pause()
        if not part.hold:
            self._remover.remove([job])
            self._remover.wait_gone([job], self.check)

    def _wait(self, state: PartState, milestone: str) -> None:
        """Until all of the part has reached the milestone or can no longer."""
        look_for_lost = time.monotonic() + LOST_SECONDS
        wanted = state.part.pods if milestone == "created" else state.wanted
        while state.reached(milestone) < wanted:
            self._pause()
            if time.monotonic() > look_for_lost:
                if state.settled(milestone) >= wanted:
                    return
                look_for_lost = time.monotonic() + LOST_SECONDS

    def _pause(self) -> None:
        """Wait a moment; raises what ends the load."""
        self.check(self._state())
        for watch in self.watches.values():
            if watch.error is not None:
                raise watch.error
        time.sleep(POLL_SECONDS)

    def _sleep_until(self, moment: float, state: PartState) -> None:
        while (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            self.check(self._state())
        state.latest_send = max(state.latest_send, -left)

    def _delete_some(self, deletion: Deletion) -> None:
        """Delete running pods of an earlier part, so many on each node; the first by name."""
        taken: Counter[str] = Counter()
        chosen = []
        for job in self.tracker.parts[deletion.part].jobs:
            row = next((row for row in job.pods if row.running is not None and not row.lost), None)
            if row is not None and job.removed is None and taken[row.node] < deletion.per_node:
                taken[row.node] += 1
                chosen.append(job)
        self._remover.remove(chosen)
        self._remover.wait_gone(chosen, self.check)

    def _remove_passing(self, parts: list[Part]) -> None:
        """Parts that do not stay go when the stage has ended."""
        passing = [
            job for part in parts if not part.hold for job in self.tracker.parts[part.name].jobs if job.removed is None
        ]
        self._remover.remove(passing)
        self._remover.wait_gone(passing, self.check)

    def _end(self) -> None:
        if self.ended is None:
            self.tracker.closed = True
            self.ended = time.monotonic()
            self.timeline.wall_offset_end = wall_offset()

    def _forced_delete(self) -> None:
        """After a failure: nothing of ours stays; the first failure is the one to report."""
        self._stage = []
        with contextlib.suppress(NightbenchError):
            self._remover.sweep(bounded(FORCED_SECONDS, self.plan.name))

    def _watch(self, path: str, handle: Callable[[str, dict[str, Any], float], None], selector: str) -> ListWatch:
        def take(event: Event) -> None:
            handle(event.type, event.object, event.at)

        return ListWatch(self.kube, path, take, label_selector=selector)

    def _state(self) -> str:
        return "; ".join(
            f"{state.part.name}: {state.created} of {state.part.pods} pods created, {state.bound} bound, "
            f"{state.running} running, {state.completed} completed, {state.failed} refused"
            for state in self._stage or self.tracker.parts.values()
        )


def bounded(seconds: float, name: str) -> Callable[[str], None]:
    """A check of its own for deletion, which also follows a load whose time is over."""
    deadline = time.monotonic() + seconds

    def check(state: str) -> None:
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"Deletion of load {name}: not done within {seconds:g} s; {state}.",
                hint="Is the controller manager running, and does anything hold a finalizer on these pods?",
            )

    return check


def node_labels(kube: Kube, wanted: set[str]) -> dict[str, Mapping[str, str]]:
    """Of every node the labels that are wanted; page by page, because whole nodes are large."""
    found: dict[str, Mapping[str, str]] = {}
    for page, _ in kube.pages(kube.resource("v1", "Node").collection(), limit=PAGE):
        for node in page:
            labels = node["metadata"].get("labels") or {}
            found[node["metadata"]["name"]] = {label: labels[label] for label in wanted & labels.keys()}
    return found
