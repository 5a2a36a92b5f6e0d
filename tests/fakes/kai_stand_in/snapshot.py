# SPDX-License-Identifier: GPL-3.0-or-later
"""From the API server's objects to the cluster that one cycle works on."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kai_stand_in import names
from tests.fakes.kai_stand_in.binder import owner_uid
from tests.fakes.kai_stand_in.model import Amount, Cluster, Group, Node, Pod, Queue, share
from tests.fakes.kai_stand_in.nodes import shape_of, usable_nodes

_SCALE = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30,
          "Ti": 2.0**40}  # fmt: skip
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is kept of a pod."""

    namespace: str
    name: str
    uid: str
    group: str | None
    scheduler: str
    request: Amount
    node: str | None
    phase: str
    leaving: bool
    shape: str
    created: float


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is kept of a BindRequest."""

    namespace: str
    name: str
    uid: str
    node: str
    failed: bool


def pod_facts(item: dict[str, Any]) -> PodFacts:
    metadata, spec = item["metadata"], item["spec"]
    return PodFacts(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        (metadata.get("annotations") or {}).get(names.GROUP_ANNOTATION),
        spec.get("schedulerName", ""),
        request_of(spec),
        spec.get("nodeName"),
        (item.get("status") or {}).get("phase", ""),
        "deletionTimestamp" in metadata,
        shape_of(spec),
        seconds(metadata.get("creationTimestamp")),
    )


def request_facts(item: dict[str, Any]) -> RequestFacts:
    metadata, spec = item["metadata"], item["spec"]
    failed = (item.get("status") or {}).get("phase") == "Failed"
    return RequestFacts(metadata["namespace"], metadata["name"], owner_uid(item), spec["selectedNode"], failed)


def build(
    nodes: Iterable[dict[str, Any]],
    pods: Iterable[PodFacts],
    groups: Iterable[dict[str, Any]],
    queues: Iterable[dict[str, Any]],
    topologies: Iterable[dict[str, Any]],
    priorities: Mapping[str, float],
    decided: Mapping[str, str],
    evicted: frozenset[str] = frozenset(),
) -> Cluster:
    """The cluster; ``decided``: nodes of pods not bound yet; ``evicted``: pods whose deletion is asked for."""
    nodes = list(nodes)
    found = {group_key(item): group_of(item, priorities) for item in groups}
    others: dict[str, Group] = {}
    shapes: set[str] = set()
    for facts in pods:
        if facts.phase in ENDED:
            continue
        node = facts.node or decided.get(facts.uid)
        leaving = facts.leaving or facts.uid in evicted
        if node is None and leaving:
            continue
        group = found.get((facts.namespace, facts.group or ""))
        if group is None:
            if node is None:
                continue  # not grouped yet, or another scheduler's
            group = others.setdefault(facts.namespace, Group(facts.namespace, "", "", preemptible=False))
        elif node is None:
            shapes.add(facts.shape)
        pod = Pod(facts.uid, facts.name, facts.request, node, leaving, facts.shape, facts.created)
        group.pods.append(pod)
    found.update({(namespace, ""): group for namespace, group in others.items()})
    usable = {shape: usable_nodes(nodes, shape) for shape in shapes}
    return Cluster(
        {item["metadata"]["name"]: node_of(item) for item in nodes},
        found,
        {item["metadata"]["name"]: queue_of(item) for item in queues},
        {item["metadata"]["name"]: item["spec"]["levels"] for item in topologies},
        {shape: names_of for shape, names_of in usable.items() if len(names_of) < len(nodes)},
    )


def node_of(item: dict[str, Any]) -> Node:
    allocatable = (item.get("status") or {}).get("allocatable") or {}
    labels = item["metadata"].get("labels") or {}
    return Node(item["metadata"]["name"], amount(allocatable), int(quantity(allocatable.get("pods", "110"))), labels)


def group_key(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def group_of(item: dict[str, Any], priorities: Mapping[str, float]) -> Group:
    """A PodGroup without its pods; below a priority of 100 it is preemptible unless it says otherwise."""
    spec, metadata = item["spec"], item["metadata"]
    priority = priorities.get(spec.get("priorityClassName", ""), priorities.get(names.DEFAULT_PRIORITY_CLASS, 50.0))
    said = spec.get("preemptibility")
    constraint = spec.get("topologyConstraint") or {}
    return Group(
        metadata["namespace"],
        metadata["name"],
        spec.get("queue", ""),
        metadata["uid"],
        int(spec.get("minMember") or 1),
        priority,
        said == "preemptible" if said else priority < 100,
        constraint.get("requiredTopologyLevel"),
        constraint.get("preferredTopologyLevel"),
        constraint.get("topology"),
        seconds(metadata.get("creationTimestamp")),
    )


def queue_of(item: dict[str, Any]) -> Queue:
    spec = item["spec"]
    resources = spec.get("resources") or {}
    weight = (resources.get("gpu") or {}).get("overQuotaWeight")
    return Queue(
        item["metadata"]["name"],
        spec.get("parentQueue") or None,
        int(spec.get("priority") or 100),
        share(resources, "quota"),
        share(resources, "limit"),
        float(weight or 0.0),
    )


def request_of(spec: dict[str, Any]) -> Amount:
    """What the containers of a pod ask for; a limit counts where no request is set, as the API server has it."""
    result = Amount()
    for container in spec.get("containers") or []:
        resources = container.get("resources") or {}
        result = result.plus(amount({**(resources.get("limits") or {}), **(resources.get("requests") or {})}))
    return result


def amount(quantities: Mapping[str, str]) -> Amount:
    return Amount(
        quantity(quantities.get(names.GPU, "0")),
        round(quantity(quantities.get("cpu", "0")) * 1000),
        quantity(quantities.get("memory", "0")) / 1e6,
    )


def quantity(text: str | int | float) -> float:
    """A Kubernetes quantity as a number: 8, 100m, 256Gi."""
    text = str(text)
    number = text.rstrip("kKMGTim")
    return float(number) * _SCALE[text[len(number) :]]


def seconds(text: str | None) -> float:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0


def archive(collections: Mapping[str, Iterable[Any]]) -> bytes:
    """The collections as one JSON document, for /get-snapshot."""
    return json.dumps({name: list(items) for name, items in collections.items()}, default=str).encode()
