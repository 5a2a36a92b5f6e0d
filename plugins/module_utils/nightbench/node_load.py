# SPDX-License-Identifier: GPL-3.0-or-later
"""Create many nodes, follow each until it is Ready, count what is there, delete them, account for every one.

A moment is the one at which this client first knew of it, on its monotonic clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .calico_metrics import TyphaState
from .calico_nodes import Asked, NodeCounts, count, is_ready
from .errors import ConfigurationError, NightbenchError, NotFound
from .kube import Call, Kube, Response
from .machine import MachineSampler
from .mock_nodes import LOOK_SECONDS, MockNodes, replicas
from .watch import Event, ListWatch

LOAD_LABEL = "nightbench.io/load"
NODES = "/api/v1/nodes"
TICK_SECONDS = 0.05


@dataclass
class NodeRow:
    name: str
    answered: float | None = None
    ready: float | None = None
    gone: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class NodePlan:
    """template: a Node without a name. fake_label: by which fake nodes are known, ours among them.

    clients: how many nodes stream from Typha in all, None where that was not said. mock_nodes: a Deployment of pods
    that stream from Typha, beside what streams already. settle_seconds: how long Typha's numbers may take to be right.
    """

    name: str
    count: int
    template: Mapping[str, Any]
    fake_label: tuple[str, str]
    clients: int | None = None
    connections: int = 16
    mock_nodes: Mapping[str, Any] | None = None
    settle_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.mock_nodes is not None:
            replicas(self.mock_nodes)
        labels = (self.template.get("metadata") or {}).get("labels") or {}
        if self.count < 1:
            raise ConfigurationError(f"count: {self.count} nodes cannot be created; at least one.")
        if labels.get(self.fake_label[0]) != self.fake_label[1]:
            raise ConfigurationError(
                f"template: its labels lack {'='.join(self.fake_label)}, by which fake nodes are known."
            )

    @property
    def selector(self) -> str:
        return f"{LOAD_LABEL}={self.name}"

    def node(self, name: str) -> dict[str, Any]:
        metadata = dict(self.template.get("metadata") or {})
        metadata["labels"] = {
            **metadata["labels"],
            LOAD_LABEL: self.name,
            "kubernetes.io/hostname": name,
        }
        metadata["name"] = name
        return {"apiVersion": "v1", "kind": "Node", **self.template, "metadata": metadata}

    def document(self) -> dict[str, Any]:
        mock = replicas(self.mock_nodes) if self.mock_nodes is not None else None
        return {"nodes": self.count, "connections": self.connections, "clients": self.clients, "mock_nodes": mock}


@dataclass
class NodeLoad:
    """One run; ``check`` raises when it is time to stop. ``typhas`` is called before and when every node is Ready."""

    kube: Kube
    plan: NodePlan
    check: Callable[[str], None]
    typhas: Callable[[], Sequence[TyphaState] | None]
    look: Callable[[], None] = lambda: None  # at what things cost, before the first create and when all are Ready
    mock: dict[str, Any] | None = field(init=False, default=None)
    rows: dict[str, NodeRow] = field(init=False)
    before: NodeCounts = field(init=False)
    counts: NodeCounts = field(init=False)
    started: float = 0.0
    created: float = 0.0
    waited: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        width = len(str(self.plan.count - 1))
        names = [f"{self.plan.name}-{number:0{width}d}" for number in range(self.plan.count)]
        self.rows = {name: NodeRow(name) for name in names}
        self._ready = self._gone = 0
        manifest = self.plan.mock_nodes
        self._mock = MockNodes(self.kube, manifest, self.check) if manifest is not None else None

    def run(self) -> None:
        """None of them is there when it begins, and none when it ends, however it ends."""
        self._clear()
        if self._mock is not None:
            self._mock.remove()  # what a killed run has left would count as what streams without ours
        self.before = self._count(Asked(0, 0), self.typhas())
        watch = ListWatch(self.kube, NODES, self._take, label_selector=self.plan.selector)
        thread = watch.start()
        try:
            self.look()
            self.started = time.monotonic()
            self._create()
            self.created = time.monotonic()
            self._wait(watch, lambda: self._ready, "Ready")
            self.waited = time.monotonic()
            self.look()
            self.counts = self._counted()
            # A name that was refused is somebody else's node.
            self._delete([row.name for row in self.rows.values() if row.failure is None])
            self._wait(watch, lambda: self._gone, "gone")
            self.ended = time.monotonic()
        except BaseException:
            for clear in (self._clear, *([self._mock.remove] if self._mock else [])):
                with contextlib.suppress(NightbenchError):
                    clear()
            raise
        finally:
            watch.stop()
            thread.join(timeout=5.0)

    def progress(self) -> dict[str, Any]:
        return {"done": self._ready, "asked": self.plan.count, "unit": "nodes Ready"}

    def _create(self) -> None:
        rows = list(self.rows.values())
        calls = [Call("POST", NODES, body=self.plan.node(row.name)) for row in rows]

        def done(index: int, answer: Response | NightbenchError) -> None:
            if isinstance(answer, NightbenchError):
                rows[index].failure = str(answer)
            else:
                rows[index].answered = time.monotonic()

        self.kube.map(calls, self.plan.connections, self._stopped, done)
        self.check(self._state())

    def _wait(self, watch: ListWatch, reached: Callable[[], int], what: str) -> None:
        wanted = sum(1 for row in self.rows.values() if row.failure is None)
        while reached() < wanted:
            self.check(f"{self._state()}; waiting until they are {what}")
            if watch.error is not None:
                raise watch.error
            time.sleep(TICK_SECONDS)

    def _take(self, event: Event) -> None:
        row = self.rows.get(event.object["metadata"]["name"])
        if row is None:
            return
        if event.type == "DELETED":
            self._gone += row.gone is None
            row.gone = row.gone or event.at
        elif row.ready is None and is_ready(event.object):
            row.ready = event.at
            self._ready += 1

    def _stopped(self) -> bool:
        try:
            self.check(self._state())
        except NightbenchError:
            return True
        return False

    def _counted(self) -> NodeCounts:
        """Every column. Typha's are those that they have become: it is scaled and clients connect after the nodes."""
        there = self.before.columns["existing"]
        asked = Asked(there["real"], there["fake"] + self.plan.count, self.plan.clients)
        if (mock := self._mock) is None:
            return self._settled(asked, lambda counts: counts.holds)
        if asked.clients is None:
            asked = replace(asked, clients={name: had + mock.asked for name, had in self.before.streaming.items()})
        # First the Typhas that so many nodes need: a few of them would refuse most of these clients.
        self._settled(asked, lambda counts: counts.typhas == counts.expected_typhas)
        begun = time.monotonic()
        mock.create()
        counts = self._settled(asked, lambda counts: counts.holds)
        seconds, running = round(time.monotonic() - begun, 3), mock.running()
        mock.remove()
        if running != mock.asked:
            wrong = f"{running:,} mock-nodes run, {mock.asked:,} were asked for"
            counts = replace(counts, problems=[*counts.problems, wrong])
        self.mock = {
            "asked": mock.asked,
            "running": running,
            "streaming_before": self.before.streaming,
            "streaming_seconds": seconds if counts.holds else None,
            "look_seconds": LOOK_SECONDS,
        }
        return counts

    def _settled(self, asked: Asked, done: Callable[[NodeCounts], bool]) -> NodeCounts:
        """The last look, which is the first one where no client of Typha was asked for."""
        until = time.monotonic() + self.plan.settle_seconds
        while True:
            counts = self._count(asked, self.typhas())
            if done(counts) or asked.clients is None or time.monotonic() >= until:
                return counts
            self.check(f"{self._state()}; {'; '.join(counts.problems)}")
            time.sleep(LOOK_SECONDS)

    def _count(self, asked: Asked, typhas: Sequence[TyphaState] | None) -> NodeCounts:
        nodes, _ = self.kube.list_pages(NODES)
        return count(asked, nodes, typhas, self.plan.fake_label)

    def _delete(self, names: Iterable[str]) -> None:
        answers = self.kube.map([Call("DELETE", f"{NODES}/{name}") for name in names], self.plan.connections)
        for answer in answers:
            if isinstance(answer, NightbenchError) and not isinstance(answer, NotFound):
                raise answer

    def _clear(self) -> None:
        items, _ = self.kube.list_pages(NODES, label_selector=self.plan.selector)
        self._delete(item["metadata"]["name"] for item in items)

    def _state(self) -> str:
        created = sum(1 for row in self.rows.values() if row.answered is not None)
        return f"{created} of {self.plan.count} nodes created, {self._ready} Ready, {self._gone} gone"


def values(load: NodeLoad, machine: MachineSampler) -> dict[str, Any]:
    rows = list(load.rows.values())
    counts = load.counts
    return {
        "plan": load.plan.document(),
        "asked": len(rows),
        "created": sum(1 for row in rows if row.answered is not None),
        "ready": sum(1 for row in rows if row.ready is not None),
        "gone": sum(1 for row in rows if row.gone is not None),
        "failures": sorted({row.failure for row in rows if row.failure is not None})[:5],
        "create_seconds": round(load.created - load.started, 6),
        "before": load.before.columns["existing"],
        "columns": counts.columns,
        "streaming": counts.streaming if counts.typhas is not None else None,
        "typhas": {
            "there": counts.typhas,
            "expected": counts.expected_typhas,
            "most_connections": counts.most_connections,
            "connection_limit": counts.connection_limit,
        },
        "counts_hold": counts.holds,
        "problems": list(counts.problems),
        "mock": load.mock,
        "retries": dict(load.kube.retries),
        "clock": {"name": "client monotonic: answers and watch events"},
        "machine": machine.window(load.started, load.waited),
    }


def rows(load: NodeLoad) -> Iterable[dict[str, Any]]:
    """Moments in seconds since the first create."""
    for row in load.rows.values():
        moments = {name: getattr(row, name) for name in ("answered", "ready", "gone")}
        since = {name: None if at is None else round(at - load.started, 6) for name, at in moments.items()}
        yield asdict(row) | since
