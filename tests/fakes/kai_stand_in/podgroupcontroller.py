# SPDX-License-Identifier: GPL-3.0-or-later
"""podgroupcontroller: writes into each PodGroup's status what its pods ask for and have."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH

from tests.fakes.kai_stand_in import names, snapshot
from tests.fakes.kai_stand_in.model import Amount, total
from tests.fakes.kai_stand_in.process import Component
from tests.fakes.kai_stand_in.store import Key, WorkQueue

#: Changes of a group's pods within this time are written together.
TOGETHER_SECONDS = 0.5


class PodGroupController(Component):
    """One PATCH of the status for each change of a group's sums."""

    def __init__(self, options: dict[str, Any], planted: frozenset[str]) -> None:
        super().__init__("podgroupcontroller", options, planted)
        self.queue = WorkQueue()
        self.members: dict[Key, set[Key]] = {}
        self.group_of: dict[Key, Key] = {}
        self.written: dict[Key, dict[str, Any]] = {}
        mine = f"spec.schedulerName={options['scheduler-name']}"
        self.priorities = self.store(
            "/apis/scheduling.k8s.io/v1/priorityclasses", reduce=lambda one: (one["metadata"]["name"], one["value"])
        )
        self.groups = self.store(f"{names.POD_GROUPS}/podgroups", changed=self.gone)
        self.pods = self.store("/api/v1/pods", reduce=snapshot.pod_facts, changed=self.seen, field_selector=mine)
        self.reconcile(self.queue, options["max-concurrent-reconciles"], self.write)

    def seen(self, key: Key) -> None:
        """A pod changed: so did the sums of its group."""
        pod = self.pods.get(key)
        group = (key[0], pod.group) if pod is not None and pod.group else self.group_of.get(key)
        if group is None:
            return
        members = self.members.setdefault(group, set())
        if pod is None:
            members.discard(key)
            self.group_of.pop(key, None)
        else:
            members.add(key)
            self.group_of[key] = group
        self.queue.add(group, TOGETHER_SECONDS)

    def gone(self, key: Key) -> None:
        """A group that was deleted is forgotten."""
        if self.groups.get(key) is None:
            self.queue.add(key)

    def write(self, key: Key) -> None:
        item = self.groups.get(key)
        if item is None:
            self.members.pop(key, None)
            self.written.pop(key, None)
            return
        there = [self.pods.get(member) for member in list(self.members.get(key, ()))]
        live = [pod for pod in there if pod is not None and pod.phase not in snapshot.ENDED]
        group = snapshot.group_of(item, dict(self.priorities.values()))
        allocated = quantities(total(pod.request for pod in live if pod.node))
        status = {
            "requested": quantities(total(pod.request for pod in live)),
            "allocated": allocated,
            "allocatedNonPreemptible": {} if group.preemptible else allocated,
        }
        if self.written.get(key) == status:
            return
        path = f"{names.groups_of(key[0])}/{key[1]}/status"
        try:
            sums = {what: replacing(amounts) for what, amounts in status.items()}
            body = {"status": {"resourcesStatus": sums}}
            self.client("podgroups").request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except NotFound:
            return
        self.written[key] = status


def quantities(amount: Amount) -> dict[str, str]:
    """As Kubernetes writes them; what is nothing is left out."""
    texts = {
        names.GPU: f"{amount.gpu:g}",
        "cpu": f"{amount.cpu:.0f}m",
        "memory": f"{amount.memory:.0f}M",
    }
    values = (amount.gpu, amount.cpu, amount.memory)
    return {name: text for (name, text), value in zip(texts.items(), values, strict=True) if value}


def replacing(amounts: dict[str, str]) -> dict[str, str | None]:
    """For a merge patch: the amounts, and null for what fell to nothing, which alone removes it."""
    return {**dict.fromkeys((names.GPU, "cpu", "memory")), **amounts}
