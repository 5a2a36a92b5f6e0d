# SPDX-License-Identifier: GPL-3.0-or-later
"""Create and delete a policy while probes run, and tell when each flow of each pair followed.

The legs of a change, where they can be seen: the API server's answer, a watcher of our own that reads it, a counter
that moves (Typha's breadcrumbs, Felix's applies), and on the wire the first packet that obeys.
"""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import policy_latency
from .errors import ConfigurationError, NightbenchError, NotFound
from .exposition import parse
from .kube import Kube, Resource
from .pod_load import wall_offset
from .policy_latency import ALLOW, DENY, Change, Transition
from .policy_pairs import Pair, Probes
from .watch import Event, ListWatch

#: The probes have to have seen the opposite before the first change.
WARM_UP_SECONDS = 1.0
TICK_SECONDS = 0.05
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Witness:
    """A counter on a page of metrics; the moment when it moves is a leg of the change."""

    name: str
    url: str
    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def look(self) -> float | None:
        """None where nobody answers, or where the page has no such number now."""
        try:
            with urllib.request.urlopen(self.url, timeout=ANSWER_SECONDS) as answer:
                page = parse(answer.read().decode("utf-8", "replace"), self.url)
        except (OSError, NightbenchError, ValueError):
            return None
        base = next((self.metric.removesuffix(end) for end in ("_sum", "_count") if self.metric.endswith(end)), "")
        if base in page:
            return page[base].part(self.metric.removeprefix(base))
        return page[self.metric].total(**self.labels) if self.metric in page else None


@dataclass(frozen=True)
class PolicyPlan:
    """creates: what the policy does while it is there, deny or allow; the other holds while it is not."""

    policy: Mapping[str, Any]
    namespace: str
    pairs: Sequence[Pair]
    creates: str = DENY
    cycles: int = 3
    hold_seconds: float = 2.0
    interval: float = 0.005
    witnesses: Sequence[Witness] = ()
    witness_seconds: float = 0.1

    def __post_init__(self) -> None:
        if not self.policy.get("kind") or not self.policy.get("apiVersion"):
            raise ConfigurationError("policy: it needs apiVersion and kind, as every object.")
        if not (self.policy.get("metadata") or {}).get("name"):
            raise ConfigurationError("policy: it needs metadata.name: it is created and deleted again and again.")
        if self.cycles < 1 or not 0.001 <= self.interval <= 0.1:
            raise ConfigurationError(
                f"{self.cycles} cycles with a probe every {self.interval:g} s: at least one, 1 to 100 ms."
            )
        shortest = policy_latency.BEFORE_SECONDS + policy_latency.SETTLED_PACKETS * self.interval * 2
        if self.hold_seconds < shortest:
            raise ConfigurationError(
                f"hold_seconds: {self.hold_seconds:g} s are too short to tell what holds; at least {shortest:.1f} s."
            )

    @property
    def seconds(self) -> float:
        return WARM_UP_SECONDS + 2 * self.cycles * self.hold_seconds

    def document(self) -> dict[str, Any]:
        return {
            "pairs": [pair.name for pair in self.pairs],
            "cycles": self.cycles,
            "changes": 2 * self.cycles,
            "creates": self.creates,
            "hold_seconds": self.hold_seconds,
            "interval_seconds": self.interval,
            "predicted_seconds": round(self.seconds, 3),
        }


@dataclass
class Made:
    """A change as it was made, with what others saw of it."""

    change: Change
    action: str
    until: float
    watched: float | None = None
    moved: dict[str, tuple[float, float]] = field(default_factory=dict)  # witness → moment, resolution


class PolicyRun:
    """One run; ``check`` raises when it is time to stop."""

    def __init__(self, kube: Kube, plan: PolicyPlan, folder: Path, check: Callable[[str], None]) -> None:
        self.kube, self.plan, self._check = kube, plan, check
        self.made: list[Made] = []
        self.probes = Probes(plan.pairs, folder, interval=plan.interval, seconds=plan.seconds)
        self.transitions: list[tuple[str, Transition]] = []
        self.ends: list[tuple[Pair, Mapping[str, Any], Mapping[str, Any]]] = []
        self.flows: dict[tuple[str, str], policy_latency.Probes] = {}
        self.started, self.ended = 0.0, 0.0
        self.wall_offset = wall_offset()
        self._seen: list[Event] = []
        self._looks: dict[str, list[tuple[float, float]]] = {witness.name: [] for witness in plan.witnesses}
        self._over = threading.Event()

    def run(self) -> None:
        """The policy is not there when it begins, and not when it ends, however it ends."""
        resource = self.kube.resource(str(self.plan.policy["apiVersion"]), str(self.plan.policy["kind"]))
        name = str(self.plan.policy["metadata"]["name"])
        self._delete(resource, name)
        watch = ListWatch(self.kube, resource.collection(self.plan.namespace), self._seen.append)
        thread = watch.start()
        lookers = [threading.Thread(target=self._look, args=(one,), daemon=True) for one in self.plan.witnesses]
        for looker in lookers:
            looker.start()
        try:
            with self.probes.running():
                self.started = time.monotonic()
                self._hold(WARM_UP_SECONDS)
                for cycle in range(self.plan.cycles):
                    self._create(resource, cycle)
                    self._remove(resource, name, cycle)
                self.ended = time.monotonic()
        finally:
            self._over.set()
            with contextlib.suppress(NightbenchError):
                self._delete(resource, name)
            watch.stop()
            thread.join(timeout=5.0)
            for looker in lookers:
                looker.join(timeout=ANSWER_SECONDS)
        self._judge()

    def progress(self) -> dict[str, Any]:
        return {"done": len(self.made), "asked": 2 * self.plan.cycles, "unit": "policy changes"}

    def _create(self, resource: Resource, cycle: int) -> None:
        wanted = self.plan.creates
        path = resource.collection(self.plan.namespace)
        self._change(
            f"create-{cycle + 1}", wanted, "ADDED", lambda: self.kube.request("POST", path, body=self.plan.policy)
        )

    def _remove(self, resource: Resource, name: str, cycle: int) -> None:
        wanted = ALLOW if self.plan.creates == DENY else DENY
        path = resource.item(name, self.plan.namespace)
        self._change(f"delete-{cycle + 1}", wanted, "DELETED", lambda: self.kube.request("DELETE", path))

    def _change(self, name: str, wanted: str, event: str, request: Callable[[], object]) -> None:
        requested = time.monotonic()
        request()
        change = Change(name, wanted, requested, time.monotonic())
        self.made.append(Made(change, event, change.answered + self.plan.hold_seconds))
        self._hold(self.plan.hold_seconds)

    def _hold(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check(f"{len(self.made)} of {2 * self.plan.cycles} changes made")
            self.probes.check()
            time.sleep(min(TICK_SECONDS, left))

    def _delete(self, resource: Resource, name: str) -> None:
        with contextlib.suppress(NotFound):
            self.kube.request("DELETE", resource.item(name, self.plan.namespace))

    def _look(self, witness: Witness) -> None:
        while not self._over.wait(self.plan.witness_seconds):
            before = time.monotonic()
            value = witness.look()
            if value is not None:
                self._looks[witness.name].append((before, value))

    def _judge(self) -> None:
        name = str(self.plan.policy["metadata"]["name"])
        for made in self.made:
            change = made.change
            made.watched = next(
                (event.at for event in self._seen
                 if event.type == made.action and event.object["metadata"]["name"] == name
                 and change.requested <= event.at < made.until),
                None,
            )  # fmt: skip
            for witness, looks in self._looks.items():
                if (moment := _moved(looks, change.requested, made.until)) is not None:
                    made.moved[witness] = moment
        self.ends = self.probes.results()
        for pair, sender, receiver in self.ends:
            for flow in policy_latency.probes(sender, receiver):
                self.flows[pair.name, flow.flow] = flow
                for made in self.made:
                    self.transitions.append((pair.name, policy_latency.transition(flow, made.change, made.until)))


def _moved(looks: Sequence[tuple[float, float]], start: float, end: float) -> tuple[float, float] | None:
    """When the number first differs from the last one before the change, and how long the look before was ago."""
    before = [look for look in looks if look[0] < start]
    if not before:
        return None
    last, value = before[-1]
    for at, seen in looks:
        if start <= at < end:
            if seen != value:
                return at, at - last
            last = at
    return None
