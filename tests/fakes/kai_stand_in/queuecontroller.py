# SPDX-License-Identifier: GPL-3.0-or-later
"""queuecontroller: writes into each Queue's status its children and the sums of its PodGroups, and serves them."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH

from tests.fakes.kai_stand_in import names, snapshot
from tests.fakes.kai_stand_in.model import total
from tests.fakes.kai_stand_in.podgroupcontroller import quantities, replacing
from tests.fakes.kai_stand_in.process import Component
from tests.fakes.kai_stand_in.store import Key, WorkQueue

TOGETHER_SECONDS = 0.5
WORKERS = 2
FIGURES = ("queue_info", "queue_deserved_gpus", "queue_quota_cpu_cores", "queue_quota_memory_bytes",
           "queue_allocated_gpus", "queue_allocated_cpu_cores", "queue_allocated_memory_bytes")  # fmt: skip


class QueueController(Component):
    """One PATCH of a Queue's status for each change of its sums."""

    def __init__(self, options: dict[str, Any], planted: frozenset[str]) -> None:
        super().__init__("queuecontroller", options, planted)
        self.queue = WorkQueue()
        self.written: dict[Key, dict[str, Any]] = {}
        self.queues = self.store(names.QUEUES, changed=self.seen)
        self.groups = self.store(f"{names.POD_GROUPS}/podgroups", reduce=sums, changed=self.seen)
        self.reconcile(self.queue, WORKERS, self.write)

    def seen(self, key: Key) -> None:
        """Whatever changed, all queues are looked at together: there are few of them."""
        self.queue.add(("", ""), TOGETHER_SECONDS)

    def write(self, _: Key) -> None:
        queues = {item["metadata"]["name"]: item for item in self.queues.values()}
        groups = self.groups.values()
        self.serve(queues, groups)
        for name in queues:
            below = subtree(name, queues)
            mine = [group for group in groups if group["queue"] in below]
            status: dict[str, Any] = {
                "childQueues": sorted(child for child, item in queues.items() if parent_of(item) == name),
                **{what: quantities(total(group[what] for group in mine)) for what in SUMS},
            }
            if self.written.get(("", name)) == status:
                continue
            try:
                sums_of = {what: replacing(status[what]) for what in SUMS}
                body = {"status": {"childQueues": status["childQueues"], **sums_of}}
                path = f"{names.QUEUES}/{name}/status"
                self.client("queues").request("PATCH", path, body=body, content_type=MERGE_PATCH)
            except NotFound:
                continue
            self.written["", name] = status

    def serve(self, queues: dict[str, Any], groups: list[dict[str, Any]]) -> None:
        prefix = f"{self.options['metrics-namespace']}_" if self.options["metrics-namespace"] else ""
        for figure in FIGURES:
            self.metrics.clear(prefix + figure)
        for name, item in queues.items():
            below = subtree(name, queues)
            has = total(group["allocated"] for group in groups if group["queue"] in below)
            quota = snapshot.queue_of(item).quota
            labels = {"queue_name": name, "queue_metadata_name": name}
            labels["queue_display_name"] = item["spec"].get("displayName") or ""
            values = (
                1.0,
                quota.gpu,
                cores(quota.cpu),
                octets(quota.memory),
                has.gpu,
                cores(has.cpu),
                octets(has.memory),
            )
            for figure, value in zip(FIGURES, values, strict=True):
                self.metrics.set(prefix + figure, value, **labels)


SUMS = ("requested", "allocated", "allocatedNonPreemptible")


def sums(item: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a PodGroup."""
    status = (item.get("status") or {}).get("resourcesStatus") or {}
    return {"queue": item["spec"].get("queue"), **{what: snapshot.amount(status.get(what) or {}) for what in SUMS}}


def parent_of(item: dict[str, Any]) -> str | None:
    return item["spec"].get("parentQueue") or None


def subtree(name: str, queues: dict[str, Any]) -> set[str]:
    """A queue and all below it."""
    found = {name}
    while True:
        more = {child for child, item in queues.items() if parent_of(item) in found} - found
        if not more:
            return found
        found |= more


def cores(millicores: float) -> float:
    return millicores / 1000 if millicores > 0 else millicores


def octets(megabytes: float) -> float:
    return megabytes * 1e6 if megabytes > 0 else megabytes
