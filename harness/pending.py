# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a pod is pending, in plain words, from what the cluster says about it. pending_look.py asks the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.words import nearest

Object = Mapping[str, Any]
DEFAULT_SCHEDULER = "default-scheduler"
SCHEDULER = "kai-scheduler"
QUEUE_LABEL = "kai.scheduler/queue"
NODE_POOL_LABEL = "kai.scheduler/node-pool"
GROUP_ANNOTATION = "pod-group-name"
SKIP_ANNOTATION = "kai.scheduler/skip-podgrouper"
DEFAULT_QUEUE = "default-queue"
# Younger than this, a pod has simply not had its turn.
TURN_SECONDS = 15


@dataclass(frozen=True)
class Cause:
    """One reason. Not `certain`: what is seen fits it, and something else may be behind it."""

    check: str
    problem: str
    mend: str = ""
    certain: bool = True


@dataclass(frozen=True)
class Situation:
    """A pod and what has a say in its scheduling. None: that kind is not served here, or could not be read."""

    pod: Object
    now: datetime
    config: Object | None = None
    pod_group: Object | None = None
    queues: Mapping[str, Object] | None = None
    shards: tuple[Object, ...] | None = None
    bind_request: Object | None = None
    deployments: tuple[Object, ...] = ()
    # Of the pods of its group, how many there are; None where that was not counted.
    group_pods: int | None = None
    # Whether a pod is bound that names the same scheduler.
    scheduler_binds: bool = False
    node_pools: frozenset[str] | None = frozenset()
    nodes: bool = True
    priority: int | None = None
    not_read: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def labels(self) -> Object:
        return self.pod["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Object:
        return self.pod["metadata"].get("annotations") or {}

    @property
    def scheduler(self) -> str:
        return str(self.pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER)

    @property
    def kai(self) -> str:
        """The name under which KAI schedules here."""
        return str(self._global().get("schedulerName") or SCHEDULER)

    @property
    def is_kai(self) -> bool:
        return self.scheduler == self.kai

    @property
    def queue_label(self) -> str:
        return str(self._global().get("queueLabelKey") or QUEUE_LABEL)

    @property
    def pool_label(self) -> str:
        return str(self._global().get("nodePoolLabelKey") or NODE_POOL_LABEL)

    @property
    def pool(self) -> str:
        return str(self.labels.get(self.pool_label) or "")

    @property
    def age(self) -> float:
        return seconds_since(self.pod["metadata"].get("creationTimestamp"), self.now)

    def condition(self, kind: str) -> Object:
        conditions = (self.pod.get("status") or {}).get("conditions") or ()
        return next((one for one in conditions if one.get("type") == kind), {})

    def _global(self) -> Object:
        return ((self.config or {}).get("spec") or {}).get("global") or {}


@dataclass(frozen=True)
class Answer:
    """`causes` in the order in which they stand in the way; empty with `pending`: none was found."""

    pod: str
    pending: bool
    said: str
    causes: tuple[Cause, ...] = ()
    not_read: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing is wrong or the cause is said, 1 it is pending and nobody knows why."""
        return 1 if self.pending and not self.causes else 0


def explain(situation: Situation) -> Answer:
    """What is known of the pod, and every cause that stands in its way."""
    from harness.pending_kai import RULES as KAI

    said = not_pending(situation)
    if said:
        return Answer(situation.name, False, said, not_read=situation.not_read)
    rules = (*FIRST, *(KAI if situation.is_kai else ()), *LAST)
    causes: list[Cause] = []
    for rule in rules:
        causes += rule(situation, bool(causes))
    kind = "a KAI pod" if situation.is_kai else f"a pod of the scheduler '{situation.scheduler}'"
    said = f"{kind}, pending for {duration(situation.age)}"
    return Answer(situation.name, True, said, tuple(causes), situation.not_read)


def not_pending(situation: Situation) -> str:
    """What a pod is that waits for no scheduler; empty for one that does."""
    status, node = situation.pod.get("status") or {}, situation.pod["spec"].get("nodeName")
    phase = status.get("phase", "Pending")
    if phase != "Pending":
        return f"not pending: it is {phase}" + (f" on {node}" if node else "")
    if not node:
        return ""
    waiting = [
        f"{one['name']}: {reason['reason']}" + (f" ({reason['message']})" if reason.get("message") else "")
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
        if (reason := (one.get("state") or {}).get("waiting")) and reason.get("reason")
    ]
    told = f"; {'; '.join(waiting)}" if waiting else ""
    return f"not waiting for a scheduler: it is bound to {node}, whose kubelet has not started it yet{told}"


def _deleted(situation: Situation, found: bool) -> Iterator[Cause]:
    since = situation.pod["metadata"].get("deletionTimestamp")
    if since:
        finalizers = situation.pod["metadata"].get("finalizers") or ()
        held = f", held by {', '.join(finalizers)}" if finalizers else ""
        yield Cause("deleted", f"it is being deleted since {since}{held}: no scheduler takes it any more")


def _gated(situation: Situation, found: bool) -> Iterator[Cause]:
    gates = [gate["name"] for gate in situation.pod["spec"].get("schedulingGates") or ()]
    if gates:
        owner = "whoever set them has to remove them"
        yield Cause("scheduling gates", f"it is held back by the scheduling gates {', '.join(gates)}", owner)


def _no_nodes(situation: Situation, found: bool) -> Iterator[Cause]:
    if not situation.nodes:
        yield Cause("nodes", "the cluster has no node at all")


def _name(situation: Situation, found: bool) -> Iterator[Cause]:
    if situation.is_kai or situation.scheduler_binds:
        return
    if situation.scheduler == DEFAULT_SCHEDULER:
        if situation.queue_label in situation.labels:
            yield Cause(
                "scheduler name",
                f"it has KAI's queue label and asks for the scheduler '{DEFAULT_SCHEDULER}': KAI leaves it alone",
                f"set spec.schedulerName: {situation.kai} in what makes the pod",
            )
        return
    if situation.condition("PodScheduled"):
        return
    near = nearest(situation.scheduler, (DEFAULT_SCHEDULER, situation.kai))
    yield Cause(
        "scheduler name",
        f"no scheduler by the name '{situation.scheduler}' has ever bound a pod here",
        f"did you mean spec.schedulerName: {near}?" if near else "start that scheduler, or name another one",
        certain=False,
    )


def _condition(situation: Situation, found: bool) -> Iterator[Cause]:
    """What the scheduler itself wrote into the pod; of KAI only when it wrote nothing better."""
    condition = situation.condition("PodScheduled")
    if condition.get("status") != "False" or condition.get("reason") == "SchedulingGated":
        return
    if situation.is_kai and found:
        return
    told = condition.get("message") or condition.get("reason") or "without a reason"
    yield Cause("unschedulable", f"the scheduler '{situation.scheduler}' finds no node for it: {told}")


def _no_turn(situation: Situation, found: bool) -> Iterator[Cause]:
    """The default scheduler writes a condition within seconds, when it runs."""
    if found or situation.is_kai or situation.condition("PodScheduled"):
        return
    if situation.age < TURN_SECONDS:
        yield Cause("age", f"it was made {duration(situation.age)} ago: it has not had its turn yet", "ask again soon")
        return
    binds = "it has bound other pods" if situation.scheduler_binds else "no pod here was ever bound by it"
    yield Cause(
        "scheduler",
        f"the scheduler '{situation.scheduler}' has not looked at it in {duration(situation.age)}: "
        f"it seems not to run ({binds})",
        "look at its process or pod, and at the end of its log",
        certain=False,
    )


Rule = Callable[[Situation, bool], Iterator[Cause]]
FIRST: tuple[Rule, ...] = (_deleted, _gated, _no_nodes, _name)
LAST: tuple[Rule, ...] = (_condition, _no_turn)


def seconds_since(stamp: str | None, now: datetime) -> float:
    if not stamp:
        return 0.0
    then = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return max(0.0, (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def duration(seconds: float) -> str:
    """42 s, 7 min, 3 h or 2 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
