# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until many objects are what they should be: one list and watch for a condition, one deadline for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError, DeadlineExceeded, NightbenchError, Stopped
from .kube import Kube
from .predicates import PREDICATES, check_parameters
from .reasons import Hopeless
from .watch import Event, ListWatch

NAMED = 10  # objects that are named when they are not ready
TICK_SECONDS = 0.5  # how often the stop file is looked for
KIND_SECONDS = 0.5  # between two looks for a kind that is not served yet
FIRST_LOOK_SECONDS = 5.0  # what a slow API server may take beyond a short time-out: one look is always had
_UNSEEN = "nothing has been seen yet"


@dataclass(frozen=True)
class Goal:
    """Objects of a kind and what they should be.

    With names, each of them; else as many as `count` says of those that carry the labels; without a count all that
    are there, and at least one.
    """

    api_version: str
    kind: str
    predicate: str
    namespace: str | None = None
    names: tuple[str, ...] = ()
    label_selector: str = ""
    count: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_parameters(self.predicate, self.parameters)
        if self.names and self.label_selector:
            raise ConfigurationError(f"{self}: give names or a label_selector, not both.")
        if self.count is not None and (self.names or self.predicate == "absent"):
            raise ConfigurationError(f"{self}: a count goes with neither names nor absent.")
        if self.count is not None and self.count < 0:
            raise ConfigurationError(f"{self}: count is {self.count}, less than 0.")

    def __str__(self) -> str:
        place = f" in {self.namespace}" if self.namespace else ""
        labels = f" with {self.label_selector}" if self.label_selector else ""
        return f"{self.kind}{labels}{place} {self.predicate}"


class Look:
    """What is known of one goal's objects: those that are ready, and why the others are not."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.reasons: dict[str, str | None] = {}
        self.ready = 0
        self._hopeless: dict[str, float] = {}  # since when
        self.problem: str | None = _UNSEEN  # why the objects could not even be listed
        self._predicate = PREDICATES[goal.predicate]

    def see(self, event: Event) -> None:
        metadata = event.object["metadata"]
        if self.goal.names and metadata["name"] not in self.goal.names:
            return
        key = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
        # Counted as it goes: there may be 100,000 of them, and somebody asks after every event.
        self.ready -= self.reasons.pop(key, "") is None
        since = self._hopeless.pop(key, time.monotonic())
        if event.type == "DELETED":
            return
        reason = self.reasons[key] = self._predicate(event.object, self.goal.parameters)
        self.ready += reason is None
        if isinstance(reason, Hopeless):
            self._hopeless[key] = since

    @property
    def hopeless(self) -> str | None:
        """The first object that has no hope, and why."""
        now = time.monotonic()
        for key, since in self._hopeless.items():
            reason = self.reasons[key]
            if isinstance(reason, Hopeless) and now - since >= reason.after_seconds:
                return f"{key}: {reason}"
        return None

    @property
    def asked(self) -> int:
        """How many have to be ready."""
        if self.goal.predicate == "absent":
            return 0
        if self.goal.count is not None:
            return self.goal.count
        return len(self.goal.names) or max(1, len(self.reasons))

    @property
    def met(self) -> bool:
        if self.problem is not None:
            return False
        return not self.reasons if self.goal.predicate == "absent" else self.ready >= self.asked

    def not_ready(self) -> list[dict[str, str]]:
        """Up to ten objects and why; names that are not there at all come last."""
        found = [{"object": name, "reason": why} for name, why in sorted(self.reasons.items()) if why is not None]
        seen = {name.rpartition("/")[2] for name in self.reasons}
        if self.goal.predicate != "absent":
            found += [{"object": name, "reason": "it does not exist"} for name in self.goal.names if name not in seen]
        return found[:NAMED]

    def as_json(self) -> dict[str, Any]:
        goal = self.goal
        return {
            "kind": goal.kind,
            "namespace": goal.namespace,
            "predicate": goal.predicate,
            "asked": self.asked,
            "existing": len(self.reasons),
            "ready": self.ready,
            "met": self.met,
            "not_ready": self.not_ready(),
            "problem": self.problem,
        }

    def told(self) -> str:
        if self.problem is not None:
            return f"{self.goal}: {self.problem}"
        if self.goal.predicate == "absent":
            head = f"{self.goal}: {len(self.reasons)} are still there"
        else:
            head = f"{self.goal}: {self.ready} of {self.asked}, {len(self.reasons)} exist"
        named = "; ".join(f"{one['object']}: {one['reason']}" for one in self.not_ready())
        return f"{head}. Not yet: {named}" if named else head


class Waiting:
    """All goals of one call; its looks say at any time how far each of them is."""

    def __init__(self, kube: Kube, looks: list[Look]) -> None:
        self.looks = looks
        self._kube = kube
        self._changed = threading.Condition()
        self._failed: NightbenchError | None = None
        self._ended = threading.Event()
        self._watches: list[ListWatch] = []

    def look_once(self) -> None:
        """One list of each, no waiting."""
        for look in self.looks:
            try:
                path = self._path(look.goal)
            except ConfigurationError as error:
                self._no_kind(look, error)
                continue
            items, _ = self._kube.list_pages(
                path, label_selector=look.goal.label_selector, field_selector=_field_selector(look.goal)
            )
            look.problem = None
            for item in items:
                look.see(Event("LISTED", item, time.monotonic()))

    def wait(self, timeout_seconds: float, stop_asked: Callable[[], bool] = lambda: False) -> None:
        """Return when all goals are met at the same time; raises when it will not come to that."""
        deadline = time.monotonic() + timeout_seconds
        threads = [threading.Thread(target=self._follow, args=(look,), daemon=True) for look in self.looks]
        try:
            for thread in threads:
                thread.start()
            with self._changed:
                while not all(look.met for look in self.looks):
                    if self._failed is not None:
                        raise self._failed
                    self._give_up_hopeless()
                    if stop_asked():
                        raise Stopped("wait: the run was asked to stop.")
                    left = deadline - time.monotonic()
                    unseen = any(look.problem == _UNSEEN for look in self.looks)
                    if left <= (-FIRST_LOOK_SECONDS if unseen else 0):
                        raise self._too_late(timeout_seconds)
                    self._changed.wait(min(left, TICK_SECONDS) if left > 0 else TICK_SECONDS)
        finally:
            self._ended.set()
            for watch in list(self._watches):
                watch.stop()
            for thread in threads:
                thread.join(timeout=5)

    def progress(self) -> dict[str, Any]:
        with self._changed:
            return {
                "done": sum(min(look.ready, look.asked) for look in self.looks),
                "asked": sum(look.asked for look in self.looks),
                "unit": "objects ready",
            }

    def _follow(self, look: Look) -> None:
        """One goal's list and watch, in a thread of its own."""
        try:
            path = self._await_kind(look)
            if path is None:
                return

            def handle(event: Event) -> None:
                with self._changed:
                    look.see(event)
                    if look.problem is None:
                        self._changed.notify_all()

            watch = ListWatch(
                self._kube,
                path,
                handle,
                label_selector=look.goal.label_selector,
                field_selector=_field_selector(look.goal),
            )
            self._watches.append(watch)
            if self._ended.is_set():
                return
            following = watch.start()
            with self._changed:
                look.problem = None
                self._changed.notify_all()
            following.join()
            if watch.error is not None and not self._ended.is_set():
                raise watch.error
        except NightbenchError as error:
            with self._changed:
                self._failed = error
                self._changed.notify_all()

    def _await_kind(self, look: Look) -> str | None:
        """The path of the goal's objects, as soon as the API server knows the kind; None when there is no need."""
        while not self._ended.is_set():
            try:
                return self._path(look.goal)
            except ConfigurationError as error:
                with self._changed:
                    self._no_kind(look, error)
                    self._changed.notify_all()
                if look.problem is None:
                    return None
                self._ended.wait(KIND_SECONDS)
                self._kube.forget_discovery()
        return None

    def _path(self, goal: Goal) -> str:
        return self._kube.resource(goal.api_version, goal.kind).collection(goal.namespace)

    def _no_kind(self, look: Look, error: ConfigurationError) -> None:
        """Of a kind that is not served, all objects are absent."""
        look.problem = None if look.goal.predicate == "absent" else error.message

    def _give_up_hopeless(self) -> None:
        for look in self.looks:
            if look.hopeless:
                raise NightbenchError(f"wait for {look.goal}: {look.hopeless}.", hint="Waiting longer is in vain.")

    def _too_late(self, seconds: float) -> DeadlineExceeded:
        told = "\n".join(look.told() for look in self.looks if not look.met)
        return DeadlineExceeded(f"Not all is ready after {seconds:g} s.\n{told}")


def _field_selector(goal: Goal) -> str:
    """The API server can look for one name itself, not for several."""
    return f"metadata.name={goal.names[0]}" if len(goal.names) == 1 else ""
